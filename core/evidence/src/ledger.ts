import type { EntryKind } from '@caisson/contract';
import type { Edge } from '@caisson/tlog';

/** How many closed subjects are remembered, the latest first to stay. A repeated append comes within seconds. */
export const CLOSED_WINDOW = 4096;

/**
 * The log up to and including an entry stands for the entry here: the receipt of an entry is made of it when it is asked for.
 *
 * What a log says so far about intents and outcomes. Every open intent is kept, and the last CLOSED_WINDOW closed
 * subjects: memory does not grow with the log, and beyond the window a subject counts as never seen.
 */
export interface Ledger {
  readonly open: Map<string, Edge>;
  readonly closed: Map<string, Readonly<Record<'intent' | 'outcome', Edge>>>;
}

export function emptyLedger(): Ledger {
  return { open: new Map(), closed: new Map() };
}

/** The intent or outcome that the log already has of this subject. */
export function recall(ledger: Ledger, kind: EntryKind, subject: string): Edge | undefined {
  if (kind !== 'intent' && kind !== 'outcome') return undefined;
  const open = kind === 'intent' ? ledger.open.get(subject) : undefined;
  return open ?? ledger.closed.get(subject)?.[kind];
}

/** Why an entry of this kind and subject cannot come next. The writer and every verifier ask this same question. */
export function objection(ledger: Ledger, kind: EntryKind, subject: string): string | undefined {
  if (recall(ledger, kind, subject) !== undefined) return `is a second ${kind} of ${subject}`;
  if (kind === 'outcome' && !ledger.open.has(subject)) return `is an outcome of ${subject}, which has no intent`;
  return undefined;
}

/** Enters what `objection` let pass. */
export function enter(ledger: Ledger, kind: EntryKind, subject: string, edge: Edge): void {
  if (kind === 'intent') ledger.open.set(subject, edge);
  const intent = ledger.open.get(subject);
  if (kind !== 'outcome' || intent === undefined) return;
  ledger.open.delete(subject);
  ledger.closed.set(subject, { intent, outcome: edge });
  const [oldest] = ledger.closed.keys();
  if (ledger.closed.size > CLOSED_WINDOW && oldest !== undefined) ledger.closed.delete(oldest);
}
