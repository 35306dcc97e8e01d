/** Counts wall time down, with pauses, and calls back when none is left. */
export class Stopwatch {
  readonly #onExpiry: () => void;
  #leftMs: number;
  #sinceMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /** It runs from the start. */
  constructor(forMs: number, onExpiry: () => void) {
    this.#leftMs = forMs;
    this.#onExpiry = onExpiry;
    this.go();
  }

  /** Milliseconds that are left. */
  get leftMs(): number {
    return this.#leftMs - (this.#timer === undefined ? 0 : performance.now() - this.#sinceMs);
  }

  go(): void {
    if (this.#timer !== undefined) return;
    this.#sinceMs = performance.now();
    this.#timer = setTimeout(this.#onExpiry, Math.max(0, this.#leftMs));
  }

  stop(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#leftMs -= performance.now() - this.#sinceMs;
  }
}
