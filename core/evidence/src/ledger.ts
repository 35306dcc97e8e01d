import type { Alert, EntryDraft } from '@caisson/contract';

/** How many closed subjects are remembered, the latest first to stay. A repeated append comes within seconds. */
export const CLOSED_WINDOW = 4096;

/**
 * The log up to and including an entry stands for the entry here: the receipt of an entry is made of it when it is asked for.
 * Without the hashes, which a saved ledger does not hold, they are read from the tiles then.
 */
export interface Mark {
  readonly size: number;
  readonly hashes?: readonly Buffer[];
}

/**
 * What a log says so far about intents and outcomes. Every open intent is kept, and the last CLOSED_WINDOW closed
 * subjects: memory does not grow with the log, and beyond the window a subject counts as never seen.
 */
export interface Ledger {
  /** The last CLOSED_WINDOW entries that say where they stand among what their source reports, by run and number. */
  readonly told: Map<string, Mark>;
  readonly open: Map<string, Mark>;
  readonly closed: Map<string, Readonly<Record<'intent' | 'outcome', Mark>>>;
  /** The last alerts that nothing has cleared, the oldest first. */
  alerts: readonly Alert[];
}

export function emptyLedger(): Ledger {
  return { told: new Map(), open: new Map(), closed: new Map(), alerts: [] };
}

/** What tells one entry from another: an intent and an outcome are unique by subject, others by their origin. */
export type Told = Pick<EntryDraft, 'kind' | 'subject' | 'origin'>;

/** The entry that the log already has, of this subject or this origin. */
export function recall(ledger: Ledger, { kind, subject, origin }: Told): Mark | undefined {
  if (kind !== 'intent' && kind !== 'outcome') return origin && ledger.told.get(originKey(origin));
  const open = kind === 'intent' ? ledger.open.get(subject) : undefined;
  return open ?? ledger.closed.get(subject)?.[kind];
}

/** Why an entry cannot come next. The writer and every verifier ask this same question. */
export function objection(ledger: Ledger, told: Told): string | undefined {
  const { kind, subject, origin } = told;
  if (recall(ledger, told) !== undefined) return `is a second ${kind} of ${kind === 'intent' || kind === 'outcome' || origin === undefined ? subject : `number ${origin.seq} of its source`}`;
  if (kind === 'outcome' && !ledger.open.has(subject)) return `is an outcome of ${subject}, which has no intent`;
  return undefined;
}

function originKey({ run, seq }: NonNullable<EntryDraft['origin']>): string {
  return `${run} ${seq}`;
}

/** Enters what `objection` let pass. */
export function enter(ledger: Ledger, { kind, subject, origin }: Told, mark: Mark): void {
  if (origin !== undefined) keep(ledger.told, originKey(origin), mark);
  if (kind === 'intent') ledger.open.set(subject, mark);
  const intent = ledger.open.get(subject);
  if (kind !== 'outcome' || intent === undefined) return;
  ledger.open.delete(subject);
  keep(ledger.closed, subject, { intent, outcome: mark });
}

function keep<T>(window: Map<string, T>, key: string, value: T): void {
  window.set(key, value);
  const [oldest] = window.keys();
  if (window.size > CLOSED_WINDOW && oldest !== undefined) window.delete(oldest);
}
