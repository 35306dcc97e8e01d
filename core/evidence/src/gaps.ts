/** Numbers that a run has passed over, from the first to the last, both included. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  /** The entry that showed it: the first with a higher number. */
  readonly index: number;
  /** Time of the log at that entry, as it is counted by who keeps the gaps. */
  readonly atMs: number;
  /** Whether it has been told; it is told once. */
  readonly told: boolean;
}

/** The gaps without one number, which has come; null: none of them holds it. */
export function fill(gaps: readonly Gap[], seq: number): readonly Gap[] | null {
  const at = gaps.findIndex(({ from, to }) => from <= seq && seq <= to);
  const gap = gaps[at];
  if (gap === undefined) return null;
  const rest = [{ ...gap, to: seq - 1 }, { ...gap, from: seq + 1 }].filter(({ from, to }) => from <= to);
  return gaps.toSpliced(at, 1, ...rest);
}

export interface Missing {
  /** The first number, and the entry that showed it. */
  readonly seq: number;
  readonly index: number;
  readonly count: number;
  /** The gaps that hold any, for who marks them as told. */
  readonly gaps: ReadonlySet<Gap>;
}

/** Numbers after `after` and up to `upTo` that are in gaps, have not been told and are not excused; null: none. */
export function missingIn(gaps: readonly Gap[], { after = 0, upTo = Infinity, excused = new Set() }: { readonly after?: number; readonly upTo?: number; readonly excused?: ReadonlySet<number> }): Missing | null {
  let first: Pick<Missing, 'seq' | 'index'> | null = null;
  let count = 0;
  const holding = new Set<Gap>();
  for (const gap of gaps) {
    const from = Math.max(gap.from, after + 1);
    const to = Math.min(gap.to, upTo);
    if (gap.told || from > to) continue;
    const within = [...excused].filter((seq) => from <= seq && seq <= to).length;
    if (within === to - from + 1) continue;
    let seq = from;
    while (excused.has(seq)) seq += 1;
    first ??= { seq, index: gap.index };
    count += to - from + 1 - within;
    holding.add(gap);
  }
  return first === null ? null : { ...first, count, gaps: holding };
}
