import type { Json } from '@caisson/contract';
import type { Verification } from '@caisson/evidence';
import type { PublicKey } from '@caisson/tlog';
import { listOf, type Rows } from './report-rows.ts';
import type { AgentRow, Tally } from './report-shape.ts';
import type { stampedJson } from './stamped-heads.ts';

/** Open intents and runs that are listed; all are counted. */
const LISTED_MOST = 200;

/** What no reading of the log alone can show. */
const NOT_SHOWN = [
  'whose key it is, unless --key gives one that you have from elsewhere',
  'a cut end, unless --head gives a head that was kept elsewhere',
  'that what was recorded is true, and that the clock was right',
] as const;

/** A report as data: integers, text and lists, in one order for one log. */
export interface Report {
  /** Where an entry is bad, size and root are of no use: the size is that of what is before it, and there is no root. */
  readonly log: { readonly origin: string | null; readonly keys: readonly string[]; readonly size: number; readonly published: number; readonly root: string | null; readonly headTimeMs: number | null };
  /** `bad`: nothing after that entry was looked at, and what follows in the report is of the entries before it. */
  readonly verification: Omit<Verification, 'origin' | 'keys' | 'entries' | 'published' | 'head' | 'openIntents'> & { readonly verdict: 'good' | 'bad'; readonly notShown: readonly string[] };
  /** Heads that are time-stamped, where that is asked for. `bad`: why one does not hold. */
  readonly stamped?: { readonly heads: readonly ReturnType<typeof stampedJson>[]; readonly bad: string | null };
  readonly period: {
    readonly sinceMs: number | null; readonly untilMs: number | null; readonly agent: string | null; readonly entries: number;
    readonly first: { readonly index: number; readonly timeMs: number } | null; readonly last: { readonly index: number; readonly timeMs: number } | null;
  };
  readonly kinds: Tabled<{ readonly name: string; readonly count: number }>;
  readonly decisions: Tabled<{ readonly effect: string; readonly rule: string; readonly count: number }>;
  readonly endings: Tabled<{ readonly name: string; readonly count: number }>;
  readonly agents: Tabled<AgentRow>;
  readonly denied: ReturnType<typeof listOf<Tally['denied']['first'][number]>>;
  readonly secrets: Tabled<Tally['secrets']['rows'] extends Map<string, infer Row> ? Row : never>;
  readonly network: {
    readonly allowed: Tabled<Tally['allowed']['rows'] extends Map<string, infer Row> ? Row : never>;
    readonly refused: Tabled<Tally['refused']['rows'] extends Map<string, infer Row> ? Row : never>;
    readonly approvals: Tabled<{ readonly name: string; readonly count: number }>;
  };
  readonly unknown: ReturnType<typeof listOf<Tally['unknown']['first'][number]>>;
  readonly openIntents: { readonly count: number; readonly listed: readonly { readonly subject: string; readonly agent: string | null; readonly index: number | null; readonly timeMs: number | null }[] };
  readonly alerts: ReturnType<typeof listOf<Tally['alerts']['first'][number]>>;
  readonly gaps: {
    readonly clockBackwards: number;
    readonly pointers: ReturnType<typeof listOf<Tally['badPointers']['first'][number]>>;
    readonly runs: Tabled<{ readonly run: string; readonly source: string; readonly entries: number; readonly highest: number; readonly missing: number }>;
  };
  readonly unread: ReturnType<typeof listOf<Tally['unread']['first'][number]>>;
  readonly sealed: number;
}

export interface Tabled<Row> {
  readonly rows: readonly Row[];
  /** What was counted of keys for which there was no room. */
  readonly beyond: number;
}

export interface Facts {
  readonly tally: Tally;
  readonly verification: Verification;
  readonly keys: readonly PublicKey[];
}

export function reportOf({ tally, verification, keys }: Facts): Report {
  const { origin, entries, published, head, openIntents, keys: found, ...checked } = verification;
  const { bad } = checked;
  const { filter, span } = tally;
  const isGood = bad === null && checked.findingsCount === 0 && checked.knownHead !== 'missing' && tally.badPointers.count === 0;
  return {
    log: { origin, keys: keysShown(keys, found), ...(bad === null ? { size: entries, published, root: head?.hash ?? null } : { size: bad.index, published: Math.min(published, bad.index), root: null }), headTimeMs: tally.lastMs },
    verification: { ...checked, verdict: isGood ? 'good' : 'bad', notShown: NOT_SHOWN },
    period: { sinceMs: filter.sinceMs ?? null, untilMs: filter.untilMs ?? null, agent: filter.agent ?? null, entries: tally.entries, first: span?.first ?? null, last: span?.last ?? null },
    kinds: tabled(tally.kinds, ({ name }) => name),
    decisions: tabled(tally.decisions, ({ effect, rule }) => `${effect} ${rule}`),
    endings: tabled(tally.endings, ({ name }) => name),
    agents: tabled(tally.agents, ({ agent }) => agent),
    denied: listOf(tally.denied),
    secrets: tabled(tally.secrets, ({ secret }) => secret),
    network: {
      allowed: tabled(tally.allowed, ({ to }) => to, (row) => row.connections + row.requests),
      refused: tabled(tally.refused, ({ to, what }) => `${to} ${what}`, ({ count }) => count),
      approvals: tabled(tally.approvals, ({ name }) => name),
    },
    unknown: listOf(tally.unknown),
    openIntents: openOf(tally, openIntents),
    alerts: listOf(tally.alerts),
    gaps: { clockBackwards: tally.clock.backwards, pointers: listOf(tally.badPointers), runs: runsOf(tally) },
    unread: listOf(tally.unread),
    sealed: tally.sealed,
  };
}

/** The keys that the log has had, or those that were looked for in one that is bad. */
function keysShown(trusted: readonly PublicKey[], found: readonly string[]): readonly string[] {
  return found.length === 0 ? trusted.map(({ name, id }) => `${name}+${id}`) : found.map((key) => key.split('+').slice(0, 2).join('+'));
}

/** The same with what time-stamps say; where one does not hold the verdict is bad. */
export function withStamps(report: Report, stamped: NonNullable<Report['stamped']>): Report {
  const { verification } = report;
  return { ...report, stamped, verification: { ...verification, verdict: stamped.bad === null ? verification.verdict : 'bad' } };
}

/** The report as JSON that canonicalJson takes: what is undefined is left out. */
export function asJson(report: Report): Json {
  return JSON.parse(JSON.stringify(report)) as Json;
}

/** Rows in an order that does not depend on the machine: the largest first where `size` is given, and then by their name. */
function tabled<Row>({ rows, beyond }: Rows<Row>, name: (row: Row) => string, size: (row: Row) => number = () => 0): Tabled<Row> {
  const sorted = [...rows.values()].sort((a, b) => size(b) - size(a) || (name(a) < name(b) ? -1 : 1));
  return { rows: sorted, beyond };
}

function openOf({ open }: Tally, subjects: readonly string[]): Report['openIntents'] {
  const listed = subjects.slice(0, LISTED_MOST).map((subject) => {
    const who = open.get(subject);
    return { subject, agent: who?.agent ?? null, index: who?.index ?? null, timeMs: who?.timeMs ?? null };
  });
  return { count: subjects.length, listed };
}

/** Runs of sources; what is missing may also be on its way, where the run is not over. */
function runsOf({ runs }: Tally): Report['gaps']['runs'] {
  const rows = [...runs.rows.values()].map((row) => ({ ...row, missing: Math.max(0, row.highest - row.entries) }));
  return { rows: rows.slice(-LISTED_MOST), beyond: runs.beyond };
}
