import type { EntryBody } from '@caisson/contract';
import { changeSandbox, changeSecret, count, hasStarted, misfit, plain, plus, putLatest, type At, type Draft } from './draft.ts';
import { KEPT } from './state.ts';

type Egress = Extract<EntryBody, { readonly is: 'egress' }>['body'];
type Event<Name extends Egress['event']> = Extract<Egress, { readonly event: Name }>;

/** What the gate tells of a sandbox. It may come a moment after the sandbox's outcome: it is counted for its agent then. */
export function foldEgress(draft: Draft, at: At, body: Egress): void {
  const agent = draft.sandboxes.get(at.subject)?.agent ?? draft.ended.findLast(({ id }) => id === at.subject)?.agent;
  if (agent === undefined) return misfit(draft, at, 'egress of a sandbox that is not known');
  hasStarted(draft, at.subject, at);
  switch (body.event) {
    case 'connect': return count(draft, agent, at, { connections: 1 });
    case 'not-connected': return count(draft, agent, at, {});
    case 'request':
      for (const { secret } of body.secrets) changeSecret(draft, secret, 'uses');
      return count(draft, agent, at, { requests: 1 });
    case 'closed': return foldClosed(draft, at, agent, body);
    case 'refused': return foldRefused(draft, at, agent, 1);
    case 'refused-again': return foldRefused(draft, at, agent, plus(body.others, ...body.again.map(({ more }) => more)));
    case 'held': return foldHeld(draft, at, body);
    case 'dismissed': return foldDismissed(draft, at, agent, body);
  }
}

function foldClosed(draft: Draft, at: At, agent: string, { bytesOut, bytesIn }: Event<'closed'>): void {
  count(draft, agent, at, { bytesOut, bytesIn });
  const sandbox = draft.sandboxes.get(at.subject);
  if (sandbox !== undefined) changeSandbox(draft, at.subject, { bytesOut: plus(sandbox.bytesOut, bytesOut), bytesIn: plus(sandbox.bytesIn, bytesIn) });
}

function foldRefused(draft: Draft, at: At, agent: string, refused: number): void {
  count(draft, agent, at, { refused });
  const sandbox = draft.sandboxes.get(at.subject);
  if (sandbox !== undefined) changeSandbox(draft, at.subject, { refused: plus(sandbox.refused, refused) });
}

/** The gate's own sums are of all that passed: what no entry of a connection has told is added now. */
function foldDismissed(draft: Draft, at: At, agent: string, sums: Event<'dismissed'>): void {
  const sandbox = draft.sandboxes.get(at.subject);
  const told = sandbox ?? { bytesOut: sums.bytesOut, bytesIn: sums.bytesIn };
  count(draft, agent, at, { bytesOut: Math.max(0, sums.bytesOut - told.bytesOut), bytesIn: Math.max(0, sums.bytesIn - told.bytesIn) });
  changeSandbox(draft, at.subject, { bytesOut: 0, bytesIn: 0 });
}

function foldHeld(draft: Draft, at: At, { approval, expiresMs }: Event<'held'>): void {
  for (const [id, held] of draft.held) if (held.expiresMs < at.timeMs) draft.held.delete(id);
  if (draft.sandboxes.has(at.subject)) putLatest(draft.held, { id: plain(approval), sandbox: at.subject, expiresMs, index: at.index }, KEPT.held);
}
