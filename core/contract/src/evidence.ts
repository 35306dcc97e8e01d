import { z } from 'zod';
import type { Json } from './canonical.ts';

export const ENTRY_KINDS = ['intent', 'outcome', 'lifecycle', 'egress'] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** What a process asks the scribe to record. */
export interface EntryDraft {
  readonly kind: EntryKind;
  /** Process that reports, such as `control`. */
  readonly source: string;
  /** What the entry is about: the sandbox id of an intent and its outcome. */
  readonly subject: string;
  readonly body: Json;
}

/** An entry as it stands in the log. */
export interface Entry extends EntryDraft {
  /** Position in the log, from 0, without gaps. */
  readonly index: number;
  /** Wall time of the scribe, in milliseconds since 1970 UTC. */
  readonly timeMs: number;
}

/** Where an appended entry is, and the hash of the log up to and including it. */
export interface Receipt {
  readonly index: number;
  /** SHA-256, hex. */
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
}

const MAX_BODY_CHARACTERS = 256 * 1024;

export const EntryDraft: z.ZodType<EntryDraft> = z.strictObject({
  kind: z.enum(ENTRY_KINDS),
  source: z.string().min(1).max(64),
  subject: z.string().min(1).max(128),
  body: z.custom<Json>(isShort, { error: ({ input }) => (input === undefined ? 'is missing' : `is more than ${MAX_BODY_CHARACTERS} characters`) }),
}) as z.ZodType<EntryDraft>;

function isShort(body: unknown): boolean {
  const text = JSON.stringify(body) as string | undefined;
  return text !== undefined && text.length <= MAX_BODY_CHARACTERS;
}

export const Receipt: z.ZodType<Receipt> = z.strictObject({ index: z.int().min(0), hash: z.string().regex(/^[0-9a-f]{64}$/) });
