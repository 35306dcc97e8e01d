/** How many gaps of one run are kept apart; what is missing in an earlier one counts as lost. */
const GAPS_KEPT = 64;

/** What the log holds of one run of a source: of the numbers that it gave to what it reported. */
export interface Run {
  readonly id: string;
  readonly source: string;
  readonly highest: number;
  /** Numbers below the highest that are missing: first and last of each gap, in order. */
  readonly gaps: readonly (readonly [first: number, last: number])[];
  /** Missing numbers in gaps that are no longer kept. */
  readonly lost: number;
  /** Entries with a number that the log has already. */
  readonly again: number;
  /** The last entry of the run. */
  readonly lastIndex: number;
}

export function newRun(id: string, source: string): Run {
  return { id, source, highest: 0, gaps: [], lost: 0, again: 0, lastIndex: 0 };
}

/** Enters one number. Numbers of one run may come in any order; each comes once. */
export function enterSeq(run: Run, seq: number, index: number): Run {
  if (seq === run.highest + 1) return { ...run, highest: seq, lastIndex: index };
  if (seq > run.highest) return { ...withGaps(run, [...run.gaps, [run.highest + 1, seq - 1]]), highest: seq, lastIndex: index };
  const gap = run.gaps.find(([first, last]) => first <= seq && seq <= last);
  if (gap === undefined) return { ...run, again: run.again + 1, lastIndex: index };
  const [first, last] = gap;
  const rest: Run['gaps'] = ([[first, seq - 1], [seq + 1, last]] as const).filter(([from, to]) => from <= to);
  return { ...withGaps(run, run.gaps.flatMap((one) => (one === gap ? rest : [one]))), lastIndex: index };
}

function withGaps(run: Run, gaps: Run['gaps']): Run {
  const over = gaps.slice(0, Math.max(0, gaps.length - GAPS_KEPT));
  return { ...run, gaps: gaps.slice(over.length), lost: run.lost + lengthOf(over) };
}

function lengthOf(gaps: Run['gaps']): number {
  return gaps.reduce((sum, [first, last]) => sum + (last - first + 1), 0);
}

/** How many numbers below the highest are missing. */
export function missingOf({ gaps, lost }: Run): number {
  return lost + lengthOf(gaps);
}

/** What a heartbeat says of the run. */
interface Standing {
  readonly settledUpTo: number;
  /** Numbers up to there that it could not put on record, as far as they are named. */
  readonly unrecorded: readonly number[];
  readonly unrecordedCount: number;
}

/** How many settled numbers are missing that the run does not own up to, and the gaps they are in. */
export function unexplained({ gaps, lost }: Run, { settledUpTo, unrecorded, unrecordedCount }: Standing): { readonly count: number; readonly gaps: Run['gaps'] } {
  const settled = gaps.filter(([first]) => first <= settledUpTo).map(([first, last]) => [first, Math.min(last, settledUpTo)] as const);
  const named = [...new Set(unrecorded)];
  const inGap = named.filter((seq) => settled.some(([first, last]) => first <= seq && seq <= last));
  const before = lost === 0 ? 0 : Math.min(lost, named.filter((seq) => seq < (gaps[0]?.[0] ?? 0)).length);
  const unnamed = Math.max(0, unrecordedCount - unrecorded.length);
  const count = Math.max(0, lengthOf(settled) + lost - inGap.length - before - unnamed);
  return { count, gaps: settled.filter(([first, last]) => inGap.filter((seq) => first <= seq && seq <= last).length < last - first + 1) };
}
