import type { EntryDraft, Receipt } from '@caisson/contract';
import type { Rooms } from './rooms.ts';

type Record = Pick<Rooms, 'evidence' | 'doubts'>;

/**
 * Puts an intent on record before anything is done. An append that failed may have reached the log all the same: then
 * `notDone` becomes its outcome.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE
 */
export async function recordIntent(intent: EntryDraft, notDone: EntryDraft, { evidence, doubts }: Record): Promise<Receipt> {
  return evidence.append(intent).catch((error: unknown) => {
    doubts.addNotBegun(notDone);
    throw error;
  });
}

/** Puts an outcome on record: now, or as soon as that is possible. Null: not yet. */
export async function recordOutcome(outcome: EntryDraft, { evidence, doubts }: Record): Promise<Receipt | null> {
  return evidence.append(outcome).catch(() => {
    doubts.add(outcome);
    return null;
  });
}
