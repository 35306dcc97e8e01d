import { CaissonError, type EntryDraft, type EvidenceLog } from '@caisson/contract';
import type { Verbs } from '@caisson/wire';
import { checkDraft } from './draft.ts';

/** What a scribe answers on its socket: append, openIntents and head. There is no verb that changes or removes. */
export function scribeVerbs(log: EvidenceLog): Verbs {
  return {
    append: async (parameters) => log.append(parseDraft(parameters)),
    openIntents: async (parameters) => {
      expectNone(parameters);
      return log.openIntents();
    },
    head: async (parameters) => {
      expectNone(parameters);
      return log.head();
    },
  };
}

function parseDraft(parameters: unknown): EntryDraft {
  const draft = checkDraft(parameters);
  if ('bad' in draft) throw new CaissonError('REQUEST_INVALID', { detail: draft.bad });
  return draft;
}

function expectNone(parameters: unknown): void {
  if (typeof parameters === 'object' && parameters !== null && Object.keys(parameters).length === 0) return;
  throw new CaissonError('REQUEST_INVALID', { detail: 'parameters: this verb takes an empty object' });
}
