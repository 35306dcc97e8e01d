import type { StatePaths } from '@caisson/contract';
import { openScribe, type ScribeOptions } from '@caisson/evidence';

/**
 * The only process that writes evidence. Resolves when it answers on its socket; members of `peerGroup` may connect
 * besides its own user.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED
 */
export function runScribe(paths: StatePaths, options: Pick<ScribeOptions, 'peerGroup' | 'signer' | 'groupReads' | 'mayAppend'> = {}): Promise<AsyncDisposable> {
  return openScribe({ dir: paths.evidence, socketPath: paths.scribeSocket, now: Date.now, ...options });
}
