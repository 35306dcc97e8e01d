import type { EntryBody } from '@caisson/contract';
import { addFailure, changeSandbox, changeSecret, count, isRunning, latest, misfit, move, plain, plainNames, plus, type At, type Draft } from './draft.ts';
import { KEPT, type Open, type Sandbox } from './state.ts';

type BodyOf<Is extends EntryBody['is']> = Extract<EntryBody, { readonly is: Is }>['body'];

/** An intent of a call, with a sandbox of its own, or of a sandbox that stays. */
export function foldSandbox(draft: Draft, at: At, what: 'call' | 'sandbox', body: BodyOf<'call'> | BodyOf<'sandbox'>): void {
  const agent = plain(body.caller);
  const denied = body.decision.effect === 'deny';
  const program = body.what === 'sandbox' ? '' : plain(body.program);
  if (!openIntent(draft, at, { what, agent, sandbox: at.subject, program, denied })) return;
  draft.policy = plain(body.policy);
  count(draft, agent, at, { [what === 'call' ? 'calls' : 'sandboxes']: 1, denials: denied ? 1 : 0 });
  draft.prepared = draft.prepared.filter((id) => id !== at.subject);
  if (denied) return;
  const sandbox: Sandbox = {
    id: at.subject, agent, what, state: 'creating',
    level: body.level === null ? null : plain(body.level),
    image: body.what === 'sandbox' ? plain(body.image) : 'host',
    network: body.network === null ? null : plainNames(body.network),
    secrets: plainNames(body.secrets),
    createdIndex: at.index, createdMs: at.timeMs, execs: 0, refused: 0, bytesOut: 0, bytesIn: 0,
  };
  draft.sandboxes.set(at.subject, sandbox);
  for (const secret of sandbox.secrets) changeSecret(draft, secret, 'leases');
}

export function foldExec(draft: Draft, at: At, { sandbox: named, caller, program, decision }: BodyOf<'exec'>): void {
  const agent = plain(caller);
  const sandbox = plain(named);
  const denied = decision?.effect === 'deny';
  if (!openIntent(draft, at, { what: 'exec', agent, sandbox, program: plain(program), denied })) return;
  count(draft, agent, at, { execs: 1, denials: denied ? 1 : 0 });
  const place = draft.sandboxes.get(sandbox);
  if (place === undefined) return void (hasEnded(draft, sandbox) || misfit(draft, at, 'an exec of a sandbox that is not known'));
  if (!denied) isRunning(draft, sandbox, at);
  changeSandbox(draft, sandbox, { execs: plus(place.execs, 1) });
}

function openIntent(draft: Draft, at: At, intent: Omit<Open, 'id' | 'index' | 'timeMs'>): boolean {
  const again = draft.open.has(at.subject);
  if (again) misfit(draft, at, 'a second intent');
  else draft.open.set(at.subject, { id: at.subject, ...intent, index: at.index, timeMs: at.timeMs });
  return !again;
}

/** Whether it is among what has ended, as far back as that is kept. */
export function hasEnded(draft: Draft, id: string): boolean {
  return draft.ended.some((ended) => ended.id === id);
}

/** What ends so has come to its end by itself or by whoever asked for it; a refusal is counted as a denial. */
const GOOD = new Set(['exited', 'closed', 'cancelled', 'refused']);

export function foldOutcome(draft: Draft, at: At, { ending }: BodyOf<'outcome'>): void {
  const open = draft.open.get(at.subject);
  if (open === undefined) return misfit(draft, at, 'an outcome without an intent');
  const { what, agent, sandbox } = open;
  const kind = plain(ending.kind);
  const unknown = kind === 'unknown' ? 1 : 0;
  const failed = !GOOD.has(kind);
  draft.open.delete(at.subject);
  if (what !== 'exec') endSandbox(draft, at, kind);
  count(draft, agent, at, { failures: failed ? 1 : 0, unknown });
  if (failed || kind === 'refused') addFailure(draft, agent, { index: at.index, timeMs: at.timeMs, subject: at.subject, ending: kind, detail: plain(ending.detail ?? '') });
  draft.totals = { ...draft.totals, ended: draft.totals.ended + 1, unknown: draft.totals.unknown + unknown };
  draft.ended = latest(draft.ended, { id: at.subject, what, agent, sandbox, ending: kind, index: at.index, timeMs: at.timeMs }, KEPT.ended);
}

/** Takes a sandbox through its end and out of the state: closed where it ended as it should, lost otherwise. */
function endSandbox(draft: Draft, at: At, ending: string): void {
  const sandbox = draft.sandboxes.get(at.subject);
  if (sandbox === undefined) return;
  const events = GOOD.has(ending) ? (['close', 'closed'] as const) : (['lose'] as const);
  for (const event of events) move(draft, at.subject, event, at);
  draft.sandboxes.delete(at.subject);
  for (const [id, held] of draft.held) if (held.sandbox === at.subject) draft.held.delete(id);
}
