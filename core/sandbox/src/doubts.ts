import { CaissonError, type EntryDraft, type EvidenceLog } from '@caisson/contract';

const RETRY_MS = 500;
/** Outcomes of what was never begun that are kept, the latest: as many can be refused as clients ask while nothing is recorded. */
const MAX_NOT_BEGUN = 4_096;

/**
 * Outcomes that could not be put on record yet. An append that failed may still have reached the log, an intent's
 * included: its outcome is offered again until the log has it, or says that it knows of no such intent.
 *
 * What has happened is kept without a limit, because there is no more of it than was begun. Of what was refused only so much is:
 * an intent of it that did reach the log gets the outcome `unknown` when control begins anew.
 */
export class Doubts implements Disposable {
  readonly #evidence: EvidenceLog;
  readonly #happened = new Map<string, EntryDraft>();
  readonly #notBegun = new Map<string, EntryDraft>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(evidence: EvidenceLog) {
    this.#evidence = evidence;
  }

  /** How many outcomes are not on record yet. */
  get size(): number {
    return this.#happened.size + this.#notBegun.size;
  }

  /** Of something that has happened. */
  add(outcome: EntryDraft): void {
    this.#happened.set(outcome.subject, outcome);
    this.#schedule();
  }

  /** Of something that was not begun, because its intent may not be on record. */
  addNotBegun(outcome: EntryDraft): void {
    this.#notBegun.set(outcome.subject, outcome);
    const [oldest] = this.#notBegun.keys();
    if (this.#notBegun.size > MAX_NOT_BEGUN && oldest !== undefined) this.#notBegun.delete(oldest);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.size === 0) return;
    this.#timer = setTimeout(() => void this.#retry(), RETRY_MS);
  }

  /** A full log still knows that it has no such intent: what was not begun does not wait behind what cannot be written. */
  async #retry(): Promise<void> {
    for (const waiting of [this.#notBegun, this.#happened]) await this.#offer(waiting);
    this.#timer = undefined;
    this.#schedule();
  }

  async #offer(waiting: Map<string, EntryDraft>): Promise<void> {
    for (const [subject, draft] of waiting) {
      const failed = await this.#evidence.append(draft).then(() => null, (error: unknown) => (error instanceof CaissonError ? error.code : 'INTERNAL'));
      if (failed === 'EVIDENCE_ENTRY_INVALID' && !isUnknown(draft)) {
        waiting.set(subject, unknownInstead(draft)); // no intent stays open because its outcome could not be put into words
        continue;
      }
      if (failed !== null && failed !== 'REQUEST_INVALID') return;
      if (waiting.get(subject) === draft) waiting.delete(subject);
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

const DETAIL = 'its outcome could not be recorded: it was no body of an outcome';

function isUnknown({ body }: EntryDraft): boolean {
  return (body as { readonly exit?: unknown } | null)?.exit === 'unknown';
}

function unknownInstead({ kind, source, subject }: EntryDraft): EntryDraft {
  return { kind, source, subject, body: { ending: { kind: 'unknown', detail: DETAIL }, exit: 'unknown' } };
}
