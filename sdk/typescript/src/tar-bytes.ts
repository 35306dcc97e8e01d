import { invalidAnswer } from './errors.ts';

/** Bytes of a stream by count: holds what was asked for and no more. */
export interface ByteSource {
  /** Exactly so many bytes; null at a clean end. @throws CaissonError ANSWER_INVALID for a stream that is cut off */
  take(count: number): Promise<Buffer | null>;
  pieces(count: number): AsyncGenerator<Buffer, void>;
}

export function byteSource(chunks: AsyncIterable<Uint8Array>): ByteSource {
  const iterator = chunks[Symbol.asyncIterator]();
  let rest = Buffer.alloc(0);

  async function more(): Promise<boolean> {
    const next = await iterator.next();
    if (next.done === true) return false;
    const { buffer, byteOffset, byteLength } = next.value;
    const chunk = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    return true;
  }

  return {
    async take(count) {
      while (rest.length < count) {
        if (await more()) continue;
        if (rest.length === 0) return null;
        throw invalidAnswer('an archive that is cut off');
      }
      const taken = rest.subarray(0, count);
      rest = rest.subarray(count);
      return taken;
    },
    async *pieces(count) {
      for (let left = count; left > 0; ) {
        if (rest.length === 0 && !(await more())) throw invalidAnswer('an archive that is cut off');
        const piece = rest.subarray(0, left);
        rest = rest.subarray(piece.length);
        left -= piece.length;
        if (piece.length > 0) yield piece;
      }
    },
  };
}
