import type { Counts } from '@caisson/contract';

/**
 * Counts the programs of a sandbox next to pid 1, which counts them, too. Those that go on from saved memory, which have a
 * number below `first`, were counted before.
 */
export class ProgramCount {
  readonly #first: number;
  #asked = 0;
  #exited = 0;
  #started: number | null = null;

  constructor(first: number) {
    this.#first = first;
  }

  get counts(): Pick<Counts, 'started' | 'asked'> {
    return { started: this.#started, asked: this.#asked };
  }

  asked(id: number): void {
    if (id >= this.#first) this.#asked += 1;
  }

  /** It could not be executed. */
  failed(id: number): void {
    if (id >= this.#first) this.#asked -= 1;
  }

  /** Takes what pid 1 has counted when an exec ended. @returns whether that can be: at least those that have ended, and at most those that were asked for */
  exited(id: number, isDial: boolean, started: number): boolean {
    if (!isDial && id >= this.#first) this.#exited += 1;
    if (started < this.#exited || started < (this.#started ?? 0) || started > this.#asked) return false;
    this.#started = started;
    return true;
  }
}
