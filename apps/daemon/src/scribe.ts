import { uptime } from 'node:os';
import type { StatePaths } from '@caisson/contract';
import { openScribe, remoteLog, type ScribeOptions } from '@caisson/evidence';
import { BY_DAY, openKeyring, sealDrafts, type KeyWrap } from '@caisson/sealing';
import { answer, Channel, listenUnix } from '@caisson/wire';
import { keyVerbs } from './key-verbs.ts';
import { HEARTBEAT_MS, log } from './lifetime.ts';

/**
 * The only process that writes evidence, and the only one that has the keys by which it is sealed. Resolves when it answers on
 * its sockets; members of `peerGroup` may connect to the first besides its own user, nobody but root to the other.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED, STATE_DIR_INVALID
 */
export async function runScribe(paths: StatePaths, { wrap, ...options }: Pick<ScribeOptions, 'peerGroup' | 'signer' | 'groupReads' | 'mayAppend' | 'own' | 'isPatient'> & { readonly wrap: KeyWrap }): Promise<AsyncDisposable> {
  await using opened = new AsyncDisposableStack();
  const ring = opened.use(await openKeyring(paths.ring, { wrap, now: Date.now }));
  opened.use(await openScribe({ dir: paths.evidence, socketPath: paths.scribeSocket, now: Date.now, clocks: CLOCKS, onPastChecked: sayChecked, seal: sealDrafts(ring, { nowMs: Date.now, rule: BY_DAY }), ...options }));
  // What it does itself it records as every other process does, by its own door: numbered, so that what is missing shows.
  const evidence = opened.use(remoteLog(paths.scribeSocket, { heartbeat: { source: 'scribe', everyMs: HEARTBEAT_MS } }));
  const verbs = keyVerbs({ ring, evidence, nowMs: Date.now });
  opened.use(await listenUnix(paths.scribeKeysSocket, {}, (socket) => {
    const channel: Channel = new Channel(socket, { onMessage: (message) => void answer(verbs, message, channel).catch(() => channel[Symbol.dispose]()) });
  }));
  return opened.move();
}

/** By these it is seen that somebody sets the clock that entries are dated by. */
const CLOCKS: NonNullable<ScribeOptions['clocks']> = { monotonicMs: () => performance.now(), bootMs: () => uptime() * 1000 };

/** What the check of the entries before the signed state has found: damage is an alarm, and from then on nothing is recorded. */
const sayChecked: NonNullable<ScribeOptions['onPastChecked']> = (check) => {
  if ('bad' in check) log('evidence damaged', { alarm: 'EVIDENCE_DAMAGED', entry: check.bad.index, detail: check.bad.reason });
  else if ('failed' in check) log('evidence not checked', { alarm: 'EVIDENCE_UNAVAILABLE', detail: check.failed });
  else log('evidence checked', check);
};
