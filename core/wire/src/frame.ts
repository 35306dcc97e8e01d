import { CaissonError } from '@caisson/contract/errors';

/**
 * Frames between Caisson's processes. A frame is a 9-byte little-endian header and a payload:
 * u32 payload bytes, u8 kind, u32 stream. Kind `message` carries UTF-8 JSON; the others carry raw bytes.
 */
export const FRAME_KINDS = ['message', 'stdout', 'stderr', 'stdin'] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

export interface Frame {
  readonly kind: FrameKind;
  readonly stream: number;
  readonly payload: Buffer;
}

const HEADER_BYTES = 9;
/** Longest payload, in bytes. */
export const PAYLOAD_MAX = 4 * 1024 * 1024;

/** @throws CaissonError FRAME_INVALID for a payload that the peer would have to refuse. */
export function encodeFrame(kind: FrameKind, stream: number, payload: Uint8Array): Buffer {
  const frame = framed(kind, stream, payload.byteLength);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** A frame whose payload is not there yet. */
function framed(kind: FrameKind, stream: number, bytes: number): Buffer {
  if (bytes > PAYLOAD_MAX) throw new CaissonError('FRAME_INVALID', { detail: `payload of ${bytes} bytes` });
  const frame = Buffer.allocUnsafe(HEADER_BYTES + bytes);
  frame.writeUInt32LE(bytes, 0);
  frame.writeUInt8(FRAME_KINDS.indexOf(kind), 4);
  frame.writeUInt32LE(stream, 5);
  return frame;
}

/** A frame of kind `message`. @throws CaissonError FRAME_INVALID for one that the peer would have to refuse. */
export function encodeMessage(message: unknown): Buffer {
  const text = JSON.stringify(message);
  const bytes = Buffer.byteLength(text);
  const frame = framed('message', 0, bytes);
  frame.write(text, HEADER_BYTES);
  return frame;
}

/** Cuts a byte stream into frames, whatever the chunks it arrives in. Holds at most one frame. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  /** @throws CaissonError FRAME_INVALID when the bytes cannot be frames. */
  *push(chunk: Buffer): Generator<Frame> {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    try {
      while (this.#pending.length - at >= HEADER_BYTES) {
        const length = this.#pending.readUInt32LE(at);
        const kind = FRAME_KINDS[this.#pending.readUInt8(at + 4)];
        if (length > PAYLOAD_MAX) throw new CaissonError('FRAME_INVALID', { detail: `payload of ${length} bytes` });
        if (kind === undefined) throw new CaissonError('FRAME_INVALID', { detail: 'unknown kind' });
        if (this.#pending.length - at < HEADER_BYTES + length) return;
        const start = at + HEADER_BYTES;
        at = start + length;
        yield { kind, stream: this.#pending.readUInt32LE(start - 4), payload: this.#pending.subarray(start, at) };
      }
    } finally {
      this.#pending = this.#pending.subarray(at);
    }
  }

  /** The bytes that are not a frame yet; they are given away. */
  takeRest(): Buffer {
    const rest = this.#pending;
    this.#pending = Buffer.alloc(0);
    return rest;
  }
}
