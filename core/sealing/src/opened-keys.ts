/** The most recently used of what was opened, at most so many. What is being opened is opened once, whoever asks. */
export class OpenedKeys<T> {
  readonly #most: number;
  readonly #opened = new Map<string, Promise<T>>();

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#opened.size;
  }

  /** What failed to open is not kept. */
  get(name: string, open: () => Promise<T>): Promise<T> {
    const opened = this.#opened.get(name) ?? open();
    this.#opened.delete(name);
    this.#opened.set(name, opened);
    opened.catch(() => this.drop(name, opened));
    const [oldest] = this.#opened.keys();
    if (this.#opened.size > this.#most && oldest !== undefined) this.#opened.delete(oldest);
    return opened;
  }

  /** @param only drops it where it is still this one */
  drop(name: string, only?: Promise<T>): void {
    if (only === undefined || this.#opened.get(name) === only) this.#opened.delete(name);
  }

  clear(): void {
    this.#opened.clear();
  }
}
