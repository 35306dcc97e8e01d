import type { OutputChunk } from './follow.ts';

/** Bytes kept of each of stdout and stderr where the caller says nothing: 16 MiB. */
export const DEFAULT_BUFFER_BYTES = 16 * 1024 * 1024;

export interface Collector {
  add(chunk: OutputChunk): void;
  bytes(stream: OutputChunk['stream']): Buffer;
  /** Whether anything was dropped because there was too much. */
  readonly dropped: boolean;
}

/** Keeps the first bytes of each stream, and drops what comes after. */
export function collector(mostBytes: number): Collector {
  const kept = { stdout: { chunks: [] as Uint8Array[], size: 0 }, stderr: { chunks: [] as Uint8Array[], size: 0 } };
  let dropped = false;
  return {
    add({ stream, bytes }) {
      const into = kept[stream];
      const part = bytes.subarray(0, Math.max(0, mostBytes - into.size));
      if (part.byteLength < bytes.byteLength) dropped = true;
      if (part.byteLength === 0) return;
      into.chunks.push(part);
      into.size += part.byteLength;
    },
    bytes: (stream) => Buffer.concat(kept[stream].chunks),
    get dropped() {
      return dropped;
    },
  };
}
