import { z } from 'zod';
import { readStatusFile } from '@caisson/follower';

const count = z.int().min(0);

/** What the feeder says of itself and of each witness, in one small file. */
export const FeedStatus = z.strictObject({
  pid: count,
  /** When this was written, in milliseconds since 1970 UTC. */
  updatedMs: count,
  quorum: count,
  /** Entries under the head here, and under the last head that enough witnesses have signed; null: none yet. */
  publishedEntries: count,
  witnessedEntries: count.nullable(),
  /** When the last of these signatures was made, by the clock of the witness, in milliseconds since 1970 UTC. */
  witnessedMs: count.nullable(),
  witnesses: z.array(z.strictObject({
    name: z.string(),
    url: z.string(),
    /** asking: not heard of yet. away: no answer. refused: it will not sign. fork, rollback: it says that it was shown another log of this name. */
    state: z.enum(['asking', 'signed', 'away', 'refused', 'fork', 'rollback']),
    detail: z.string().optional(),
    /** Entries under the head that it signed last. */
    signedEntries: count.nullable(),
    /** Questions that came to nothing since the last that did. */
    failures: count,
  })),
});
export type FeedStatus = z.infer<typeof FeedStatus>;

/** What the feeder of a state directory has last said; null: nothing that can be read. */
export function readFeedStatus(path: string): FeedStatus | null {
  return readStatusFile(path, FeedStatus);
}
