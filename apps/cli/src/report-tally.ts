import { readEntryBody, type Entry, type EntryBody } from '@caisson/contract';
import { countBody } from './report-count.ts';
import { addTo, rowOf, short } from './report-rows.ts';
import type { Filter, Tally, Who } from './report-shape.ts';

/** How many sandboxes and commands that have ended are remembered: what the gate tells may come after their outcome. */
const ENDED_KEPT = 4096;

/** Counts the next entry of the log. Every entry has to be given, whatever the filter leaves: who called stands in an earlier one. */
export function tallyEntry(tally: Tally, entry: Entry): void {
  const { index, timeMs, origin } = entry;
  const read = readEntryBody(entry);
  const who = whoOf(tally, entry, read);
  for (const bad of tally.pointers.check(entry)) addTo(tally.badPointers, { index, subject: bad.subject, why: short(bad.why) });
  tally.clock = { highestMs: Math.max(tally.clock.highestMs, timeMs), backwards: tally.clock.backwards + (timeMs < tally.clock.highestMs ? 1 : 0) };
  tally.lastMs = timeMs;
  if (origin !== undefined) countRun(tally, entry.source, origin);
  if (!isLeft(tally.filter, timeMs, who?.agent)) return;
  tally.entries += 1;
  tally.span = { first: tally.span?.first ?? { index, timeMs }, last: { index, timeMs } };
  if (entry.sealed !== undefined) tally.sealed += 1;
  countBody(tally, entry, read, who);
}

function isLeft({ sinceMs, untilMs, agent }: Filter, timeMs: number, caller: string | undefined): boolean {
  return timeMs >= (sinceMs ?? 0) && timeMs < (untilMs ?? Number.POSITIVE_INFINITY) && (agent === undefined || agent === caller);
}

/** Who an entry is about: who called, of an intent and of what follows from it. */
function whoOf(tally: Tally, { subject, index, timeMs }: Entry, read: EntryBody | null): Who | undefined {
  switch (read?.is) {
    case 'call':
    case 'sandbox':
    case 'exec': {
      const who = { agent: short(read.body.caller), what: read.is, index, timeMs };
      tally.open.set(subject, who);
      return who;
    }
    case 'outcome': return close(tally, subject);
    case 'lifecycle':
      if ('caller' in read.body) return { agent: short(String(read.body.caller)), what: null, index, timeMs };
      return undefined;
    case 'heartbeat':
    case undefined: return undefined;
    case 'egress':
    case 'alert': return tally.open.get(subject) ?? tally.ended.get(subject);
  }
}

function close({ open, ended }: Tally, subject: string): Who | undefined {
  const who = open.get(subject);
  if (who === undefined) return undefined;
  open.delete(subject);
  ended.set(subject, who);
  const [oldest] = ended.keys();
  if (ended.size > ENDED_KEPT && oldest !== undefined) ended.delete(oldest);
  return who;
}

function countRun({ runs }: Tally, source: string, { run, seq }: NonNullable<Entry['origin']>): void {
  const row = rowOf(runs, run, () => ({ run, source, entries: 0, highest: 0 }));
  if (row === undefined) return;
  row.entries += 1;
  row.highest = Math.max(row.highest, seq);
}
