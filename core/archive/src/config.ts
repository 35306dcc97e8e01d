import { z } from 'zod';
import { CaissonError } from '@caisson/contract';
import { parseSettings } from '@caisson/follower';
import { isKey } from './store.ts';

const prefix = z.string().refine((text) => text === '' || (text.endsWith('/') && isKey(text.slice(0, -1))), 'must be empty, or names of letters, digits, dots, - and _ that each end in a slash');

const bounds = {
  /** What happens while the store is away: the log goes on and the archive follows, or nothing is recorded beyond the bounds, and so nothing happens. Default queue. */
  whenAway: z.enum(['queue', 'stop']).default('queue'),
  /** Longest that the store may lack something, in milliseconds. Default 60,000. */
  maxLagMs: z.int().min(1_000).max(86_400_000).default(60_000),
  /** Most entries that the store may lack. Default 100,000. */
  maxLagEntries: z.int().min(1).max(1_000_000_000).default(100_000),
  /** How often the head is looked at, in milliseconds; each new one costs about five writes. Default 1,000. */
  everyMs: z.int().min(50).max(3_600_000).default(1_000),
  /** Longest that one request may take, in milliseconds. Default 15,000. */
  timeoutMs: z.int().min(50).max(300_000).default(15_000),
};

/** `${CAISSON_DIR}/archive.json`: where the evidence log is copied to as it grows. */
export const ArchiveConfig = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('s3'),
    bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket'),
    /** What stands before every key; empty or ending in a slash. Default none. */
    prefix: prefix.default(''),
    region: z.string().regex(/^[a-z0-9-]{1,64}$/, 'must be the name of a region'),
    /** Of a server that speaks S3 and is not AWS. */
    endpoint: z.url({ protocol: /^https?$/ }).optional(),
    /** A file in the form of ~/.aws/credentials, profile default; or the chain of AWS. Default the chain. */
    credentials: z.union([z.strictObject({ file: z.string().startsWith('/', 'must be an absolute path') }), z.literal('default')]).default('default'),
    objectLock: z.strictObject({ mode: z.enum(['COMPLIANCE', 'GOVERNANCE']), days: z.int().min(1).max(36_500) }).optional(),
    ...bounds,
  }),
  z.strictObject({ kind: z.literal('directory'), path: z.string().startsWith('/', 'must be an absolute path'), ...bounds }),
]);
export type ArchiveConfig = z.infer<typeof ArchiveConfig>;

/** Reads a configuration. @throws CaissonError EVIDENCE_ARCHIVE_INVALID, which names the field */
export function parseConfig(text: string, path: string): ArchiveConfig {
  return parseSettings(text, ArchiveConfig, (detail) => {
    throw new CaissonError('EVIDENCE_ARCHIVE_INVALID', { path, detail });
  });
}
