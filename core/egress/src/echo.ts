import { Transform, type TransformCallback } from 'node:stream';

/**
 * Passes bytes on as long as none of some texts is among them, in one piece or in many: what could be the beginning of one is
 * held back until it is clear that it is none. Where one comes, nothing of it passes and the stream fails.
 */
export class EchoGuard extends Transform {
  readonly #texts: readonly Buffer[];
  readonly #longest: number;
  #held: Buffer = Buffer.alloc(0);

  constructor(texts: readonly string[]) {
    super();
    this.#texts = texts.map((text) => Buffer.from(text, 'latin1'));
    this.#longest = Math.max(1, ...this.#texts.map(({ length }) => length));
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#texts.some((text) => bytes.includes(text))) return done(new Error('a secret came back'));
    const keep = this.#beginning(bytes);
    this.#held = bytes.subarray(bytes.length - keep);
    done(null, bytes.subarray(0, bytes.length - keep));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#held);
  }

  /** Length of the longest end of the bytes that one of the texts begins with. */
  #beginning(bytes: Buffer): number {
    for (let length = Math.min(this.#longest - 1, bytes.length); length > 0; length--) {
      const end = bytes.subarray(bytes.length - length);
      if (this.#texts.some((text) => text.length > length && text.subarray(0, length).equals(end))) return length;
    }
    return 0;
  }
}

/** Whether one of some texts stands in a text. */
export function holdsAny(text: string, texts: readonly string[]): boolean {
  return texts.some((each) => text.includes(each));
}
