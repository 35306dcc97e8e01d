import { z } from 'zod';
import type { Json } from './canonical.ts';

export const ENTRY_KINDS = ['intent', 'outcome', 'lifecycle', 'egress', 'alert', 'heartbeat'] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** What a process asks the scribe to record. */
export interface EntryDraft {
  readonly kind: EntryKind;
  /** Process that reports, such as `control`. */
  readonly source: string;
  /** What the entry is about: the sandbox id of an intent and its outcome. */
  readonly subject: string;
  readonly body: Json;
  /** Where the entry stands among all that this run of the source reports. A heartbeat that names a higher number shows what is missing. */
  readonly origin?: Origin;
  /** What only holders of a key may read. The scribe seals it; the log never holds it open. */
  readonly secret?: Secret;
}

export interface Secret {
  /** Whose it is: its keys are erased together. */
  readonly tenant: string;
  /** Its canonical text is at most 32,764 bytes; `sealable` shortens what may be longer. */
  readonly value: Json;
  /** What stands in the open as a keyed digest, so that equal values of one tenant are seen to be equal and nobody can try values. Default: nothing. */
  readonly alike?: Json;
}

export interface Origin {
  /** Names one run of a process; 32 hex digits. */
  readonly run: string;
  /** Counts what this run reports, from 1, without gaps. */
  readonly seq: number;
}

/** AES-256-GCM text of a canonical JSON value, by a key of one tenant and one segment of the log; all fields base64 but the name of the key and the digest. */
export interface Sealed {
  readonly key: string;
  readonly nonce: string;
  /** Cipher text and tag. */
  readonly text: string;
  /** HMAC-SHA-256 of what `alike` of the draft was, by a key of the tenant; hex. */
  readonly digest?: string;
}

/** An entry as it stands in the log. */
export interface Entry extends Omit<EntryDraft, 'secret'> {
  /** Position in the log, from 0, without gaps. */
  readonly index: number;
  /** Wall time of the scribe, in milliseconds since 1970 UTC. */
  readonly timeMs: number;
  readonly sealed?: Sealed;
}

export const ALERT_SEVERITIES = ['info', 'warning', 'critical'] as const;

/** An entry that somebody has to look at, until one says that it is over. */
export interface Alert {
  /** What it is, such as `orphan-intents`. */
  readonly alert: string;
  readonly severity: (typeof ALERT_SEVERITIES)[number];
  /** Subjects that it is about, or the part of Caisson; some of them where they are many. */
  readonly about: readonly string[];
  readonly reason: string;
  readonly timeMs: number;
}

/** Where an appended entry is, and the hash of the log up to and including it. */
export interface Receipt {
  readonly index: number;
  /** Root of the Merkle tree of the first `index + 1` entries (RFC 6962 §2.1), hex. */
  readonly hash: string;
}

/** The record of what Caisson was about to do and what came of it. */
export interface EvidenceLog {
  /**
   * Appends one entry. It MUST resolve only when the entry is durable, and MUST reject otherwise; after a
   * rejection the entry may still be found in the log. An intent or outcome is unique by (kind, subject):
   * appending it again MUST NOT add a second entry and resolves to the receipt of the first.
   */
  append(draft: EntryDraft): Promise<Receipt>;
  /** Subjects that have an intent and no outcome. */
  openIntents(): Promise<readonly string[]>;
  /** The last entry, or null for an empty log. */
  head(): Promise<Receipt | null>;
  /** The last alerts that nothing has cleared, the oldest first. Default: it keeps none. */
  alerts?(): Promise<readonly Alert[]>;
}

const Run = z.strictObject({ run: z.string().regex(/^[0-9a-f]{32}$/), seq: z.int().min(1) });

export const EntryDraft: z.ZodType<EntryDraft> = z.strictObject({
  kind: z.enum(ENTRY_KINDS),
  source: z.string().min(1).max(64),
  subject: z.string().min(1).max(128),
  body: z.custom<Json>((body) => body !== undefined, { error: 'is missing' }),
  origin: Run.optional(),
  secret: z.strictObject({
    tenant: z.string().min(1).max(256),
    value: z.custom<Json>((value) => value !== undefined, { error: 'is missing' }),
    alike: z.custom<Json>((value) => value !== undefined, { error: 'is missing' }).optional(),
  }).optional(),
}) as z.ZodType<EntryDraft>;

export const Alert: z.ZodType<Alert> = z.strictObject({
  alert: z.string(), severity: z.enum(ALERT_SEVERITIES), about: z.array(z.string()), reason: z.string(), timeMs: z.int(),
});

export const Receipt: z.ZodType<Receipt> = z.strictObject({ index: z.int().min(0), hash: z.string().regex(/^[0-9a-f]{64}$/) });
