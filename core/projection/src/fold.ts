import { readEntryBody, type Entry } from '@caisson/contract';
import { draftOf, latest, misfit, plain, type At, type Draft } from './draft.ts';
import { foldExec, foldOutcome, foldSandbox } from './fold-calls.ts';
import { foldEgress } from './fold-egress.ts';
import { foldLifecycle } from './fold-lifecycle.ts';
import { enterSeq, missingOf, newRun } from './runs.ts';
import { KEPT, type State } from './state.ts';

/**
 * The state after one more entry. Pure: it reads no clock, draws no number and changes nothing that it is given. It never
 * throws for what an entry says; a body that it does not know is counted as unread.
 *
 * @throws RangeError for an entry that is not the next
 */
export function fold(state: State, entry: Entry): State {
  return foldAll(state, [entry]);
}

/** The state after several entries, the same as one after the other, and made in one go. @throws RangeError for an entry that is not the next */
export function foldAll(state: State, entries: Iterable<Entry>): State {
  const draft = draftOf(state);
  for (const entry of entries) step(draft, entry);
  return draft;
}

function step(draft: Draft, entry: Entry): void {
  const { index, timeMs, kind, source, origin } = entry;
  if (index !== draft.entries) throw new RangeError(`entry ${index} does not follow ${draft.entries} entries`);
  const at: At = { index, timeMs, subject: plain(entry.subject) };
  draft.entries = index + 1;
  draft.kinds = { ...draft.kinds, [kind]: (draft.kinds[kind] ?? 0) + 1 };
  draft.clock = { highestMs: Math.max(draft.clock.highestMs, timeMs), backwards: draft.clock.backwards + (timeMs < draft.clock.highestMs ? 1 : 0) };
  if (origin !== undefined) foldOrigin(draft, at, { run: plain(origin.run), seq: origin.seq, source: plain(source) });
  foldBody(draft, at, entry);
}

function foldBody(draft: Draft, at: At, entry: Entry): void {
  const read = readEntryBody(entry);
  switch (read?.is) {
    case 'call':
    case 'sandbox': return foldSandbox(draft, at, read.is, read.body);
    case 'exec': return foldExec(draft, at, read.body);
    case 'outcome': return foldOutcome(draft, at, read.body);
    case 'lifecycle': return foldLifecycle(draft, at, read.body);
    case 'egress': return foldEgress(draft, at, read.body);
    case 'alert':
      draft.totals = { ...draft.totals, alerts: draft.totals.alerts + 1 };
      draft.alerts = latest(draft.alerts, { index: at.index, subject: at.subject, what: plain(read.body.alert) }, KEPT.alerts);
      return;
    case 'heartbeat': return;
    case undefined:
      draft.unread += 1;
  }
}

function foldOrigin(draft: Draft, at: At, { run: id, seq, source }: { readonly run: string; readonly seq: number; readonly source: string }): void {
  if (!Number.isSafeInteger(seq) || seq < 1) return misfit(draft, at, 'a place in its run that is no count');
  const before = draft.runs.get(id) ?? newRun(id, source);
  if (before.source !== source) return misfit(draft, at, `a run of ${before.source} that ${source} reports for`);
  const run = enterSeq(before, seq, at.index);
  draft.runs.delete(id);
  draft.runs.set(id, run); // the one that reported last is the last to be given up
  const [oldest] = draft.runs.values();
  if (draft.runs.size <= KEPT.runs || oldest === undefined) return;
  draft.runs.delete(oldest.id);
  draft.pastRuns = { runs: draft.pastRuns.runs + 1, missing: draft.pastRuns.missing + missingOf(oldest), again: draft.pastRuns.again + oldest.again };
}
