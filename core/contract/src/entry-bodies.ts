import { z } from 'zod';
import type { Json } from './canonical.ts';
import { ALERT_SEVERITIES, type EntryKind } from './evidence.ts';

/**
 * What readers of the log rely on in the bodies of its entries. A body may hold more: what is not named here is left alone, so
 * that an older reader reads what a newer writer has added. What does not fit is no body of that kind, and is never guessed at.
 */
const Count = z.int().min(0);
const Text = z.string();
const Names = z.array(Text);

const Decided = z.looseObject({ effect: z.enum(['allow', 'deny']), rule: Text, reason: Text });

/** A command is about to run in a sandbox of its own, or is refused. */
const CallIntent = z.looseObject({
  what: z.undefined().optional(),
  caller: Text,
  program: Text,
  request: Text,
  decision: Decided,
  level: Text.nullable(),
  policy: Text,
  network: Names.nullable(),
  secrets: Names,
});

/** A sandbox that stays is about to be made, or refused. */
const SandboxIntent = z.looseObject({
  what: z.literal('sandbox'),
  caller: Text,
  image: Text,
  decision: Decided,
  level: Text.nullable(),
  policy: Text,
  network: Names.nullable(),
  secrets: Names,
  ttlMs: Count.nullable(),
});

/** A command is about to run in a sandbox that stays, or is refused; or goes on from saved memory, and then without a decision. */
const ExecIntent = z.looseObject({ what: z.literal('exec'), sandbox: Text, caller: Text, program: Text, request: Text, decision: Decided.optional(), continues: Text.optional() });

const OutcomeBody = z.looseObject({
  ending: z.looseObject({ kind: Text, code: z.union([Text, z.int()]).optional(), detail: Text.optional() }),
  exit: z.union([z.int(), z.literal('unknown')]).optional(),
});

/** Events of a lifecycle entry by what its body says beside `event` and `caller`. */
const LifecycleBody = z.discriminatedUnion('event', [
  z.looseObject({ event: z.enum(['pause', 'resume', 'fork', 'files']), caller: Text }),
  z.looseObject({ event: z.enum(['renew', 'remove-workspace', 'remove-snapshot', 'make-token', 'revoke-token', 'import-image', 'remove-image', 'secret-rotated']), caller: Text }),
  z.looseObject({ event: z.enum(['unseal', 'erase-keys', 'keys-erased']), caller: Text }),
  z.looseObject({ event: z.literal('prepare'), level: Text }),
  z.looseObject({ event: z.literal('go-on'), goingOn: Names }),
  z.looseObject({ event: z.literal('dial'), caller: Text, port: Count }),
  z.looseObject({ event: z.literal('network'), caller: Text, rules: Names }),
  z.looseObject({ event: z.literal('snapshot'), caller: Text, layer: Text, memory: z.boolean() }),
  z.looseObject({ event: z.literal('restore'), caller: Text, layer: Text }),
  z.looseObject({ event: z.literal('secret-revoked'), caller: Text, secret: Text }),
  z.looseObject({ event: z.literal('approval'), caller: Text, approval: Text, decision: Text }),
]);

/** Counts of what the gate has put on record: connections that were let pass, requests, connections that are over, and their bytes. */
export const EgressTold = z.strictObject({ connections: Count, requests: Count, closed: Count, bytesOut: Count, bytesIn: Count });
export type EgressTold = z.infer<typeof EgressTold>;

const Place = { host: Text, port: Count };

/** What the gate has let pass, held or refused. */
const EgressBody = z.discriminatedUnion('event', [
  z.looseObject({ event: z.literal('connect'), connection: Count, ...Place }),
  z.looseObject({ event: z.literal('not-connected'), connection: Count, ...Place, detail: Text }),
  z.looseObject({ event: z.literal('closed'), connection: Count, bytesOut: Count, bytesIn: Count, cut: Text.nullable() }),
  z.looseObject({ event: z.literal('request'), connection: Count, ...Place, method: Text, path: Text, secrets: z.array(z.looseObject({ secret: Text, lease: Text })) }),
  z.looseObject({ event: z.literal('refused'), what: Text, to: Text, rule: Text.nullable(), reason: Text }),
  z.looseObject({ event: z.literal('refused-again'), again: z.array(z.looseObject({ more: Count })), others: Count }),
  z.looseObject({ event: z.literal('held'), approval: Text, ...Place, expiresMs: Count }),
  z.looseObject({ event: z.literal('dismissed'), connections: Count, bytesOut: Count, bytesIn: Count, refused: Count, told: EgressTold.optional() }),
]);

/** Something that somebody has to look at. */
const AlertBody = z.looseObject({
  /** What it is, such as `orphan-intents`. */
  alert: Text,
  severity: z.enum(ALERT_SEVERITIES).optional(),
  /** Subjects that it is about, or the part of Caisson. */
  about: Names.optional(),
  reason: Text.optional(),
  /** It is over: alerts of this name are not raised any more. */
  cleared: z.boolean().optional(),
});

/** What a run of a source says of its numbers: up to which all is settled, and which of these are not in the log as far as it knows. */
const HeartbeatBody = z.looseObject({ settledUpTo: Count, unrecorded: z.array(Count), unrecordedCount: Count, told: EgressTold.optional() });

/** The body of an entry that could be read, by what the entry is. */
export type EntryBody =
  | { readonly is: 'call'; readonly body: z.infer<typeof CallIntent> }
  | { readonly is: 'sandbox'; readonly body: z.infer<typeof SandboxIntent> }
  | { readonly is: 'exec'; readonly body: z.infer<typeof ExecIntent> }
  | { readonly is: 'outcome'; readonly body: z.infer<typeof OutcomeBody> }
  | { readonly is: 'lifecycle'; readonly body: z.infer<typeof LifecycleBody> }
  | { readonly is: 'egress'; readonly body: z.infer<typeof EgressBody> }
  | { readonly is: 'alert'; readonly body: z.infer<typeof AlertBody> }
  | { readonly is: 'heartbeat'; readonly body: z.infer<typeof HeartbeatBody> };

const READERS = {
  call: CallIntent, sandbox: SandboxIntent, exec: ExecIntent, outcome: OutcomeBody, lifecycle: LifecycleBody, egress: EgressBody, alert: AlertBody, heartbeat: HeartbeatBody,
} as const;

/** Reads the body of an entry. Null: it is none that this version knows. Never throws. */
export function readEntryBody({ kind, body }: { readonly kind: EntryKind; readonly body: Json }): EntryBody | null {
  const is = kind === 'intent' ? intentOf(body) : kind;
  if (is === null || !Object.hasOwn(READERS, is)) return null;
  const read = READERS[is].safeParse(body);
  return read.success ? ({ is, body: read.data } as EntryBody) : null;
}

/** Why a body is none of its kind, beginning with the field at fault; null: it is one, and `readEntryBody` reads it. Never throws. */
export function misfitOf({ kind, body }: { readonly kind: EntryKind; readonly body: Json }): string | null {
  const is = kind === 'intent' ? intentOf(body) : kind;
  if (is === null) return 'body.what: is none of call, sandbox and exec';
  const read = READERS[is].safeParse(body);
  if (read.success) return null;
  const [issue] = read.error.issues;
  return `${['body', ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'is not valid'}`;
}

function intentOf(body: Json): 'call' | 'sandbox' | 'exec' | null {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return null;
  const { what } = body as { readonly what?: Json };
  if (what === undefined) return 'call';
  return what === 'sandbox' || what === 'exec' ? what : null;
}
