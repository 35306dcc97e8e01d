import { CaissonError, type EntryDraft, type EvidenceLog } from '@caisson/contract';
import type { Verbs } from '@caisson/wire';

/** What a scribe answers on its socket: append, openIntents, head and alerts. There is no verb that changes or removes. */
export function scribeVerbs(log: EvidenceLog): Verbs {
  return {
    append: async (parameters) => log.append(parameters as EntryDraft), // which refuses what is none
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

function expectNone(parameters: unknown): void {
  if (typeof parameters === 'object' && parameters !== null && Object.keys(parameters).length === 0) return;
  throw new CaissonError('REQUEST_INVALID', { detail: 'parameters: this verb takes an empty object' });
}
