import { z } from 'zod';
import { readStatusFile } from '@caisson/follower';

const count = z.int().min(0);
const errors = z.strictObject({ AccessDenied: count, PreconditionFailed: count, NoSuchBucket: count, Network: count, Other: count });

/** What an archiver says of itself, once a second, in one small file. */
export const ArchiveStatus = z.strictObject({
  pid: count,
  store: z.string(),
  /** empty: no head is published. current, behind: the store holds all, or not yet all, that is published. The others: see `detail`. */
  state: z.enum(['starting', 'empty', 'current', 'behind', 'away', 'damaged', 'fenced', 'forked']),
  detail: z.string().optional(),
  /** When this was written, in milliseconds since 1970 UTC. */
  updatedMs: count,
  /** When the store was last known to hold all that was published then. */
  wholeMs: count,
  /** Entries under the head here, and under the head in the store; null: not known. */
  publishedEntries: count,
  storedEntries: count.nullable(),
  lagEntries: count,
  lagMs: count,
  /** Tries that have failed since the last that did not. */
  failures: count,
  lastError: z.strictObject({ class: z.enum(['AccessDenied', 'PreconditionFailed', 'NoSuchBucket', 'Network', 'Other']), detail: z.string(), timeMs: count }).nullable(),
  counters: z.strictObject({ puts: count, gets: count, lists: count, putBytes: count, errors }),
});
export type ArchiveStatus = z.infer<typeof ArchiveStatus>;

/** What the archiver of a state directory has last said; null: nothing that can be read. */
export function readStatus(path: string): ArchiveStatus | null {
  return readStatusFile(path, ArchiveStatus);
}

export interface Bound {
  /** The status file. */
  readonly path: string;
  /** Longest that the store may lack something that is published, in milliseconds. */
  readonly maxLagMs: number;
  /** Most entries that the store may lack. */
  readonly maxLagEntries: number;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
}

/** The file is looked at no more often than this. */
const LOOK_MS = 250;

/**
 * Whether the log may grow although its archive lacks something: the answer is undefined, or why it may not. Time counts from
 * the last moment at which the store was known to hold everything, and an archiver that is gone does not move that moment; so
 * one that is dead counts as a store that is away. A log that has just been opened has the time to bring its archiver up.
 *
 * Cheap enough for every append: one small file, read at most four times a second.
 */
export function appendBound({ path, maxLagMs, maxLagEntries, nowMs }: Bound): (entries?: number) => string | undefined {
  const openedMs = nowMs();
  let lookedMs = Number.NEGATIVE_INFINITY;
  let status: ArchiveStatus | null = null;
  return (entries = 0) => {
    const now = nowMs();
    if (Math.abs(now - lookedMs) >= LOOK_MS) {
      status = readStatus(path);
      lookedMs = now;
    }
    const lagMs = now - Math.max(openedMs, status?.wholeMs ?? 0);
    return stopped(status) ?? tooLate(status, lagMs, maxLagMs) ?? tooMany(status, entries, maxLagEntries);
  };
}

type Known = ArchiveStatus | null;

function stopped(status: Known): string | undefined {
  return status?.state === 'fenced' || status?.state === 'forked' ? `the archive takes nothing any more: ${status.detail ?? status.state}` : undefined;
}

function tooLate(status: Known, lagMs: number, maxLagMs: number): string | undefined {
  return lagMs > maxLagMs ? `the archive has not been whole for ${lagMs} ms, and ${maxLagMs} are allowed (${wordsOf(status)})` : undefined;
}

/** As long as it is not known what the store holds, time alone counts. */
function tooMany(status: Known, entries: number, maxLagEntries: number): string | undefined {
  if (status === null || status.storedEntries === null) return undefined;
  const lagEntries = Math.max(entries, status.publishedEntries) - status.storedEntries;
  return lagEntries > maxLagEntries ? `the archive lacks ${lagEntries} entries, and ${maxLagEntries} are allowed (${wordsOf(status)})` : undefined;
}

function wordsOf(status: Known): string {
  if (status === null) return 'no archiver has said anything';
  return `${status.state}${status.lastError === null ? '' : `, ${status.lastError.class}`}`;
}
