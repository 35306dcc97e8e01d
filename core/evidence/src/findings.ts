/** Findings that are kept; beyond it they are counted. */
const MAX_KEPT = 100;

/** Something that the entries of a log, each of them good, say against the log as a whole. */
export interface Finding {
  /** The first entry that shows it. */
  readonly index: number;
  /** Reads on from `entry N`. */
  readonly reason: string;
}

/** What has been found, the first of it named. */
export interface Findings {
  readonly list: Finding[];
  count: number;
}

export function noFindings(): Findings {
  return { list: [], count: 0 };
}

export function find(findings: Findings, index: number, reason: string): void {
  findings.count += 1;
  if (findings.list.length < MAX_KEPT) findings.list.push({ index, reason });
}
