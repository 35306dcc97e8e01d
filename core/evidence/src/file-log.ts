import { setImmediate as arrived } from 'node:timers/promises';
import { CaissonError, type Alert, type AlertName, type Entry, type EntryDraft, type EvidenceLog, type Json, type Receipt, type Sealed } from '@caisson/contract';
import type { Edge, PublicKey, Signer } from '@caisson/tlog';
import { encodeBatch, pendingAlert, signerAfter, type Pending } from './batch.ts';
import type { ClockStep, ClockWatch } from './clock.ts';
import { writeDurably, type Disk } from './disk.ts';
import { checkDraft, MAX_BODY_BYTES, type Checked } from './draft.ts';
import { withAlert } from './alerts.ts';
import { enter, recall, type Ledger, type Mark, type Told } from './ledger.ts';
import type { Publisher } from './publisher.ts';
import { isRotation } from './rotation.ts';
import { ledgerText } from './saved-ledger.ts';
import { headOf, type BadEntry } from './scan.ts';
import { saysOver, Unwritten } from './unwritten.ts';

/** One write takes no more than about this many bytes, and no more than four times as many wait for it. */
const BATCH_BYTES = 8 * 1024 * 1024;
const WAITING_BYTES = 4 * BATCH_BYTES;
/** About what a line has besides its body. */
const LINE_BYTES = 512;
/** A journal that is longer is followed by another: what is in tiles can then be dropped. */
const JOURNAL_BYTES = 4 * 1024 * 1024;
const TILES_ALERT: AlertName = 'tiles-not-written';
/** Between two tries to record anything while the disk takes nothing. */
const TRY_AGAIN_MS = 5_000;
/** Steps of the clock that are remembered while nothing can be recorded. */
const STEPS_KEPT = 8;
/** What may wait in memory to be brought into tiles; beyond it appends wait for the tiles, and fall with them. */
const UNPUBLISHED_BYTES = 32 * 1024 * 1024;

/** The file that appends go to. */
export interface Journal {
  readonly disk: Disk;
  /** Entries before it. */
  readonly first: number;
  readonly wholeBytes: number;
  readonly close: () => Promise<void>;
}

export interface Opened {
  readonly edge: Edge;
  readonly ledger: Ledger;
  readonly now: () => number;
  /** Default: nobody watches the clock. */
  readonly clock: ClockWatch | undefined;
  readonly signer: Signer;
  readonly journal: Journal;
  readonly publisher: Publisher;
  /** Seals what only holders of a key may read. Default: such a draft is refused. */
  readonly seal: ((draft: EntryDraft) => Sealed | Promise<Sealed>) | undefined;
  /** Why what is new may not be recorded now. Default: it may. */
  readonly mayAppend?: ((entries: number) => string | undefined) | undefined;
  /** Makes the journal that starts after so many entries. */
  readonly nextJournal: (first: number) => Promise<Journal>;
  /** The receipt of the last of so many entries, from the tiles. */
  readonly receiptOf: (size: number, keys: readonly PublicKey[]) => Promise<Receipt>;
  /** Keeps the text of the ledger at an edge, to start from. */
  readonly save: (edge: Edge, text: string, signer: Signer) => Promise<void>;
  /** How many entries were taken as signed and not read. */
  readonly unread: number;
  /** The lock and the files. */
  readonly resources: AsyncDisposableStack;
}

/**
 * The log of a folder, and its only writer. Entries that arrive together, or while a sync is under way, are written to the
 * journal together, with a signed checkpoint after them, and share one sync. When a write fails, everything that waits is rejected and the file is cut back to what is
 * durable; when that, or a sync, fails, nothing is written any more until the log is opened again.
 *
 * An intent or outcome is unique among the open subjects and the last 4096 closed ones, any other entry that has an origin
 * among the last 4096 of those: whoever repeats an append whose answer was lost adds nothing.
 */
export class FileLog implements EvidenceLog, AsyncDisposable {
  /** Entries that the start took as signed, and that are checked after it; 0: it has read everything. */
  readonly unread: number;
  /** Told once why nothing is written until the log is opened again. */
  onStuck: (reason: string) => void = () => undefined;
  readonly #ledger: Ledger;
  readonly #now: () => number;
  readonly #clock: ClockWatch | undefined;
  #signer: Signer;
  readonly #publisher: Publisher;
  readonly #seal: Opened['seal'];
  readonly #mayAppend: Opened['mayAppend'];
  readonly #nextJournal: Opened['nextJournal'];
  readonly #receiptOf: Opened['receiptOf'];
  readonly #save: Opened['save'];
  readonly #resources: AsyncDisposableStack;
  /** What is unique and not durable yet: intents and outcomes by subject, others by their origin. */
  readonly #promised = new Map<string, Promise<Receipt>>();
  readonly #unwritten: Unwritten;
  #edge: Edge;
  #journal: Journal;
  #queue: Pending[] = [];
  #waitingBytes = 0;
  #flushing: Promise<void> | undefined;
  #tryingAgain: NodeJS.Timeout | undefined;
  /** Settles when all that waits to be sealed, or for that, is in the queue. */
  #sealing: Promise<void> | undefined;
  #closedBecause: string | undefined;
  #damage: BadEntry | undefined;
  /** Steps of the clock that are not on record yet. */
  #steps: readonly ClockStep[] = [];
  /** One after the other; what fails leaves the one before in place, from which a start only takes longer. */
  #saving: Promise<void> = Promise.resolve();

  constructor({ edge, ledger, now, clock, signer, journal, publisher, seal, mayAppend, nextJournal, receiptOf, save, unread, resources }: Opened) {
    this.unread = unread;
    this.#edge = edge;
    this.#ledger = ledger;
    this.#now = now;
    this.#clock = clock;
    this.#signer = signer;
    this.#journal = journal;
    this.#publisher = publisher;
    this.#seal = seal;
    this.#mayAppend = mayAppend;
    this.#nextJournal = nextJournal;
    this.#receiptOf = receiptOf;
    this.#save = save;
    this.#resources = resources;
    this.#unwritten = new Unwritten(now);
    publisher.onState = (failing) => this.#sayTiles(failing);
    if (ledger.alerts.some(({ alert }) => alert === TILES_ALERT)) publisher.goOnFailing();
  }

  /** The journal takes appends while tiles cannot be written, up to a limit: somebody has to know before it is reached. */
  #sayTiles(failing: string | null): void {
    const reason = failing === null ? 'tiles are written again' : `tiles cannot be written: ${failing.toWellFormed().slice(0, 1_000)}`;
    const body = { alert: TILES_ALERT, severity: failing === null ? 'info' : 'critical', about: ['evidence'], reason, ...(failing === null ? { cleared: true } : {}) } as const;
    const draft: EntryDraft = { kind: 'alert', source: 'scribe', subject: 'scribe', body: { ...body, about: [...body.about] } };
    this.append(draft).catch(() => {
      this.#ledger.alerts = withAlert(this.#ledger.alerts, { ...draft, timeMs: this.#now() });
    });
  }

  /** @throws CaissonError REQUEST_INVALID for a draft that is not valid, or an outcome without an intent; EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED */
  async append(value: EntryDraft): Promise<Receipt> {
    const checked = checkDraft(value);
    if ('bad' in checked) throw new CaissonError('REQUEST_INVALID', { detail: checked.bad });
    const { draft } = checked;
    if (isRotation(draft)) throw new CaissonError('REQUEST_INVALID', { detail: `subject: only the scribe itself records ${draft.subject}` });
    const closed = this.#whyClosed();
    if (closed !== undefined) throw closed;
    const key = keyOf(draft);
    const first = recall(this.#ledger, draft);
    if (first !== undefined) return this.#receipt(first);
    const promised = this.#promised.get(key);
    if (promised !== undefined) return promised;
    if (draft.kind === 'outcome' && !this.#hasIntent(draft.subject)) {
      throw new CaissonError('REQUEST_INVALID', { detail: `subject: ${draft.subject} has no intent, so it can have no outcome` });
    }
    const refusal = isAftermath(draft) ? undefined : this.#mayAppend?.(this.#edge.size);
    if (refusal !== undefined) throw unavailable(refusal);
    return this.#enqueue(checked);
  }

  async #receipt({ size, hashes }: Mark): Promise<Receipt> {
    if (hashes !== undefined) return headOf({ size, hashes }) as Receipt;
    await this.#publisher.publish();
    return this.#receiptOf(size, [this.#signer.publicKey]);
  }

  /**
   * Records that `next`, of the same name, signs from this entry on, and lets it: the entry is the last that the signer until now
   * takes part in. Others that are under way are before it or after it.
   *
   * @throws CaissonError REQUEST_INVALID for a key of another name, or the one in use; EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED
   */
  async rotate(next: Signer): Promise<Receipt> {
    const { name, id } = this.#signer.publicKey;
    if (next.publicKey.name !== name || next.publicKey.id === id) throw new CaissonError('REQUEST_INVALID', { detail: `key: one of ${name} that is not in use yet is needed` });
    const settle = Promise.withResolvers<Receipt>();
    this.#push({ draft: { kind: 'alert', source: 'scribe', subject: 'key', body: null }, bodyText: '', sealed: undefined, next, settle, refuse: settle.reject });
    return settle.promise;
  }

  #whyClosed(): CaissonError | undefined {
    if (this.#damage !== undefined) return new CaissonError('EVIDENCE_DAMAGED', { index: this.#damage.index, detail: this.#damage.reason });
    return this.#closedBecause === undefined ? undefined : unavailable(this.#closedBecause);
  }

  /** Ends appends for good: an entry of the log was found to be bad. */
  stopAt(bad: BadEntry): void {
    this.#damage ??= bad;
  }

  #hasIntent(subject: string): boolean {
    return this.#ledger.open.has(subject) || this.#promised.has(keyOf({ kind: 'intent', subject }));
  }

  /** Nothing waits between the question whether it is there already and its promise; entries stand in the order of their calls, sealed or not. */
  #enqueue({ draft: { secret, ...draft }, bodyText }: Checked): Promise<Receipt> {
    const settle = Promise.withResolvers<Receipt>();
    if (isUnique(draft)) this.#promised.set(keyOf(draft), settle.promise);
    const refuse = (error: Error): void => {
      this.#promised.delete(keyOf(draft));
      settle.reject(error);
    };
    const push = (sealed: Sealed | undefined): void => this.#push({ draft, bodyText, sealed, settle, refuse });
    if (secret === undefined && this.#sealing === undefined) push(undefined);
    else this.#pushInTurn(secret === undefined ? Promise.resolve(undefined) : this.#sealed({ ...draft, secret }), { push, refuse });
    return settle.promise;
  }

  #pushInTurn(sealed: Promise<Sealed | undefined>, { push, refuse }: { readonly push: (sealed: Sealed | undefined) => void; readonly refuse: (error: Error) => void }): void {
    sealed.catch(() => undefined); // its turn may come later than its failure
    const turn = (this.#sealing ?? Promise.resolve()).then(() => sealed).then(push, refuse).then(() => {
      if (this.#sealing === turn) this.#sealing = undefined;
    });
    this.#sealing = turn;
  }

  async #sealed(draft: EntryDraft): Promise<Sealed> {
    if (this.#seal === undefined) throw new CaissonError('REQUEST_INVALID', { detail: 'secret: this log seals nothing' });
    return this.#seal(draft);
  }

  #push({ refuse, ...pending }: Omit<Pending, 'bytes'> & { readonly refuse: (error: Error) => void }): void {
    const { draft, bodyText, sealed } = pending;
    const content = Buffer.byteLength(bodyText) + (sealed?.text.length ?? 0);
    const bytes = content + LINE_BYTES;
    if (content > MAX_BODY_BYTES) return refuse(new CaissonError('REQUEST_INVALID', { detail: `secret: body and secret are more than ${MAX_BODY_BYTES} bytes` }));
    const closed = this.#whyClosed();
    if (closed !== undefined) return refuse(closed);
    if (draft.kind === 'outcome' && !this.#hasIntent(draft.subject)) return refuse(unavailable(`the intent of ${draft.subject} was not sealed`));
    if (this.#waitingBytes + bytes > WAITING_BYTES) return refuse(unavailable(`more than ${WAITING_BYTES} bytes wait to be written`));
    this.#queue.push({ ...pending, bytes });
    this.#waitingBytes += bytes;
    this.#flushing ??= this.#flush();
  }

  /** Begins when everything that has arrived by now has been taken: it shares one sync. */
  async #flush(): Promise<void> {
    await arrived();
    while (this.#queue.length > 0) {
      const steps = this.#clockSteps();
      const batch = [...steps.map(pendingAlert), ...this.#takeBatch()];
      try {
        await this.#commit(batch);
        this.#steps = this.#steps.slice(steps.length);
      } catch (error) {
        this.#reject(batch.slice(steps.length), unavailable((error as Error).message, error));
      }
    }
    this.#flushing = undefined;
  }

  /** What the log is dated by was set: that stands before whatever is dated by it. */
  #clockSteps(): readonly ClockStep[] {
    const step = this.#clock?.look() ?? null;
    if (step !== null) this.#steps = [...this.#steps, step].slice(-STEPS_KEPT);
    return this.#steps;
  }

  #takeBatch(): readonly Pending[] {
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      const isAlone = pending.next !== undefined || this.#queue[0]?.next !== undefined;
      if (count > 0 && (isAlone || bytes + pending.bytes > BATCH_BYTES)) break;
      bytes += pending.bytes;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    if (this.#publisher.waitingBytes > UNPUBLISHED_BYTES) await this.#publisher.publish();
    if (this.#journal.wholeBytes > JOURNAL_BYTES) await this.#turnJournal();
    const { bytes, leaves, entries, edges, receipts, edge, checkpoint } = await encodeBatch(batch, { edge: this.#edge, signer: this.#signer, now: this.#now });
    const written = await writeDurably(this.#journal.disk, bytes, this.#journal.wholeBytes);
    if (written.state === 'unknown') this.#stick(`${written.cause.message}; nothing is written until the log is opened again`);
    if (written.state !== 'durable') throw written.cause;
    this.#journal = { ...this.#journal, wholeBytes: this.#journal.wholeBytes + bytes.length };
    this.#edge = edge;
    this.#signer = signerAfter(batch, this.#signer);
    for (const [at, { draft, bytes: counted, settle }] of batch.entries()) {
      const upTo = edges[at] as Edge;
      this.#waitingBytes -= counted;
      if (isUnique(draft)) this.#promised.delete(keyOf(draft));
      enter(this.#ledger, draft, upTo);
      this.#ledger.alerts = withAlert(this.#ledger.alerts, entries[at] as Entry);
      settle.resolve(receipts[at] as Receipt);
    }
    this.#publisher.add(leaves, { size: edge.size, checkpoint });
    const body = this.#unwritten.recovered();
    if (body !== null && !batch.some(({ draft }) => saysOver(draft))) this.#sayOver(body);
  }

  #sayOver(body: Json): void {
    this.append({ kind: 'alert', source: 'scribe', subject: 'scribe', body }).catch(() => undefined);
  }

  /** Whoever waits for room asks again when it likes, which may be much later: the log finds out by itself. */
  #tryAgainSoon(): void {
    this.#tryingAgain ??= setTimeout(() => {
      this.#tryingAgain = undefined;
      const body = this.#unwritten.over;
      if (body !== null && this.#whyClosed() === undefined) this.#sayOver(body);
    }, TRY_AGAIN_MS).unref();
  }

  #stick(reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#closedBecause = reason;
    queueMicrotask(() => this.onStuck(reason)); // who waits is told first
  }

  async #turnJournal(): Promise<void> {
    const full = this.#journal;
    this.#journal = await this.#nextJournal(this.#edge.size);
    await full.close();
    this.#saveLedger();
  }

  /** An outcome may wait for an intent of the failed batch, so all that waits falls with it. */
  #reject(batch: readonly Pending[], error: CaissonError): void {
    const fallen = [...batch, ...this.#queue.splice(0)];
    this.#unwritten.failed(fallen.filter(({ draft }) => !saysOver(draft)).length, (error.cause as Error).message);
    this.#tryAgainSoon();
    for (const { settle } of fallen) settle.reject(error);
    this.#promised.clear();
    this.#waitingBytes = 0;
  }

  /** Between two appends, when ledger and edge say the same. */
  #saveLedger(): void {
    if (this.#damage !== undefined) return;
    const [edge, text, signer] = [this.#edge, ledgerText(this.#ledger), this.#signer];
    this.#saving = this.#saving.then(() => this.#save(edge, text, signer)).catch(() => undefined);
  }

  async openIntents(): Promise<readonly string[]> {
    return [...this.#ledger.open.keys()];
  }

  async head(): Promise<Receipt | null> {
    return headOf(this.#edge);
  }

  async alerts(): Promise<readonly Alert[]> {
    return [...this.#ledger.alerts, ...this.#unwritten.alerts];
  }

  /** Resolves when all that is durable now is in tiles, under a checkpoint of its own. Rejects when they cannot be written. */
  async publish(): Promise<void> {
    await this.#publisher.publish();
  }

  /** Waits for what is being written, publishes it, then closes the files and gives up the lock. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closedBecause ??= 'the log is closed';
    clearTimeout(this.#tryingAgain);
    await this.#sealing;
    await this.#flushing;
    await this.#publisher[Symbol.asyncDispose]();
    this.#saveLedger();
    await this.#saving;
    await this.#journal.close();
    await this.#resources.disposeAsync();
  }
}

function keyOf({ kind, subject, origin }: Told): string {
  return kind === 'intent' || kind === 'outcome' || origin === undefined ? `${kind} ${subject}` : `${origin.run} ${origin.seq}`;
}

/** It is of something that has happened already: to leave it out undoes nothing. */
function isAftermath({ kind }: Told): boolean {
  return kind === 'outcome' || kind === 'heartbeat';
}

function isUnique({ kind, origin }: Told): boolean {
  return kind === 'intent' || kind === 'outcome' || origin !== undefined;
}

function unavailable(detail: string, cause?: unknown): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail }, { cause });
}
