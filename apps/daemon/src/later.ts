import type { EntryDraft, EvidenceLog } from '@caisson/contract';

const RETRY_MS = 500;
/** No more can be over at once than were open, and nothing opens while nothing is recorded; the bound is for what is not foreseen. */
const MAX_WAITING = 65_536;

/**
 * Entries of what has passed at the gate and could not be put on record: each is offered again until it is, under the number that it
 * was told with first, so that the log has it once.
 */
export class Later implements Disposable {
  readonly #append: EvidenceLog['append'];
  readonly #waiting = new Map<EntryDraft, () => void>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(append: EvidenceLog['append']) {
    this.#append = append;
  }

  /** @param onRecord told once it is durable */
  add(draft: EntryDraft, onRecord: () => void): void {
    if (this.#waiting.size < MAX_WAITING) this.#waiting.set(draft, onRecord);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => void this.#retry(), RETRY_MS);
  }

  async #retry(): Promise<void> {
    for (const [draft, onRecord] of this.#waiting) {
      if (!(await this.#append(draft).then(() => true, () => false))) break;
      this.#waiting.delete(draft);
      onRecord();
    }
    this.#timer = undefined;
    this.#schedule();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

/** Whether an entry of the gate is of something that is over: without it the bytes that went out are on no record. */
export function isOver({ body }: EntryDraft): boolean {
  const { event } = body as { readonly event?: unknown };
  return event === 'closed' || event === 'dismissed';
}
