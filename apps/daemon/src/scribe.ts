import type { StatePaths } from '@caisson/contract';
import { openScribe, type ScribeOptions } from '@caisson/evidence';
import { log } from './lifetime.ts';

/**
 * The only process that writes evidence. Resolves when it answers on its socket; members of `peerGroup` may connect
 * besides its own user.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED
 */
export function runScribe(paths: StatePaths, options: Pick<ScribeOptions, 'peerGroup' | 'signer' | 'groupReads' | 'mayAppend' | 'own'> = {}): Promise<AsyncDisposable> {
  return openScribe({ dir: paths.evidence, socketPath: paths.scribeSocket, now: Date.now, onPastChecked: sayChecked, ...options });
}

/** What the check of the entries before the signed state has found: damage is an alarm, and from then on nothing is recorded. */
const sayChecked: NonNullable<ScribeOptions['onPastChecked']> = (check) => {
  if ('bad' in check) log('evidence damaged', { alarm: 'EVIDENCE_DAMAGED', entry: check.bad.index, detail: check.bad.reason });
  else if ('failed' in check) log('evidence not checked', { alarm: 'EVIDENCE_UNAVAILABLE', detail: check.failed });
  else log('evidence checked', check);
};
