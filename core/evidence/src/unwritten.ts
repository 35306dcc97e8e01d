import type { Alert, AlertName, Json } from '@caisson/contract';

const ALERT: AlertName = 'evidence-not-written';
const MAX_REASON_CHARS = 1_000;

/** Knows since when the log takes nothing, and why. It cannot say so in the log, so it is said beside it until it is over, and in the log then. */
export class Unwritten {
  readonly #now: () => number;
  #since: { readonly timeMs: number; readonly reason: string } | null = null;
  #refused = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** So many appends were rejected together. */
  failed(count: number, reason: string): void {
    this.#since ??= { timeMs: this.#timeMs(), reason: reason.toWellFormed().slice(0, MAX_REASON_CHARS) };
    this.#refused += count;
  }

  /** The name of what it raises. */
  readonly alert = ALERT;

  /** What is to be shown now. */
  get alerts(): readonly Alert[] {
    if (this.#since === null) return [];
    const { timeMs, reason } = this.#since;
    return [{ alert: ALERT, severity: 'critical', about: ['evidence'], reason: `nothing can be recorded, and so nothing runs: ${reason}`, timeMs }];
  }

  /** Told that the log takes entries. @returns the body of the alert that says what was; null: nothing was */
  recovered(): Json | null {
    const body = this.over;
    this.#since = null;
    this.#refused = 0;
    return body;
  }

  /** The body of the alert that says that it is over; null: it never was. Whether it can be recorded is how one finds out. */
  get over(): Json | null {
    if (this.#since === null) return null;
    const { timeMs, reason } = this.#since;
    const count = this.#refused;
    const forMs = Math.max(0, this.#timeMs() - timeMs);
    return { alert: ALERT, severity: 'info', about: ['evidence'], reason: `for ${forMs} ms nothing could be recorded, and ${count} appends were refused: ${reason}`, count, cleared: true };
  }

  /** A clock that gives no time can be what the log fails by. */
  #timeMs(): number {
    return Math.trunc(this.#now()) || 0;
  }
}

/** Whether an entry is the one that says that it is over. */
export function saysOver({ kind, body }: { readonly kind: string; readonly body: Json }): boolean {
  return kind === 'alert' && (body as { readonly alert?: Json }).alert === ALERT;
}
