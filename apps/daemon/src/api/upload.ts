import { CaissonError } from '@caisson/contract';
import type { Call } from './route.ts';

/** Longest that an upload may send nothing while it is waited for. */
const SILENT_MOST_MS = 60_000;

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
    for await (const chunk of upload) {
      clearTimeout(timer); // the time that the sandbox takes for them is not the caller's
      yield chunk as Buffer;
      timer = setTimeout(late, SILENT_MOST_MS);
    }
  } finally {
    clearTimeout(timer);
  }
}
