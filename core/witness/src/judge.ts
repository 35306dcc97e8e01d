import { EMPTY_ROOT, openCheckpoint, parseCheckpoint, parseNote, provesConsistency, type Checkpoint, type PublicKey, type Refusal } from '@caisson/tlog';
import type { AddCheckpoint } from './message.ts';
import type { Newest } from './records.ts';

/** A log that a witness knows: its origin, and who may sign for it. */
export interface WitnessedLog {
  readonly origin: string;
  /** More than one while a log changes its key. */
  readonly keys: readonly PublicKey[];
}

/** What a witness says to a request; all but `sign` with the status of C2SP tlog-witness. */
export type Verdict =
  | { readonly sign: Newest; readonly text: string }
  | { readonly status: 400 | 403 | 404 | 422; readonly reason: string }
  | { readonly status: 409; readonly size: number };

/** What a witness has of a log that it never signed for: the empty tree. */
export function newestOf(records: Newest | null): Newest {
  return records ?? { size: 0, root: EMPTY_ROOT };
}

/** The log that a checkpoint says it is of, when its form is right. Nothing of it is proven. */
export function claimOf(checkpoint: Buffer): Checkpoint | Refusal {
  const note = parseNote(checkpoint);
  return 'bad' in note ? note : parseCheckpoint(note.text);
}

/**
 * Whether a witness that has `newest` of this log signs the head, in the order of C2SP tlog-witness, add-checkpoint. Two
 * heads of one size are signed only when their roots are one; a larger one only when it is proven to go on from `newest`.
 */
export function judge(log: WitnessedLog, { old, proof, checkpoint }: AddCheckpoint, newest: Newest): Verdict {
  const head = openCheckpoint(checkpoint, { logKeys: log.keys });
  if ('bad' in head) return { status: 403, reason: `the checkpoint ${head.bad}` };
  if (old > head.size) return { status: 400, reason: 'the old size is larger than the checkpoint' };
  if (old !== newest.size) return { status: 409, size: newest.size };
  if (old === head.size && !head.root.equals(newest.root)) return { status: 409, size: newest.size };
  const proven = provesConsistency({ from: newest.size, fromRoot: newest.root, to: head.size, toRoot: head.root, proof });
  if (!proven) return { status: 422, reason: 'the proof does not show that the log only grew' };
  return { sign: { size: head.size, root: head.root }, text: head.note.text };
}
