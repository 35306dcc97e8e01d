import { CaissonError } from '@caisson/contract';

/**
 * Frames between control and the files helper; native/files/frame.h is the other end and describes them.
 * The helper reads what the agent wrote, so every byte that comes from it is untrusted.
 */
export const REQUEST = {
  stat: 1, list: 2, read: 3, write: 4, mkdir: 5, move: 6, remove: 7, chmod: 8, symlink: 9, link: 10, truncate: 11, watch: 12, search: 13,
  data: 24, commit: 25, credit: 26, cancel: 27,
} as const;

export const REPLY = { hello: 32, info: 33, entries: 34, data: 35, ack: 36, events: 37, matches: 38, done: 39, failed: 40 } as const;

export const FLAG = {
  follow: 1, noLinks: 2, parents: 4, exclusive: 8, append: 16, recursive: 32, noSync: 64, regex: 128, mtime: 256, ignoreCase: 512,
} as const;

const HEADER_BYTES = 12;
export const PAYLOAD_MAX = 256 * 1024;
/** Bytes of counted replies that a request may have under way, and of a write that no reply has acknowledged. */
export const CREDIT_BYTES = 1024 * 1024;
export const PATH_BYTES_MAX = 4096;
export const NO_MODE = 0xffff_ffff;
const FIXED_BYTES = 24;

export interface Frame {
  readonly type: number;
  readonly id: number;
  readonly payload: Buffer;
}

export const violation = (detail: string): CaissonError => new CaissonError('FRAME_INVALID', { detail });

export function encodeFrame(type: number, id: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength);
  encodeHeader({ type, id, length: payload.byteLength }).copy(frame);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** The header alone, for a payload that is sent behind it without being copied. */
export function encodeHeader({ type, id, length }: { readonly type: number; readonly id: number; readonly length: number }): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(length, 0);
  header.writeUInt8(type, 4);
  header.writeUInt32LE(id, 8);
  return header;
}

export interface RequestFields {
  readonly flags?: number;
  readonly number?: number;
  readonly first?: bigint | number;
  readonly second?: bigint | number;
  readonly path: Buffer;
  readonly other?: Buffer;
}

const NUL = Buffer.of(0);

export function encodeRequest({ flags = 0, number = NO_MODE, first = 0, second = 0, path, other = Buffer.alloc(0) }: RequestFields): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  fixed.writeUInt32LE(flags, 0);
  fixed.writeUInt32LE(number, 4);
  fixed.writeBigUInt64LE(BigInt(first), 8);
  fixed.writeBigUInt64LE(BigInt(second), 16);
  return Buffer.concat([fixed, path, NUL, other, NUL]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Cuts what the helper sends into frames, whatever the chunks it arrives in. Holds at most one frame. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #have = 0;

  /** @throws CaissonError FRAME_INVALID */
  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    while (this.#have >= HEADER_BYTES) {
      const length = this.#lengthOfNext();
      if (this.#have < HEADER_BYTES + length) return;
      yield this.#take(length);
    }
  }

  #lengthOfNext(): number {
    const head = this.#join(HEADER_BYTES);
    const length = head.readUInt32LE(0);
    if (length > PAYLOAD_MAX) throw violation(`a payload of ${length} bytes`);
    if (head.readUIntLE(5, 3) !== 0) throw violation('reserved bytes that are not zero');
    return length;
  }

  #take(length: number): Frame {
    const bytes = this.#join(HEADER_BYTES + length);
    const rest = bytes.subarray(HEADER_BYTES + length);
    this.#chunks = rest.length > 0 ? [rest, ...this.#chunks.slice(1)] : this.#chunks.slice(1);
    this.#have -= HEADER_BYTES + length;
    return { type: bytes.readUInt8(4), id: bytes.readUInt32LE(8), payload: bytes.subarray(HEADER_BYTES, HEADER_BYTES + length) };
  }

  /** The first chunk, made long enough: a frame of many chunks is copied once and not with each of them. */
  #join(count: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    if (first.length >= count) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}
