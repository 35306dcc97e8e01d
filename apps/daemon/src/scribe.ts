import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Socket } from 'node:net';
import { openFileLog, scribeVerbs } from '@caisson/evidence';
import { answer, Channel, listenUnix, type Verbs } from '@caisson/wire';
import type { StatePaths } from '@caisson/contract';

export interface ScribeOptions {
  /** Group whose members may connect besides the scribe's own user. Default: nobody else. */
  readonly peerGroup?: number | undefined;
}

/**
 * The scribe: the only process that writes evidence. Resolves when it answers on its socket. Disposing it drops the
 * connections first, so that a caller sees a scribe that went away and asks the next one, then closes the log.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED
 */
export async function runScribe(paths: StatePaths, { peerGroup }: ScribeOptions = {}): Promise<AsyncDisposable> {
  await using opened = new AsyncDisposableStack();
  const log = opened.use(await openFileLog({ dir: paths.evidence, now: Date.now }));
  const verbs = scribeVerbs(log);
  // The lock of the log is held from here on, so a socket file that is there belongs to no living scribe.
  mkdirSync(dirname(paths.scribeSocket), { recursive: true, mode: 0o750 });
  opened.use(await listenUnix(paths.scribeSocket, { group: peerGroup }, (socket) => serve(socket, verbs)));
  return opened.move();
}

function serve(socket: Socket, verbs: Verbs): void {
  const channel = new Channel(socket, {
    onMessage: (message) => void answer(verbs, message, channel).catch(() => channel[Symbol.dispose]()),
  });
}
