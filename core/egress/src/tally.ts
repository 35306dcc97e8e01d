import type { EgressTold, Json } from '@caisson/contract';

/** Counts what is on record of what passed, so that an entry that is left out shows. */
export class Tally {
  readonly #told = { connections: 0, requests: 0, closed: 0, bytesOut: 0, bytesIn: 0 };

  get told(): EgressTold {
    return { ...this.#told };
  }

  /** Takes what has become durable. */
  count(body: Json): void {
    const { event, bytesOut, bytesIn } = body as { readonly event?: Json; readonly bytesOut?: Json; readonly bytesIn?: Json };
    if (event === 'connect') this.#told.connections += 1;
    if (event === 'request') this.#told.requests += 1;
    if (event !== 'closed') return;
    this.#told.closed += 1;
    this.#told.bytesOut += Number(bytesOut);
    this.#told.bytesIn += Number(bytesIn);
  }
}
