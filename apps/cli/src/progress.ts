import { showBytes } from './quantity.ts';

const EVERY_MS = 100;

/** A line on the standard error that tells how far something is, where that is a terminal; nothing anywhere else. */
export interface Progress extends Disposable {
  tell(what: string): void;
}

export function startProgress(): Progress {
  if (!process.stderr.isTTY) return { tell: () => undefined, [Symbol.dispose]: () => undefined };
  let nextMs = 0;
  return {
    tell(what) {
      if (performance.now() < nextMs) return;
      nextMs = performance.now() + EVERY_MS;
      process.stderr.write(`\r\u001b[K${what.slice(0, (process.stderr.columns || 80) - 1)}`);
    },
    [Symbol.dispose]: () => void process.stderr.write('\r\u001b[K'),
  };
}

export function howFar(verb: string, entries: number, bytes: number): string {
  return `${verb} ${entries} entries, ${showBytes(bytes)}`;
}

/** The same pieces; after each, `tell` has how many bytes there were. */
export async function* counted(pieces: AsyncIterable<Uint8Array>, tell: (bytes: number) => void): AsyncGenerator<Uint8Array, void> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.byteLength;
    tell(bytes);
    yield piece;
  }
}
