import { z } from 'zod';

/** Something that a sandbox wants and that only rules with `hold` allow: it waits for a person's decision. */
export interface HeldAttempt {
  readonly id: string;
  readonly sandbox: string;
  readonly what: 'connection' | 'request';
  readonly host: string;
  readonly port: number;
  /** Of a request; null of a connection. */
  readonly method: string | null;
  /** Path of the first such request, without its query; null of a connection. A decision is for every path that the rule allows. */
  readonly path: string | null;
  /** Names of the rules that hold it. */
  readonly rules: readonly string[];
  /** Wall time in milliseconds since 1970 UTC. */
  readonly sinceMs: number;
  /** When it is refused if nobody has decided. */
  readonly expiresMs: number;
  /** Attempts that wait for this one decision; 0 when who tried has gone away. */
  readonly waiting: number;
}

/** What is decided of a held attempt, and for how long it holds of the same again: `once` is for what waits now. */
export interface ApprovalAnswer {
  readonly decision: 'allow' | 'deny';
  /** Of `allow` only: milliseconds, or as long as the sandbox lives. Default `once`. */
  readonly for?: 'once' | 'sandbox' | number;
}

/** A decision that was made. */
export interface Decided extends HeldAttempt {
  readonly decision: 'allow' | 'deny';
  /** Until when it holds of the same again, in milliseconds since 1970 UTC; null: as long as the sandbox lives. */
  readonly untilMs: number | null;
}

const attempt = {
  id: z.string(),
  sandbox: z.string(),
  what: z.enum(['connection', 'request']),
  host: z.string(),
  port: z.int(),
  method: z.string().nullable(),
  path: z.string().nullable(),
  rules: z.array(z.string()),
  sinceMs: z.number(),
  expiresMs: z.number(),
  waiting: z.int(),
};

const DAY_MS = 86_400_000;
const decision = z.enum(['allow', 'deny']);

export const HeldAttempt: z.ZodType<HeldAttempt> = z.strictObject(attempt);
export const Decided: z.ZodType<Decided> = z.strictObject({ ...attempt, decision, untilMs: z.number().nullable() });
export const ApprovalId: z.ZodType<string> = z.string().regex(/^apr-[0-9a-f]{16}$/);

export const ApprovalAnswer: z.ZodType<ApprovalAnswer> = z
  .strictObject({ decision, for: z.union([z.enum(['once', 'sandbox']), z.int().min(1).max(DAY_MS)]).exactOptional() })
  .refine((answer) => answer.decision === 'allow' || answer.for === undefined, { path: ['for'], message: 'is of a decision that allows' });
