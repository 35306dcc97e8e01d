import type { Report, Tabled } from './report-facts.ts';
import type { Sampled } from './report-rows.ts';

/** What stands in a cell: a word of ours, a number, or text of the log, which an agent may have chosen. */
export type Cell = string | number | { readonly said: string };

export interface Section {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** What is left out, in words of ours. */
  readonly notes: readonly string[];
}

/** Rows of a table for people. JSON has all that are kept. */
const ROWS_MOST = 40;

const said = (text: string): Cell => ({ said: text });
const time = (timeMs: number | null): string => (timeMs === null ? '–' : new Date(timeMs).toISOString());
const who = (agent: string | null): Cell => (agent === null ? '–' : said(agent));

/** The report for people, on one page but for what is listed. */
export function sectionsOf(report: Report): readonly Section[] {
  return [identity(report), checked(report), ...stamped(report), period(report), ...activity(report), ...trouble(report)];
}

function identity({ log }: Report): Section {
  return facts('Log', [
    ['origin', log.origin === null ? 'none' : said(log.origin)],
    ...log.keys.map((key) => ['key', said(key)] as const),
    ['good entries', log.size], ['in tiles', log.published],
    ['root', log.root ?? 'none'],
    ['last entry at', time(log.headTimeMs)],
  ]);
}

function checked({ verification: { verdict, bad, findings, findingsCount, unfinishedBytes, knownHead, notShown }, gaps }: Report): Section {
  const section = facts('Verification', [
    ['verdict', verdict === 'good' ? 'good, as far as this can show' : 'BAD'],
    ['first bad entry', bad === null ? 'none' : bad.index],
    ...(bad === null ? [] : [['why', said(bad.reason)] as const]),
    ['missing, by numbers and counters', findingsCount],
    ...findings.slice(0, 10).map(({ index, reason }) => [`entry ${index}`, said(reason)] as const),
    ['bad pointers', gaps.pointers.count],
    ['unfinished bytes', unfinishedBytes], ['kept head', knownHead],
  ]);
  const only = bad === null ? [] : ['THE LOG IS BAD: what follows is of the entries before the bad one only'];
  return { ...section, notes: [...only, ...notShown.map((text) => `does not show: ${text}`)] };
}

function stamped({ stamped: found }: Report): readonly Section[] {
  if (found === undefined) return [];
  const { heads, bad } = found;
  const ends = heads.length > 1 ? [heads[0], heads.at(-1)] : heads;
  const rows = ends.flatMap((head) => (head === undefined ? [] : [[`${head.entries} entries existed before`, said(`${head.before}, by ${head.authority}`)] as const]));
  return [facts('Time-stamps', [['stamped heads', heads.length], ...rows, ['not good', bad === null ? 'none' : said(bad)]])];
}

function period({ period: { sinceMs, untilMs, agent, entries, first, last } }: Report): Section {
  return facts('Period', [
    ['since', time(sinceMs)], ['until', time(untilMs)], ['agent', agent === null ? 'all' : said(agent)], ['entries', entries],
    ['first', first === null ? '–' : `#${first.index} ${time(first.timeMs)}`], ['last', last === null ? '–' : `#${last.index} ${time(last.timeMs)}`],
  ]);
}

function activity({ kinds, decisions, endings, agents, secrets, network: { allowed, refused, approvals } }: Report): readonly Section[] {
  return [
    table('Entries', ['kind', 'entries'], kinds, ({ name, count }) => [said(name), count]),
    table('Decisions', ['effect', 'rule', 'intents'], decisions, ({ effect, rule, count }) => [effect, said(rule), count]),
    table('Endings', ['ending', 'outcomes'], endings, ({ name, count }) => [said(name), count]),
    table('Agents', ['agent', 'calls', 'sandboxes', 'execs', 'denied', 'failed', 'unknown', 'connections', 'requests', 'refused', 'bytes out', 'bytes in'], agents, (row) => [
      said(row.agent), row.calls, row.sandboxes, row.execs, row.denied, row.failed, row.unknown, row.connections, row.requests, row.refused, row.bytesOut, row.bytesIn,
    ]),
    table('Secrets', ['secret', 'leases', 'uses', 'rotations', 'revocations'], secrets, (row) => [said(row.secret), row.leases, row.uses, row.rotations, row.revocations]),
    table('Network, allowed', ['to', 'connections', 'requests', 'not connected'], allowed, (row) => [said(row.to), row.connections, row.requests, row.notConnected]),
    table('Network, refused', ['to', 'what', 'rule', 'reason', 'times'], refused, ({ to, what, rule, reason, count }) => [said(to), said(what), rule === null ? '–' : said(rule), said(reason), count]),
    table('Approvals', ['decision', 'times'], approvals, ({ name, count }) => [said(name), count]),
  ];
}

function trouble({ denied, unknown, openIntents, alerts, gaps, unread, sealed }: Report): readonly Section[] {
  const { pointers, runs } = gaps;
  const missing = { ...runs, rows: runs.rows.filter((row) => row.missing > 0) };
  return [
    list('Denied', ['entry', 'at', 'agent', 'what', 'program', 'rule', 'reason'], denied, (row) => [row.index, time(row.timeMs), who(row.agent), row.what, said(row.program), said(row.rule), said(row.reason)]),
    list('Unknown outcomes', ['entry', 'at', 'agent', 'subject', 'detail'], unknown, (row) => [row.index, time(row.timeMs), who(row.agent), said(row.subject), said(row.detail)]),
    list('Intents without an outcome', ['entry', 'at', 'agent', 'subject'], openIntents, (row) => [row.index ?? '–', time(row.timeMs), who(row.agent), said(row.subject)]),
    list('Alerts', ['entry', 'at', 'severity', 'alert', 'subject', 'reason'], alerts, (row) => [row.index, time(row.timeMs), row.severity ?? '–', said(row.alert), said(row.subject), said(row.reason)]),
    list('Pointers that do not hold', ['entry', 'subject', 'why'], pointers, (row) => [row.index, said(row.subject), said(row.why)]),
    table('Numbers that are missing', ['source', 'run', 'entries', 'highest', 'missing'], missing, (row) => [said(row.source), said(row.run), row.entries, row.highest, row.missing]),
    list('Entries whose body is not known', ['entry', 'at', 'subject'], unread, (row) => [row.index, time(row.timeMs), said(row.subject)]),
    facts('Also', [['sealed entries', sealed], ['times the clock went back', gaps.clockBackwards]]),
  ];
}

function facts(title: string, rows: readonly (readonly [string, Cell])[]): Section {
  return { title, columns: ['', ''], rows, notes: [] };
}

function table<Row>(title: string, columns: readonly string[], { rows, beyond }: Tabled<Row>, cells: (row: Row) => readonly Cell[]): Section {
  const more = rows.length > ROWS_MOST ? [`${rows.length - ROWS_MOST} more rows: --format json has them`] : [];
  return { title, columns, rows: rows.slice(0, ROWS_MOST).map(cells), notes: [...more, ...(beyond > 0 ? [`${beyond} more, of which no row was kept: audit export has every entry`] : [])] };
}

function list<Row>(title: string, columns: readonly string[], { count, listed }: Sampled<Row>, cells: (row: Row) => readonly Cell[]): Section {
  const half = ROWS_MOST / 2;
  const shown = listed.length > ROWS_MOST ? [...listed.slice(0, half), ...listed.slice(-half)] : listed;
  return { title: `${title} (${count})`, columns, rows: shown.map(cells), notes: shown.length < count ? [`the first ${half} and the last of ${count}: audit export has every entry`] : [] };
}
