import { readEntryBody, type EgressTold, type Entry } from '@caisson/contract';
import { find, type Findings } from './findings.ts';

/** Runs of the gate whose entries are still added up; those of older ones have all come. */
const MAX_RUNS = 4;

type Sum = { -readonly [name in keyof EgressTold]: EgressTold[name] };

interface RunSums {
  readonly all: Sum;
  /** By sandbox, until it is dismissed. */
  readonly bySandbox: Map<string, Sum>;
}

/** What the entries of each run of the gate say has passed. */
export interface Passed {
  readonly findings: Findings;
  readonly byRun: Map<string, RunSums>;
}

export function emptyPassed(findings: Findings): Passed {
  return { findings, byRun: new Map() };
}

/** Takes the next entry. The gate counts what is on record, for each sandbox until its end and for all until each heartbeat: there must be as much in the log. */
export function passPassed({ findings, byRun }: Passed, entry: Entry): void {
  const { kind, origin, subject, index, source } = entry;
  if (origin === undefined || (kind !== 'egress' && kind !== 'heartbeat')) return;
  const sums = byRun.get(origin.run) ?? begin(byRun, origin.run);
  if (kind === 'heartbeat') {
    const less = lessThan(sums.all, toldIn(entry));
    if (less !== null) find(findings, index, `is a heartbeat of ${source}, which has put ${less} on record since it was started`);
    return;
  }
  const body = (entry.body ?? {}) as EgressFields;
  const ofSandbox = sums.bySandbox.get(subject) ?? nothing();
  if (body.event === 'dismissed') {
    sums.bySandbox.delete(subject);
    const less = lessThan(ofSandbox, toldIn(entry));
    if (less !== null) find(findings, index, `is the end of the network of ${subject}: ${source} has put ${less} on record`);
    return;
  }
  sums.bySandbox.set(subject, ofSandbox);
  for (const sum of [sums.all, ofSandbox]) add(sum, body);
}

interface EgressFields {
  readonly event?: unknown;
  readonly bytesOut?: unknown;
  readonly bytesIn?: unknown;
}

/** What the gate has counted, where it says so. */
function toldIn(entry: Entry): EgressTold | undefined {
  const read = readEntryBody(entry);
  if (read?.is === 'heartbeat') return read.body.told;
  return read?.is === 'egress' && read.body.event === 'dismissed' ? read.body.told : undefined;
}

function begin(byRun: Passed['byRun'], run: string): RunSums {
  const sums: RunSums = { all: nothing(), bySandbox: new Map() };
  byRun.set(run, sums);
  const [oldest] = byRun.keys();
  if (byRun.size > MAX_RUNS && oldest !== undefined) byRun.delete(oldest);
  return sums;
}

function nothing(): Sum {
  return { connections: 0, requests: 0, closed: 0, bytesOut: 0, bytesIn: 0 };
}

function add(sum: Sum, body: EgressFields): void {
  if (body.event === 'connect') sum.connections += 1;
  if (body.event === 'request') sum.requests += 1;
  if (body.event !== 'closed') return;
  sum.closed += 1;
  sum.bytesOut += Number(body.bytesOut);
  sum.bytesIn += Number(body.bytesIn);
}

const WORDS = [
  ['connections', 'connections'], ['requests', 'requests'], ['closed', 'ends of connections'], ['bytesOut', 'bytes out'], ['bytesIn', 'bytes in'],
] as const;

/** What is less in the log than was told; null: nothing is. */
function lessThan(sum: Sum, told: EgressTold | undefined): string | null {
  if (told === undefined) return null;
  for (const [name, words] of WORDS) if (sum[name] < told[name]) return `${told[name]} ${words}, of which the log has ${sum[name]},`;
  return null;
}
