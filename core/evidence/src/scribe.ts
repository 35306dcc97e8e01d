import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { EvidenceLog } from '@caisson/contract';
import { answer, Channel, listenUnix } from '@caisson/wire';
import type { FileLogOptions } from './open.ts';
import { scribeVerbs } from './serve.ts';
import { SteadyLog } from './steady-log.ts';

export interface ScribeOptions extends FileLogOptions {
  readonly socketPath: string;
  /** Group whose members may connect besides the scribe's own user. Default: nobody else. */
  readonly peerGroup?: number | undefined;
  /** Whether it answers, with the reason, while the log cannot be opened yet. Default: it does not start then. */
  readonly isPatient?: boolean | undefined;
  /** What of this process itself writes in the log; closed before the log is. */
  readonly own?: ((log: EvidenceLog) => Disposable) | undefined;
}

/**
 * Opens the log and answers for it on a socket. Disposing it drops the connections first, so that a caller sees a
 * scribe that went away and asks the next one, then finishes what was begun and closes the log.
 *
 * A log whose disk fails is opened again by itself.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED
 */
export async function openScribe({ socketPath, peerGroup, own, isPatient = false, ...options }: ScribeOptions): Promise<AsyncDisposable> {
  await using opened = new AsyncDisposableStack();
  const log = opened.use(await SteadyLog.open(options, { isPatient }));
  opened.use(own?.(log));
  const verbs = scribeVerbs(log);
  // The lock of the log is held from here on, so a socket file that is there belongs to no living scribe.
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o750 });
  const listening = await listenUnix(socketPath, { group: peerGroup }, (socket) => {
    const channel: Channel = new Channel(socket, {
      onMessage: (message) => void answer(verbs, message, channel).catch(() => channel[Symbol.dispose]()),
    });
  });
  opened.use(listening);
  return opened.move();
}
