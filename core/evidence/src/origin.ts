import { randomBytes } from 'node:crypto';
import type { EntryDraft, Json, Origin } from '@caisson/contract';
import { CLOSED_WINDOW } from './ledger.ts';

/** Failed appends that a heartbeat names; of more it says only how many there are. */
const MAX_NAMED = 500;
/** Failed appends that are remembered, the latest. */
const MAX_FAILED = 10_000;

/** Numbers what one run of a process reports, and knows what came of it. */
export interface Numbering {
  /** The draft with its place. One and the same intent or outcome has one place, however often it is told, and so has one and the same object. */
  readonly number: (draft: EntryDraft) => EntryDraft & { readonly origin: Origin };
  /** Notes what became of it. */
  readonly settle: (origin: Origin, isRecorded: boolean) => void;
  /** What the run can say of itself: up to which number all is settled, and which of these are not in the log as far as it knows. */
  readonly standing: () => { readonly [name: string]: Json };
}

export function numbering(): Numbering {
  const run = randomBytes(16).toString('hex');
  const known = new Map<string, number>();
  const offered = new WeakMap<EntryDraft, number>();
  const open = new Set<number>();
  const failed = new Set<number>();
  let last = 0;
  let forgotten = 0;
  const next = (): number => {
    last += 1;
    open.add(last);
    return last;
  };
  return {
    number: (draft) => {
      const key = draft.kind === 'intent' || draft.kind === 'outcome' ? `${draft.kind} ${draft.subject}` : undefined;
      const seq = (key === undefined ? offered.get(draft) : known.get(key)) ?? next();
      offered.set(draft, seq);
      if (key !== undefined) known.set(key, seq);
      const [oldest] = known.keys();
      if (known.size > CLOSED_WINDOW && oldest !== undefined) known.delete(oldest);
      return { ...draft, origin: { run, seq } };
    },
    settle: ({ seq }, isRecorded) => {
      open.delete(seq);
      if (isRecorded) failed.delete(seq);
      else failed.add(seq);
      const [oldest] = failed;
      if (failed.size <= MAX_FAILED || oldest === undefined) return;
      failed.delete(oldest);
      forgotten += 1;
    },
    standing: () => {
      const settledUpTo = [...open].reduce((least, seq) => Math.min(least, seq - 1), last);
      const unrecorded = [...failed].filter((seq) => seq <= settledUpTo);
      return { settledUpTo, unrecorded: unrecorded.slice(0, MAX_NAMED), unrecordedCount: unrecorded.length + forgotten };
    },
  };
}
