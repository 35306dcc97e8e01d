/**
 * What arrives in order, for one reader. A push resolves when the reader has taken what was pushed, which is the writer's
 * back-pressure.
 */
export class Chunks<T> implements AsyncIterable<T> {
  readonly #queue: { readonly value: T; taken(): void }[] = [];
  #end: { readonly error: Error | null } | undefined;
  #wake: (() => void) | undefined;

  push(value: T): Promise<void> {
    if (this.#end !== undefined) return Promise.resolve();
    return new Promise((taken) => {
      this.#queue.push({ value, taken });
      this.#wake?.();
    });
  }

  /** After what was pushed there is no more, and with an error the reader is told why. Only the first end counts. */
  end(error: Error | null): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        const next = this.#queue.shift();
        if (next !== undefined) {
          next.taken();
          yield next.value;
        } else if (this.#end === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
        else if (this.#end.error === null) return;
        else throw this.#end.error;
      }
    } finally {
      this.end(null);
      for (const { taken } of this.#queue.splice(0)) taken();
    }
  }
}
