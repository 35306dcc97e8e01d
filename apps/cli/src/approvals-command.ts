import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError } from '@caisson/contract/errors';
import type { Decided, HeldAttempt } from '@caisson/contract';
import { ask, openApi, type Api } from './api.ts';
import { parseDurationMs } from './quantity.ts';
import { defined, type Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable, showSpan, told } from './say.ts';

const EVERY_MS = 500;
const HEADING = ['ID', 'SANDBOX', 'WHAT', 'SINCE', 'EXPIRES', 'WAITING', 'RULE'];

interface Span {
  readonly for?: string;
  readonly once?: boolean;
}

/** Lists what sandboxes wait for. */
export async function approvals({ json }: Json): Promise<number> {
  const held = await heldBy(await openApi());
  if (json === true) printJson({ approvals: held });
  else printTable(HEADING, held.map(rowOf));
  return 0;
}

/** What asking again may get over: Caisson is being started again, or is not there yet. */
const AWAY: ReadonlySet<unknown> = new Set(['DAEMON_UNREACHABLE', 'CONNECTION_LOST', 'DRAINING']);

/** Prints what sandboxes wait for as it comes, until SIGINT or SIGTERM; also when Caisson goes away in between and comes back. */
export async function watchApprovals({ json }: Json): Promise<number> {
  const api = await openApi();
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  let isAway = false;
  for (let seen: ReadonlySet<string> = new Set(); ; ) {
    const held = await heldBy(api, stop.signal).catch((error: unknown) => {
      if (stop.signal.aborted) return null;
      if (!AWAY.has((error as { readonly code?: unknown }).code)) throw error;
      if (!isAway) note(`${told(error).message}; asking again until it is back`);
      isAway = true;
      return null;
    });
    if (held === null) {
      if (await isOver(stop.signal)) return 0;
      continue;
    }
    isAway = false;
    for (const attempt of held.filter(({ id }) => !seen.has(id))) {
      if (json === true) printJson(attempt);
      else {
        const [id = '', sandbox = '', what = ''] = rowOf(attempt);
        printTable([`${id}  ${sandbox}`], [[`  ${what}, for ${showSpan(attempt.expiresMs - Date.now())}, held by ${attempt.rules.join(', ')}`]]);
      }
    }
    seen = new Set(held.map(({ id }) => id));
    if (await isOver(stop.signal)) return 0;
  }
}

/** Waits for the next time to ask. @returns whether a signal came */
function isOver(signal: AbortSignal): Promise<boolean> {
  return delay(EVERY_MS, false, { signal }).catch(() => true);
}

/** Decides what a sandbox waits for. */
export async function decideApproval(id: string, decision: 'allow' | 'deny', { json, for: span, once }: Json & Span): Promise<number> {
  if (span !== undefined && once === true) throw new CaissonError('USAGE', { detail: '--once and --for exclude each other' });
  const lasts = span === undefined ? undefined : span === 'sandbox' ? span : parseDurationMs('--for', span);
  const { connection } = await openApi();
  const decided = (await ask(connection, { method: 'POST', path: `/v1/approvals/${encodeURIComponent(id)}`, json: defined({ decision, for: lasts }) })) as Decided;
  if (json === true) printJson(decided);
  else print(`${id}\n`);
  if (decided.waiting === 0 && decision === 'allow' && lasts === undefined) note('who waited has gone away: nothing has passed by this; --for 10m would let the same through again');
  return 0;
}

async function heldBy({ connection }: Api, signal?: AbortSignal): Promise<readonly HeldAttempt[]> {
  return ((await ask(connection, { method: 'GET', path: '/v1/approvals', signal })) as { readonly approvals: readonly HeldAttempt[] }).approvals;
}

function rowOf({ id, sandbox, host, port, method, path, sinceMs, expiresMs, waiting, rules }: HeldAttempt): readonly string[] {
  const now = Date.now();
  const what = method === null ? `${host}:${port}` : `${method} ${host}:${port} ${path ?? ''}`;
  return [id, sandbox, what, `${showSpan(now - sinceMs)} ago`, `in ${showSpan(expiresMs - now)}`, String(waiting), rules.join(', ')];
}
