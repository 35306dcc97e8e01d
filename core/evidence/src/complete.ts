import { readEntryBody, type Entry } from '@caisson/contract';
import { emptyTimes, passTime, type Times } from './clock.ts';
import { noFindings, type Finding, type Findings } from './findings.ts';
import { emptyPairs, passPair, type Pairs } from './pairs.ts';
import { emptyPassed, passPassed, type Passed } from './passed.ts';
import { emptyPrograms, passProgram, type Programs } from './programs.ts';
import { emptyRuns, endRuns, passRun, type Runs } from './runs.ts';

/** What the entries of a log say of what is not in it. Memory does not grow with the log, but with what is open. */
export interface Completeness {
  readonly findings: Findings;
  readonly times: Times;
  readonly runs: Runs;
  readonly pairs: Pairs;
  readonly programs: Programs;
  readonly passed: Passed;
  readonly unread: Unread;
}

/** Entries whose body is none that this version knows of their kind. */
export interface Unread {
  count: number;
  /** Index of the first; null: there is none. */
  first: number | null;
}

export function completeness(): Completeness {
  const findings = noFindings();
  return { findings, times: emptyTimes(findings), runs: emptyRuns(findings), pairs: emptyPairs(findings), programs: emptyPrograms(findings), passed: emptyPassed(findings), unread: { count: 0, first: null } };
}

/** Takes the next entry of the log, which is good by itself. */
export function passEntry({ times, runs, pairs, programs, passed, unread }: Completeness, entry: Entry): void {
  passTime(times, entry);
  passRun(runs, entry);
  passPair(pairs, entry);
  passProgram(programs, entry);
  passPassed(passed, entry);
  if (readEntryBody(entry) !== null) return;
  unread.count += 1;
  unread.first ??= entry.index;
}

/** What was found, the first entry first; `size` is that of the log. */
export function conclude({ findings, runs }: Completeness, size: number): { readonly findings: readonly Finding[]; readonly count: number } {
  endRuns(runs, size - 1);
  return { findings: findings.list.toSorted((a, b) => a.index - b.index), count: findings.count };
}
