import { setImmediate as arrived } from 'node:timers/promises';
import { CaissonError, type EntryDraft, type EvidenceLog, type Receipt } from '@caisson/contract';
import { encodeLine, GENESIS } from './chain.ts';
import { writeDurably, type Disk } from './disk.ts';
import { checkDraft, type Checked } from './draft.ts';
import { enter, recall, type Ledger } from './ledger.ts';

/** One write takes no more than about this many bytes, and no more than four times as many wait for it. */
const BATCH_BYTES = 8 * 1024 * 1024;
const WAITING_BYTES = 4 * BATCH_BYTES;
/** What a line has besides its body: two hashes, and names that are bounded. */
const LINE_BYTES = 512;

interface Pending {
  readonly draft: EntryDraft;
  readonly bodyText: string;
  /** About how many it will be in the file. */
  readonly bytes: number;
  readonly settle: PromiseWithResolvers<Receipt>;
}

interface Opened {
  readonly head: Receipt | null;
  readonly ledger: Ledger;
  readonly wholeBytes: number;
  readonly now: () => number;
  readonly disk: Disk;
  /** The lock and the file. */
  readonly resources: AsyncDisposableStack;
}

/**
 * The log in one file, and its only writer. Entries that arrive together, or while a sync is under way, are written together
 * and share the next one. When a write fails, everything that waits is rejected and the file is cut back to what is
 * durable; when that, or a sync, fails, nothing is written any more until the log is opened again.
 *
 * An intent or outcome is unique among the open subjects and the last 4096 closed ones.
 */
export class FileLog implements EvidenceLog, AsyncDisposable {
  readonly #ledger: Ledger;
  readonly #now: () => number;
  readonly #disk: Disk;
  readonly #resources: AsyncDisposableStack;
  /** Intents and outcomes that are not durable yet, by kind and subject. */
  readonly #promised = new Map<string, Promise<Receipt>>();
  #head: Receipt | null;
  #durableBytes: number;
  #queue: Pending[] = [];
  #waitingBytes = 0;
  #flushing: Promise<void> | undefined;
  #closedBecause: string | undefined;

  constructor({ head, ledger, wholeBytes, now, disk, resources }: Opened) {
    this.#head = head;
    this.#ledger = ledger;
    this.#durableBytes = wholeBytes;
    this.#now = now;
    this.#disk = disk;
    this.#resources = resources;
  }

  /** @throws CaissonError REQUEST_INVALID for a draft that is not valid, or an outcome without an intent; EVIDENCE_UNAVAILABLE */
  async append(value: EntryDraft): Promise<Receipt> {
    const checked = checkDraft(value);
    if ('bad' in checked) throw new CaissonError('REQUEST_INVALID', { detail: checked.bad });
    const { draft } = checked;
    if (this.#closedBecause !== undefined) throw unavailable(this.#closedBecause);
    const key = keyOf(draft);
    const first = recall(this.#ledger, draft.kind, draft.subject) ?? this.#promised.get(key);
    if (first !== undefined) return first;
    if (draft.kind === 'outcome' && !this.#hasIntent(draft.subject)) {
      throw new CaissonError('REQUEST_INVALID', { detail: `subject: ${draft.subject} has no intent, so it can have no outcome` });
    }
    return this.#enqueue(checked);
  }

  #hasIntent(subject: string): boolean {
    return this.#ledger.open.has(subject) || this.#promised.has(keyOf({ kind: 'intent', subject }));
  }

  #enqueue({ draft, bodyText }: Checked): Promise<Receipt> {
    const bytes = Buffer.byteLength(bodyText) + LINE_BYTES;
    if (this.#waitingBytes + bytes > WAITING_BYTES) throw unavailable(`more than ${WAITING_BYTES} bytes wait to be written`);
    const settle = Promise.withResolvers<Receipt>();
    if (draft.kind === 'intent' || draft.kind === 'outcome') this.#promised.set(keyOf(draft), settle.promise);
    this.#queue.push({ draft, bodyText, bytes, settle });
    this.#waitingBytes += bytes;
    this.#flushing ??= this.#flush();
    return settle.promise;
  }

  /** Begins when everything that has arrived by now has been taken: it shares one sync. */
  async #flush(): Promise<void> {
    await arrived();
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#commit(batch);
      } catch (error) {
        this.#reject(batch, unavailable((error as Error).message, error));
      }
    }
    this.#flushing = undefined;
  }

  #takeBatch(): readonly Pending[] {
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      if (count > 0 && bytes + pending.bytes > BATCH_BYTES) break;
      bytes += pending.bytes;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    const { bytes, receipts } = this.#encode(batch);
    const written = await writeDurably(this.#disk, bytes, this.#durableBytes);
    if (written.state === 'unknown') this.#closedBecause ??= `${written.cause.message}; nothing is written until the log is opened again`;
    if (written.state !== 'durable') throw written.cause;
    this.#durableBytes += bytes.length;
    this.#head = receipts.at(-1) ?? this.#head;
    for (const [at, { draft, bytes: size, settle }] of batch.entries()) {
      const receipt = receipts[at] as Receipt;
      this.#waitingBytes -= size;
      this.#promised.delete(keyOf(draft));
      enter(this.#ledger, draft.kind, draft.subject, receipt);
      settle.resolve(receipt);
    }
  }

  #encode(batch: readonly Pending[]): { readonly bytes: Buffer; readonly receipts: readonly Receipt[] } {
    let head = this.#head;
    const texts: string[] = [];
    const receipts: Receipt[] = [];
    for (const { draft, bodyText } of batch) {
      const entry = { ...draft, index: head === null ? 0 : head.index + 1, timeMs: Math.trunc(this.#now()) };
      const { line, text } = encodeLine(entry, head?.hash ?? GENESIS, bodyText);
      head = { index: entry.index, hash: line.hash };
      texts.push(`${text}\n`);
      receipts.push(head);
    }
    return { bytes: Buffer.from(texts.join('')), receipts };
  }

  /** An outcome may wait for an intent of the failed batch, so all that waits falls with it. */
  #reject(batch: readonly Pending[], error: CaissonError): void {
    for (const { settle } of [...batch, ...this.#queue.splice(0)]) settle.reject(error);
    this.#promised.clear();
    this.#waitingBytes = 0;
  }

  async openIntents(): Promise<readonly string[]> {
    return [...this.#ledger.open.keys()];
  }

  async head(): Promise<Receipt | null> {
    return this.#head;
  }

  /** Waits for what is being written, then closes the file and gives up the lock. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closedBecause ??= 'the log is closed';
    await this.#flushing;
    await this.#resources.disposeAsync();
  }
}

function keyOf({ kind, subject }: Pick<EntryDraft, 'kind' | 'subject'>): string {
  return `${kind} ${subject}`;
}

function unavailable(detail: string, cause?: unknown): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail }, { cause });
}
