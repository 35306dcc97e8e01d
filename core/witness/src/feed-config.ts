import { z } from 'zod';
import { CaissonError } from '@caisson/contract';
import { parseSettings } from '@caisson/follower';
import { parseVerifierKey, SIGNATURE_TYPE } from '@caisson/tlog';
import type { WitnessPlace } from './ask.ts';

const MAX_WITNESSES = 16;

/** `${CAISSON_DIR}/witnesses.json`: who is asked to countersign the heads of this log. */
const FeedConfig = z.strictObject({
  witnesses: z.array(z.strictObject({
    /** Its submission prefix, without `/add-checkpoint`. */
    url: z.url({ protocol: /^https?$/ }),
    /** Its verifier key, from its operator. */
    key: z.string(),
  })).min(1).max(MAX_WITNESSES),
  /** How many have to sign a head before it is kept as a witnessed one. Default all of them. */
  quorum: z.int().min(1).max(MAX_WITNESSES).optional(),
  /** How often a new head is taken to them, in milliseconds. Default 5,000. */
  everyMs: z.int().min(100).max(3_600_000).default(5_000),
  /** For all that is asked of one of them for one head, in milliseconds. Default 10,000. */
  timeoutMs: z.int().min(100).max(300_000).default(10_000),
});

export interface FeedPlan {
  readonly witnesses: readonly WitnessPlace[];
  readonly quorum: number;
  readonly everyMs: number;
}

/** Reads `witnesses.json`. @throws CaissonError WITNESS_INVALID, which names the field */
export function parseFeed(text: string, path: string): FeedPlan {
  const settings = parseSettings(text, FeedConfig, (detail) => {
    throw invalid(path, detail);
  });
  const { witnesses: rows, quorum = rows.length, everyMs, timeoutMs } = settings;
  const witnesses = rows.map(({ url, key }, at) => ({ url, timeoutMs, publicKey: keyOf(key, `witnesses.${at}.key`, path) }));
  const keys = new Set(witnesses.map(({ publicKey }) => publicKey.key.toString('hex')));
  if (keys.size < witnesses.length) throw invalid(path, 'witnesses: a key stands there twice, and counts once');
  if (quorum > keys.size) throw invalid(path, `quorum: ${quorum} of ${keys.size} witnesses can never sign`);
  return { witnesses, quorum, everyMs };
}

function keyOf(text: string, at: string, path: string): WitnessPlace['publicKey'] {
  const key = parseVerifierKey(text);
  if (key?.type !== SIGNATURE_TYPE.cosignature) throw invalid(path, `${at}: is no verifier key of a witness, as witness init prints it`);
  return key;
}

function invalid(path: string, detail: string): CaissonError {
  return new CaissonError('WITNESS_INVALID', { detail: `${path}: ${detail}` });
}
