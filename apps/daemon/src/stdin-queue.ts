import { CaissonError } from '@caisson/contract';

/** Holds a client's stdin until the command takes it, never more than the client was allowed to send. */
export class StdinQueue {
  readonly #mostBytes: number;
  readonly #onTaken: (bytes: number) => void;
  readonly #queue: Buffer[] = [];
  #heldBytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(mostBytes: number, onTaken: (bytes: number) => void) {
    this.#mostBytes = mostBytes;
    this.#onTaken = onTaken;
  }

  /** An empty chunk is the end. @throws CaissonError FRAME_INVALID when the client sends beyond its window. */
  push(bytes: Buffer): void {
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > this.#mostBytes) throw new CaissonError('FRAME_INVALID', { detail: 'more stdin than the window allows' });
    if (bytes.length === 0) this.#ended = true;
    else if (!this.#ended) this.#queue.push(bytes);
    this.#wake?.();
  }

  async *chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        yield next;
        this.#heldBytes -= next.length;
        this.#onTaken(next.length);
      } else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
