import { readEntryBody, type Entry } from '@caisson/contract';
import { find, type Findings } from './findings.ts';
import { fill, missingIn, type Gap } from './gaps.ts';

/** Between two entries no more than this counts as time that passed: a machine that slept, or whose clock was set, was not silent. */
const LONGEST_STEP_MS = 60_000;
/** A run that says where it stands each minute is overdue after this much time of the log. */
const OVERDUE_MS = 10 * 60_000;
/** A run that went on for longer than this after a number was passed over has had a heartbeat to say why; one that was killed before has not. */
const SAID_WITHIN_MS = 2 * 60_000;
/** Gaps of one run that are kept apart; more than that is no order of numbers. */
const MAX_GAPS = 10_000;
/** Runs that are kept; the oldest that another has followed is judged first. */
const MAX_RUNS = 256;

/** What one run of a source has said. */
interface Run {
  readonly name: string;
  readonly source: string;
  highest: number;
  gaps: readonly Gap[];
  /** Up to here the run has said what came of its numbers, at its last heartbeat. */
  settledUpTo: number;
  beats: number;
  /** Number of that heartbeat, and the time of the log. */
  beatSeq: number;
  beatMs: number;
  lastIndex: number;
  /** Time of the log at its last entry. */
  lastMs: number;
  /** Whether a later run of the same source is there. */
  followed: boolean;
  isOverdueTold: boolean;
}

/** The numbers of all runs, as the entries go by. */
export interface Runs {
  readonly findings: Findings;
  readonly byName: Map<string, Run>;
  /** Time that has passed in the log, by the clock of its entries; it never goes back. */
  passedMs: number;
  lastMs: number | null;
  /** Index of the entry with which the last run began. */
  lastStart: number;
}

export function emptyRuns(findings: Findings): Runs {
  return { findings, byName: new Map(), passedMs: 0, lastMs: null, lastStart: -1 };
}

/** Takes the next entry. */
export function passRun(runs: Runs, entry: Entry): void {
  runs.passedMs += Math.min(Math.max(0, entry.timeMs - (runs.lastMs ?? entry.timeMs)), LONGEST_STEP_MS);
  runs.lastMs = entry.timeMs;
  const { origin, index } = entry;
  if (origin === undefined) return;
  const run = runs.byName.get(origin.run) ?? begin(runs, entry, origin.run);
  if (run.source !== entry.source) find(runs.findings, index, `is of ${entry.source}, and ${nameOf(run)} is of ${run.source}`);
  place(runs, run, { seq: origin.seq, index });
  run.lastIndex = index;
  run.lastMs = runs.passedMs;
  judgeBeat(runs, run, index);
  if (entry.kind === 'heartbeat') hear(runs, run, entry);
}

function begin(runs: Runs, { source, index }: Entry, name: string): Run {
  for (const other of runs.byName.values()) other.followed ||= other.source === source;
  const run: Run = { name, source, highest: 0, gaps: [], settledUpTo: 0, beats: 0, beatSeq: 0, beatMs: runs.passedMs, lastIndex: index, lastMs: runs.passedMs, followed: false, isOverdueTold: false };
  runs.byName.set(name, run);
  runs.lastStart = index;
  if (runs.byName.size > MAX_RUNS) {
    const oldest = [...runs.byName.values()].find(({ followed }) => followed);
    if (oldest !== undefined) drop(runs, oldest);
  }
  return run;
}

function drop(runs: Runs, run: Run): void {
  judgeEnd(runs, run);
  runs.byName.delete(run.name);
}

function place(runs: Runs, run: Run, { seq, index }: { readonly seq: number; readonly index: number }): void {
  if (seq === run.highest + 1) {
    run.highest = seq;
    return;
  }
  if (seq > run.highest) {
    if (run.gaps.length >= MAX_GAPS) find(runs.findings, index, `is one of ${nameOf(run)}, which has more than ${MAX_GAPS} gaps in its numbers`);
    else run.gaps = [...run.gaps, { from: run.highest + 1, to: seq - 1, index, atMs: runs.passedMs, told: false }];
    run.highest = seq;
    return;
  }
  const gaps = fill(run.gaps, seq);
  if (gaps === null) find(runs.findings, index, `is a second one with number ${seq} of ${nameOf(run)}`);
  else run.gaps = gaps;
}

/** A heartbeat speaks of all numbers before it. */
function hear(runs: Runs, run: Run, { index, kind, body, origin }: Entry): void {
  const read = readEntryBody({ kind, body });
  const seq = origin?.seq ?? 0;
  if (read?.is !== 'heartbeat' || seq < run.beatSeq) return;
  const { settledUpTo, unrecorded, unrecordedCount } = read.body;
  const says = (what: string): void => find(runs.findings, index, `is a heartbeat of ${nameOf(run)} that ${what}`);
  if (settledUpTo >= seq) says(`calls number ${settledUpTo} settled, and has itself number ${seq}`);
  if (settledUpTo < run.settledUpTo) says(`calls the numbers up to ${settledUpTo} settled, and one before it those up to ${run.settledUpTo}`);
  if (unrecordedCount < unrecorded.length || unrecorded.some((each) => each > settledUpTo)) says('contradicts itself on what is not recorded');
  const missing = missingIn(run.gaps, { upTo: settledUpTo, excused: new Set(unrecorded) });
  if (missing !== null && missing.count > unrecordedCount - unrecorded.length) {
    tell(run, missing.gaps);
    find(runs.findings, missing.index, `follows what is missing: ${numbersText(missing)} of ${nameOf(run)} ${missing.count === 1 ? 'is' : 'are'} not in the log, and its heartbeat at entry ${index} says that ${missing.count === 1 ? 'it was' : 'they were'} recorded`);
  }
  run.settledUpTo = Math.max(run.settledUpTo, settledUpTo);
  run.beats += 1;
  run.beatSeq = seq;
  run.beatMs = runs.passedMs;
}

function judgeBeat(runs: Runs, run: Run, index: number): void {
  const silentMs = runs.passedMs - run.beatMs;
  if (run.beats === 0 || run.isOverdueTold || silentMs <= OVERDUE_MS) return;
  run.isOverdueTold = true;
  find(runs.findings, index, `is ${Math.floor(silentMs / 60_000)} minutes after the last heartbeat of ${nameOf(run)}, which has one each minute`);
}

/** What is left to say when there is nothing more of a log. `lastIndex` is its last entry. */
export function endRuns(runs: Runs, lastIndex: number): void {
  for (const run of runs.byName.values()) {
    // Where another process has begun since, Caisson may have been started anew without this one.
    if (!run.followed && runs.lastStart <= run.lastIndex) judgeBeat(runs, run, lastIndex);
    judgeEnd(runs, run);
  }
}

/**
 * Numbers that no heartbeat speaks of will not come any more where the run is over, or late by far. What a run that was killed
 * has passed over since its last heartbeat may be what was refused, or was on record already, and it had no time to say so.
 */
function judgeEnd(runs: Runs, run: Run): void {
  const late = run.gaps.filter(({ atMs }) => (run.followed ? run.lastMs - atMs > SAID_WITHIN_MS : runs.passedMs - atMs > OVERDUE_MS));
  const missing = missingIn(late, { after: run.settledUpTo });
  if (missing === null) return;
  tell(run, missing.gaps);
  find(runs.findings, missing.index, `follows what is missing: ${numbersText(missing)} of ${nameOf(run)} never came, and no heartbeat says why`);
}

function tell(run: Run, told: ReadonlySet<Gap>): void {
  run.gaps = run.gaps.map((gap) => (told.has(gap) ? { ...gap, told: true } : gap));
}

function numbersText({ seq, count }: { readonly seq: number; readonly count: number }): string {
  return count === 1 ? `number ${seq}` : `number ${seq} and ${count - 1} more`;
}

function nameOf({ source, name }: Run): string {
  return `run ${name.slice(0, 8)} of ${source}`;
}
