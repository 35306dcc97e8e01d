/**
 * Reads numbers in network byte order and vectors (RFC 8446 §3.4) from bytes of any origin. A read past the end gives zeros and
 * nothing is left afterwards, so that a loop over what is left ends; `short` says so, and is looked at before anything read counts.
 */
export class Cursor {
  readonly #bytes: Buffer;
  #at = 0;
  #short = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Whether more was read than there is. */
  get short(): boolean {
    return this.#short;
  }

  /** Whether everything was read and nothing more. */
  get exact(): boolean {
    return !this.#short && this.left === 0;
  }

  take(count: number): Buffer {
    const piece = this.#bytes.subarray(this.#at, this.#at + count);
    this.#short ||= piece.length < count;
    this.#at += piece.length;
    return piece;
  }

  u8(): number {
    return this.#number(1);
  }

  u16(): number {
    return this.#number(2);
  }

  u24(): number {
    return this.#number(3);
  }

  u32(): number {
    return this.#number(4);
  }

  #number(count: 1 | 2 | 3 | 4): number {
    const piece = this.take(count);
    return piece.length < count ? 0 : piece.readUIntBE(0, count);
  }

  /** Bytes behind their length in one byte. */
  vector8(): Buffer {
    return this.take(this.u8());
  }

  /** Bytes behind their length in two bytes. */
  vector16(): Buffer {
    return this.take(this.u16());
  }
}
