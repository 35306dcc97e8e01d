import type { EntryDraft, Sealed } from '@caisson/contract';
import type { Keyring } from './ring.ts';
import { segmentOf, type SegmentRule } from './segment.ts';

interface SealDrafts {
  /** Wall time in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
  /** By time: the place that an entry will have in the log is not known yet. */
  readonly rule: Extract<SegmentRule, { readonly periodMs: number }>;
}

/**
 * Seals the secret of a draft by the key of its tenant and of the segment that it is in now, and digests what is to be
 * recognised, by another key of the tenant.
 *
 * @throws CaissonError REQUEST_INVALID, EVIDENCE_UNAVAILABLE, as the ring does
 */
export function sealDrafts(ring: Pick<Keyring, 'seal' | 'digest'>, { nowMs, rule }: SealDrafts): (draft: EntryDraft) => Promise<Sealed> {
  return async ({ kind, source, subject, secret }) => {
    if (secret === undefined) throw new TypeError('a draft without a secret is not sealed');
    const { tenant, value, alike } = secret;
    const sealed = await ring.seal(value, { tenant, segment: segmentOf({ index: 0, timeMs: nowMs() }, rule), about: { kind, source, subject } });
    return alike === undefined ? sealed : { ...sealed, digest: await ring.digest(tenant, 'alike', alike) };
  };
}
