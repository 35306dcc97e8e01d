import { CaissonError, type EntryDraft, type EvidenceLog } from '@caisson/contract';

const RETRY_MS = 500;

/**
 * Outcomes that could not be put on record yet. An append that failed may still have reached the log, an intent's
 * included: its outcome is offered again until the log has it, or says that it knows of no such intent.
 */
export class Doubts implements Disposable {
  readonly #evidence: EvidenceLog;
  readonly #drafts = new Map<string, EntryDraft>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(evidence: EvidenceLog) {
    this.#evidence = evidence;
  }

  add(outcome: EntryDraft): void {
    this.#drafts.set(outcome.subject, outcome);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#drafts.size === 0) return;
    this.#timer = setTimeout(() => void this.#retry(), RETRY_MS);
  }

  async #retry(): Promise<void> {
    for (const [subject, draft] of this.#drafts) {
      const settled = await this.#evidence.append(draft).then(() => true, (error: unknown) => error instanceof CaissonError && error.code === 'REQUEST_INVALID');
      if (!settled) break;
      this.#drafts.delete(subject);
    }
    this.#timer = undefined;
    this.#schedule();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
