import { readEntryBody, type Entry } from '@caisson/contract';
import { find, type Findings } from './findings.ts';

/** So long after its first heartbeat a run has told what it has taken over. */
const TAKE_OVER_MS = 60_000;

interface OpenIntent {
  readonly index: number;
  readonly source: string;
  /** The run that answers for it: that which reported it, or has taken it over. */
  run: string;
}

/** Intents that have no outcome, and who answers for each. */
export interface Pairs {
  readonly findings: Findings;
  readonly open: Map<string, OpenIntent>;
  /** The last run of each source, and the time of its first heartbeat. */
  readonly latest: Map<string, { readonly run: string; readonly firstMs: number }>;
}

export function emptyPairs(findings: Findings): Pairs {
  return { findings, open: new Map(), latest: new Map() };
}

/**
 * Takes the next entry. A process that begins gives each intent of the runs before it the outcome `unknown`, or says that it
 * goes on; what it has left without a word was left out of the log. That outcome and intent belong together is asked by `objection`.
 */
export function passPair(pairs: Pairs, entry: Entry): void {
  const { kind, subject, source, index, origin } = entry;
  if (kind === 'intent' && origin !== undefined) pairs.open.set(subject, { index, source, run: origin.run });
  if (kind === 'outcome') pairs.open.delete(subject);
  if (origin === undefined) return;
  if (kind === 'lifecycle') takeOver(pairs, entry, origin.run);
  if (kind === 'heartbeat') beat(pairs, entry, origin.run);
}

function beat(pairs: Pairs, { source, index, timeMs }: Entry, run: string): void {
  const latest = pairs.latest.get(source);
  const firstMs = latest?.run === run ? latest.firstMs : timeMs;
  pairs.latest.set(source, { run, firstMs });
  if (timeMs - firstMs < TAKE_OVER_MS) return;
  const left = [...pairs.open].filter(([, intent]) => intent.source === source && intent.run !== run);
  for (const [subject, intent] of left) {
    find(pairs.findings, intent.index, `is the intent of ${subject}, of which nothing was said when ${source} began anew: by entry ${index} it should have had an outcome, or been said to go on`);
    pairs.open.delete(subject); // it is told once
  }
}

function takeOver(pairs: Pairs, { kind, body }: Entry, run: string): void {
  const read = readEntryBody({ kind, body });
  if (read?.is !== 'lifecycle' || read.body.event !== 'go-on') return;
  for (const subject of read.body.goingOn) {
    const intent = pairs.open.get(subject);
    if (intent !== undefined) intent.run = run;
  }
}
