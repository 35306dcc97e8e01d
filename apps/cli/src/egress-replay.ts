import { CaissonError } from '@caisson/contract/errors';
import { decideAgain, pastOf, type Again, type Past } from '@caisson/egress/rules';
import { readEntries } from '@caisson/evidence';
import { instancePaths } from './client.ts';
import { parseDurationMs } from './quantity.ts';
import { readRules } from './rules-file.ts';
import type { Json } from './sandbox-commands.ts';
import { note, printJson, printTable } from './say.ts';

/** The options of `egress replay` as commander gives them. */
export interface ReplayFlags extends Json {
  readonly policy: string;
  readonly sandbox?: string;
  readonly since?: string;
}

/** Decisions that are alike in all but their time. */
interface Replayed {
  readonly before: Past['effect'];
  readonly after: Again['effect'];
  readonly host: string;
  readonly port: number | null;
  readonly method: string | null;
  readonly path: string | null;
  readonly ruleBefore: string | null;
  readonly ruleAfter: string | null;
  readonly reason: string;
  readonly count: number;
  /** Milliseconds since 1970 UTC. */
  readonly lastMs: number;
}

/** Tells what is on record and would be decided otherwise. @returns 0 when nothing is, 1 when something is */
export async function replay({ policy, sandbox, since, json }: ReplayFlags): Promise<number> {
  const sinceMs = since === undefined ? 0 : timeOf(since);
  const { layers, hasRules } = await readRules(policy);
  const found = new Map<string, Replayed>();
  let same = 0;
  for await (const { entry } of readEntries(instancePaths().evidence)) {
    if (entry.kind !== 'egress' || entry.timeMs < sinceMs || (sandbox !== undefined && entry.subject !== sandbox)) continue;
    const past = pastOf(entry.body);
    // What a policy lets any call says nothing of what a call did not ask for.
    if (past === null || (past.effect === 'deny' && !hasRules)) continue;
    const again = decideAgain(layers, past);
    if (again.effect === past.effect) same += 1;
    else add(found, replayedOf(past, again, entry.timeMs));
  }
  const all = [...found.values()];
  const differs = all.filter(({ after }) => after !== 'unknown');
  const unknown = all.filter(({ after }) => after === 'unknown');
  if (json === true) printJson({ same, differs, unknown });
  else show(differs, unknown, same);
  return differs.length === 0 ? 0 : 1;
}

function timeOf(since: string): number {
  const atMs = /^\d{4}-/.test(since) ? Date.parse(since) : Date.now() - parseDurationMs('--since', since);
  if (Number.isNaN(atMs)) throw new CaissonError('USAGE', { detail: `--since: ${since} is neither a duration, such as 24h, nor a time, such as 2026-11-27T10:00Z` });
  return atMs;
}

function replayedOf(past: Past, again: Again, lastMs: number): Replayed {
  const { method, path } = past.effect === 'allow' ? (past.request ?? { method: null, path: null }) : { method: past.method, path: null };
  return { before: past.effect, after: again.effect, host: past.host, port: past.port, method, path, ruleBefore: past.rule, ruleAfter: again.rule, reason: again.reason, count: 1, lastMs };
}

function add(found: Map<string, Replayed>, one: Replayed): void {
  const { count: _, lastMs, ...alike } = one;
  const key = JSON.stringify(alike);
  found.set(key, { ...one, count: (found.get(key)?.count ?? 0) + 1, lastMs });
}

function show(differs: readonly Replayed[], unknown: readonly Replayed[], same: number): void {
  if (differs.length + unknown.length > 0) printTable(['BEFORE', 'AFTER', 'WHAT', 'TIMES', 'RULE BEFORE', 'RULE AFTER', 'WHY'], [...differs, ...unknown].map(rowOf));
  note(`${same} decisions are as before, ${total(differs)} differ, ${total(unknown)} cannot be told from the record`);
}

function rowOf({ before, after, host, port, method, path, count, ruleBefore, ruleAfter, reason }: Replayed): readonly string[] {
  const what = `${method === null ? '' : `${method} `}${host}${port === null ? '' : `:${port}`}${path ?? ''}`;
  return [before, after, what, String(count), ruleBefore ?? '-', ruleAfter ?? '-', reason];
}

function total(all: readonly Replayed[]): number {
  return all.reduce((sum, { count }) => sum + count, 0);
}
