import { StringDecoder } from 'node:string_decoder';
import { collector, DEFAULT_BUFFER_BYTES } from './collect.ts';
import type { OutputChunk } from './follow.ts';
import { linesOf } from './text-lines.ts';

/** One stream of a command, as text. Each use reads from the first byte on. */
export interface OutputText extends AsyncIterable<string> {
  /** Its bytes, as they come. */
  bytes(signal?: AbortSignal): AsyncGenerator<Uint8Array, void>;
  /** Its lines without their ends. A line is cut after `mostChars`, by default 1 Mi. */
  lines(options?: { readonly signal?: AbortSignal; readonly mostChars?: number }): AsyncGenerator<string, void>;
  /** All of it, once the command has ended; at most `maxBufferBytes`, by default 16 MiB. */
  text(options?: { readonly signal?: AbortSignal; readonly maxBufferBytes?: number }): Promise<string>;
}

const LINE_MOST_CHARS = 1024 * 1024;

export function outputText(name: 'stdout' | 'stderr', open: (signal?: AbortSignal) => AsyncIterable<OutputChunk>): OutputText {
  async function* bytes(signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of open(signal)) if (chunk.stream === name) yield chunk.bytes;
  }
  async function* decoded(signal?: AbortSignal): AsyncGenerator<string, void> {
    const decoder = new StringDecoder('utf8');
    for await (const chunk of bytes(signal)) {
      const text = decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      if (text !== '') yield text;
    }
    const rest = decoder.end();
    if (rest !== '') yield rest;
  }
  return {
    bytes,
    lines: ({ signal, mostChars = LINE_MOST_CHARS } = {}) => linesOf(decoded(signal), mostChars),
    async text({ signal, maxBufferBytes = DEFAULT_BUFFER_BYTES } = {}) {
      const collected = collector(maxBufferBytes);
      for await (const chunk of open(signal)) if (chunk.stream === name) collected.add(chunk);
      return collected.bytes(name).toString('utf8');
    },
    [Symbol.asyncIterator]: () => decoded(),
  };
}
