import { z } from 'zod';
import { CaissonError, ENTRY_KINDS, type EvidenceLog, type Json } from '@caisson/contract';
import { BY_DAY, segmentOf, type Keyring } from '@caisson/sealing';
import type { Verbs } from '@caisson/wire';
import { checked } from './checked.ts';

const Text = z.string().max(65_535);
const Unsealing = z.strictObject({
  index: z.int().min(0),
  kind: z.enum(ENTRY_KINDS),
  source: Text,
  subject: Text,
  sealed: z.strictObject({ key: Text, nonce: Text, text: Text }),
});
const Erasing = z.union([z.strictObject({ tenant: z.string().min(1).max(256) }), z.strictObject({ beforeMs: z.int().min(0) })]);

const dayOf = (timeMs: number): number => segmentOf({ index: 0, timeMs }, BY_DAY);

interface KeyRooms {
  readonly ring: Pick<Keyring, 'unseal' | 'erase'>;
  readonly evidence: EvidenceLog;
  /** Wall time in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
}

/**
 * What the scribe does for the operator with the keys of the log. Each is on record before it is done: nobody reads what was
 * sealed, and nothing is erased, without a trace.
 */
export function keyVerbs({ ring, evidence, nowMs }: KeyRooms): Verbs {
  const record = (event: string, body: { readonly [name: string]: Json }): Promise<unknown> =>
    evidence.append({ kind: 'lifecycle', source: 'scribe', subject: 'evidence keys', body: { event, caller: 'operator', ...body } });
  return {
    unseal: async (parameters) => {
      const { index, sealed, ...about } = checked(Unsealing, parameters);
      await record('unseal', { entry: index, subject: about.subject, key: sealed.key });
      return ring.unseal(sealed, about);
    },
    erase: async (parameters) => {
      const asked = checked(Erasing, parameters);
      const what = 'tenant' in asked ? asked : { before: dayOf(asked.beforeMs) };
      // The key of today seals on: were it erased, nothing could be recorded until tomorrow.
      if ('before' in what && what.before > dayOf(nowMs())) throw new CaissonError('REQUEST_INVALID', { detail: 'beforeMs: is later than the start of today, in UTC' });
      await record('erase-keys', what);
      const keys = await ring.erase(what);
      await record('keys-erased', { ...what, keys });
      return { keys };
    },
  };
}
