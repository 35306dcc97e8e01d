import type { EntryBody } from '@caisson/contract';
import { changeSandbox, changeSecret, hasStarted, isRunning, latest, misfit, move, plain, plainNames, putLatest, type At, type Draft } from './draft.ts';
import { hasEnded } from './fold-calls.ts';
import { KEPT } from './state.ts';

type Lifecycle = Extract<EntryBody, { readonly is: 'lifecycle' }>['body'];

const SECRET_SUBJECT = 'secret ';

export function foldLifecycle(draft: Draft, at: At, body: Lifecycle): void {
  switch (body.event) {
    case 'prepare':
      draft.prepared = latest(draft.prepared, at.subject, KEPT.prepared);
      return;
    case 'remove-snapshot': return void draft.snapshots.delete(at.subject);
    case 'remove-workspace':
      draft.totals = { ...draft.totals, workspacesRemoved: draft.totals.workspacesRemoved + 1 };
      return;
    case 'secret-rotated':
      return changeSecret(draft, at.subject.startsWith(SECRET_SUBJECT) ? at.subject.slice(SECRET_SUBJECT.length) : at.subject, 'rotations');
    case 'go-on':
    case 'unseal':
    case 'erase-keys':
    case 'keys-erased':
    case 'make-token':
    case 'revoke-token':
    case 'import-image':
    case 'remove-image':
    case 'renew': return;
    default: return ofSandbox(draft, at, body);
  }
}

type OfSandbox = Extract<Lifecycle, { readonly event: 'pause' | 'resume' | 'fork' | 'files' | 'dial' | 'network' | 'snapshot' | 'restore' | 'secret-revoked' | 'approval' }>;

function ofSandbox(draft: Draft, at: At, event: OfSandbox): void {
  const sandbox = draft.sandboxes.get(at.subject);
  if (sandbox === undefined) return void (hasEnded(draft, at.subject) || misfit(draft, at, `${event.event} of a sandbox that is not known`));
  hasStarted(draft, at.subject, at);
  switch (event.event) {
    case 'pause':
      isRunning(draft, at.subject, at);
      return move(draft, at.subject, 'pause', at);
    case 'resume':
      if (draft.sandboxes.get(at.subject)?.state === 'paused') move(draft, at.subject, 'resume', at);
      return;
    case 'restore': return move(draft, at.subject, 'restore', at);
    case 'dial': return isRunning(draft, at.subject, at);
    case 'network': return changeSandbox(draft, at.subject, { network: plainNames(event.rules) });
    case 'snapshot': return putLatest(draft.snapshots, { id: plain(event.layer), sandbox: at.subject, memory: event.memory, index: at.index }, KEPT.snapshots);
    case 'approval': return void draft.held.delete(plain(event.approval));
    case 'secret-revoked': {
      const secret = plain(event.secret);
      changeSecret(draft, secret, 'revocations');
      return changeSandbox(draft, at.subject, { secrets: sandbox.secrets.filter((name) => name !== secret) });
    }
    case 'fork':
    case 'files': return;
  }
}
