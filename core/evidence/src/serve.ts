import { CaissonError, ENTRY_KINDS, misfitOf, type EntryDraft, type EvidenceLog } from '@caisson/contract';
import type { Verbs } from '@caisson/wire';

/** What a scribe answers on its socket: append, openIntents, head and alerts. There is no verb that changes or removes. What is appended has the body of its kind. */
export function scribeVerbs(log: EvidenceLog): Verbs {
  return {
    append: async (parameters) => {
      expectBody(parameters);
      return log.append(parameters as EntryDraft); // which refuses what is no draft
    },
    openIntents: async (parameters) => {
      expectNone(parameters);
      return log.openIntents();
    },
    alerts: async (parameters) => {
      expectNone(parameters);
      return (await log.alerts?.()) ?? [];
    },
    head: async (parameters) => {
      expectNone(parameters);
      return log.head();
    },
  };
}

/** A body that no reader knows is refused before anything is written: it is a defect of whoever reports, and the log is read for ever. */
function expectBody(parameters: unknown): void {
  const { kind, body } = (parameters ?? {}) as Partial<EntryDraft>;
  if (kind === undefined || body === undefined || !ENTRY_KINDS.includes(kind)) return;
  const misfit = misfitOf({ kind, body });
  if (misfit !== null) throw new CaissonError('EVIDENCE_ENTRY_INVALID', { kind, detail: misfit });
}

function expectNone(parameters: unknown): void {
  if (typeof parameters === 'object' && parameters !== null && Object.keys(parameters).length === 0) return;
  throw new CaissonError('REQUEST_INVALID', { detail: 'parameters: this verb takes an empty object' });
}
