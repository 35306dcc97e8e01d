/** A second of the clock, in which so many may be taken. */
const SECOND_MS = 1_000;

/** At most so many in each second of a clock; whoever comes later is told how long to wait for the next. */
export class Pace {
  readonly #most: number;
  readonly #nowMs: () => number;
  #second = -1;
  #taken = 0;

  constructor(perSecond: number, nowMs: () => number) {
    this.#most = perSecond;
    this.#nowMs = nowMs;
  }

  /** @returns 0 when it is taken, or milliseconds after which to ask again */
  take(): number {
    const nowMs = this.#nowMs();
    const second = Math.floor(nowMs / SECOND_MS);
    if (second > this.#second) {
      this.#second = second;
      this.#taken = 0;
    }
    if (this.#taken >= this.#most) return Math.max(1, Math.ceil((this.#second + 1) * SECOND_MS - nowMs));
    this.#taken += 1;
    return 0;
  }
}
