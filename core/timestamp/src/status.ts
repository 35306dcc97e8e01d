import { z } from 'zod';
import { readStatusFile } from '@caisson/follower';

const count = z.int().min(0);

/** What the stamper says of itself and of each authority, in one small file. */
export const StampingStatus = z.strictObject({
  pid: count,
  /** When this was written, in milliseconds since 1970 UTC. */
  updatedMs: count,
  /** Entries under the head here, and under the last head that is stamped; null: none yet. */
  publishedEntries: count,
  stampedEntries: count.nullable(),
  /** When that was, by the clock of the authority, in milliseconds since 1970 UTC; null: not known. */
  stampedMs: z.int().nullable(),
  /** Heads that are stamped. */
  stamps: count,
  /** Why nothing can be stamped that lies here and not with an authority; null: nothing. */
  problem: z.string().nullable(),
  /** rollback, fork: the log is not the one of which a head is stamped. clock: an authority's clock is far from the one here. */
  alarms: z.array(z.strictObject({ alarm: z.enum(['rollback', 'fork', 'clock']), detail: z.string() })),
  authorities: z.array(z.strictObject({
    name: z.string(),
    /** idle: not asked yet. away: no answer. refused: it makes no stamp. bad: what it sent does not hold. */
    state: z.enum(['idle', 'stamped', 'away', 'refused', 'bad']),
    detail: z.string().optional(),
    /** Questions that came to nothing since the last that did. */
    failures: count,
  })),
});
export type StampingStatus = z.infer<typeof StampingStatus>;

/** What the stamper of a state directory has last said; null: nothing that can be read. */
export function readStampingStatus(path: string): StampingStatus | null {
  return readStatusFile(path, StampingStatus);
}
