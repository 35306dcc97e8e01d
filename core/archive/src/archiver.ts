import { setTimeout as delay } from 'node:timers/promises';
import { writeStatusFile } from '@caisson/follower';
import type { Fetch, PublicKey } from '@caisson/tlog';
import { waitMs } from './backoff.ts';
import { newCounters } from './counters.ts';
import { CHECKPOINT, readHead } from './head.ts';
import type { Outcome } from './outcome.ts';
import { PositionFile } from './position.ts';
import { Shipper } from './ship.ts';
import type { ArchiveStatus } from './status.ts';
import { counted, type ObjectStore } from './store.ts';

export interface ArchiverOptions {
  /** Closed with the archiver. */
  readonly store: ObjectStore;
  readonly local: Fetch;
  /** Where `position.json` and `status.json` are; has to be there. */
  readonly dir: string;
  /** The keys of the log as it stands. Default: signatures are not looked at, and trees are compared alone. */
  readonly logKeys?: (() => Promise<readonly PublicKey[]>) | undefined;
  readonly everyMs: number;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
  /** At least 0 and below 1. */
  readonly random: () => number;
  /** Told of every change of state. */
  readonly onState?: (state: ArchiveStatus['state'], detail: string) => void;
}

const HEARTBEAT_MS = 1_000;
const STATUS_FILE = 'status.json';

/**
 * Follows one log into one store until it is closed, and says in a file how that goes. When another writes there, or the
 * store holds another history, it stops writing for good, also after a new start: only who removes `position.json` lets it go on.
 */
export class Archiver implements AsyncDisposable {
  readonly #options: ArchiverOptions;
  readonly #position: PositionFile;
  readonly #counters = newCounters();
  readonly #closed = new AbortController();
  readonly #shipper: Shipper;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #running: Promise<void>;
  #status: Pick<ArchiveStatus, 'state' | 'detail' | 'lastError' | 'failures' | 'publishedEntries' | 'wholeMs'>;

  private constructor(options: ArchiverOptions, position: PositionFile) {
    this.#options = options;
    this.#position = position;
    const store = counted(options.store, this.#counters);
    this.#shipper = new Shipper({ store, local: options.local, position, logKeys: options.logKeys, signal: this.#closed.signal });
    this.#status = { state: 'starting', detail: undefined, lastError: null, failures: 0, publishedEntries: 0, wholeMs: 0 };
    this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT_MS);
    this.#running = this.#run();
  }

  /** @throws Error when the position file cannot be read */
  static async open(options: ArchiverOptions): Promise<Archiver> {
    return new Archiver(options, await PositionFile.open(`${options.dir}/position.json`, options.store.name));
  }

  get status(): ArchiveStatus {
    const { store, nowMs } = this.#options;
    const { wholeMs, publishedEntries } = this.#status;
    const stored = this.#shipper.storedSize ?? null;
    const now = nowMs();
    const lagEntries = Math.max(0, publishedEntries - (stored ?? 0));
    return { ...this.#status, pid: process.pid, store: store.name, updatedMs: now, storedEntries: stored, lagEntries, lagMs: Math.max(0, now - wholeMs), counters: structuredClone(this.#counters) };
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      const waitForMs = await this.#try();
      await delay(waitForMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One try; gives how long to wait for the next. */
  async #try(): Promise<number> {
    const { everyMs, nowMs, random } = this.#options;
    if (this.#position.halt !== undefined) {
      this.#enter(this.#position.halt.state, this.#position.halt.detail);
      return HEARTBEAT_MS;
    }
    await this.#readPublished();
    if (this.#status.publishedEntries > (this.#shipper.storedSize ?? 0) && this.#status.state === 'current') this.#enter('behind', '');
    const beganMs = nowMs();
    const outcome = await this.#shipper.ship();
    if (this.#closed.signal.aborted) return 0;
    if (outcome.state === 'current' || outcome.state === 'empty') {
      if (outcome.state === 'current') this.#status.publishedEntries = outcome.size;
      this.#status.wholeMs = beganMs;
      this.#status.failures = 0;
      this.#enter(outcome.state, '');
      return everyMs;
    }
    return this.#failed(outcome, waitMs(this.#status.failures + 1, random()));
  }

  async #failed(outcome: Exclude<Outcome, { readonly state: 'current' | 'empty' }>, againMs: number): Promise<number> {
    const timeMs = this.#options.nowMs();
    this.#status.failures += 1;
    if (outcome.state === 'away') {
      const { failed, detail } = outcome.failure;
      this.#status.lastError = { class: failed, detail, timeMs };
      this.#enter('away', `${failed}: ${detail}`);
    } else {
      if (outcome.state !== 'damaged') await this.#position.stop({ state: outcome.state, detail: outcome.detail, timeMs });
      this.#enter(outcome.state, outcome.detail);
    }
    return againMs;
  }

  async #readPublished(): Promise<void> {
    const bytes = await this.#options.local(CHECKPOINT).catch(() => null);
    const head = bytes === null ? null : readHead(bytes);
    if (head !== null && !('bad' in head)) this.#status.publishedEntries = head.size;
  }

  #enter(state: ArchiveStatus['state'], detail: string): void {
    const changed = state !== this.#status.state || detail !== (this.#status.detail ?? '');
    this.#status.state = state;
    this.#status.detail = detail === '' ? undefined : detail;
    if (changed) this.#options.onState?.(state, detail);
    this.#say();
  }

  /** What is published meanwhile is told too, so that the lag is known while a try takes long. */
  async #beat(): Promise<void> {
    await this.#readPublished();
    if (!this.#closed.signal.aborted) this.#say();
  }

  #say(): void {
    writeStatusFile(`${this.#options.dir}/${STATUS_FILE}`, this.status);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#closed.abort();
    this.#options.store[Symbol.dispose]();
    await this.#running;
  }
}
