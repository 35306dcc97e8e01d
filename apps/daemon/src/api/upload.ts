import { CaissonError } from '@caisson/contract';
import type { Call } from './route.ts';

/** Longest that an upload may send nothing while it is waited for. */
const SILENT_MOST_MS = 60_000;

/** How long what nobody wants any more is still taken: a caller that sends on would lose the answer with the connection. */
const UNWANTED_MOST_MS = 5_000;

/**
 * The bytes of an upload as they arrive. A caller that stops sending is not waited for, and a token that is revoked
 * or a stopping Caisson ends it.
 */
export async function* uploaded({ upload, caller, streams }: Call): AsyncGenerator<Buffer> {
  using stream = streams.open(caller);
  stream.signal.addEventListener('abort', () => upload.destroy(stream.signal.reason as Error), { once: true });
  const late = (): void => stream.end(new CaissonError('REQUEST_TIMEOUT', { limitMs: SILENT_MOST_MS }));
  let timer = setTimeout(late, SILENT_MOST_MS);
  try {
    for await (const chunk of upload.iterator({ destroyOnReturn: false })) {
      clearTimeout(timer); // the time that the sandbox takes for them is not the caller's
      yield chunk as Buffer;
      timer = setTimeout(late, SILENT_MOST_MS);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Reads the rest of an upload away, for a while, so that the answer reaches who is still sending. */
export function takeUnwanted(upload: Call['upload']): void {
  const enough = setTimeout(() => upload.destroy(), UNWANTED_MOST_MS).unref();
  upload.once('close', () => clearTimeout(enough)).once('error', () => undefined).resume();
}
