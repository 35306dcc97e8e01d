import { TileError, tilesBetween, type Fetch, type PublicKey } from '@caisson/tlog';
import { CHECKPOINT, checkRoot, MAX_CHECKPOINT_BYTES, notOfThisLog, readHead, type Head } from './head.ts';
import type { Outcome, Stop } from './outcome.ts';
import type { PositionFile } from './position.ts';
import type { Condition, ObjectStore } from './store.ts';
import { uploadHead, uploadTiles } from './upload.ts';

export interface ShipOptions {
  readonly store: ObjectStore;
  /** The static files of the log. */
  readonly local: Fetch;
  /** Where it is kept what this archiver has written last. */
  readonly position: PositionFile;
  /** Keys of the log, one of which has to have signed a head; asked for before each try. Default: signatures are not looked at, and trees are compared alone. */
  readonly logKeys?: (() => Promise<readonly PublicKey[]>) | undefined;
  readonly signal: AbortSignal;
}

/** The head in the store, as this archiver has last seen it. */
interface Seen {
  readonly head: Head;
  readonly etag: string;
}

/** How often a head that moves on while its tiles are read is begun anew in one try. */
const MOVES = 5;

const EMPTY: Outcome = { state: 'empty' };

/** Brings one store to the heads of one log, one try after another. */
export class Shipper {
  readonly #options: ShipOptions;
  /** undefined: not looked at. null: the store has no head. */
  #seen: Seen | null | undefined;
  #stored: number | undefined;
  #logKeys: readonly PublicKey[] | undefined;
  /** Paths that are in the store and not under the head there. */
  readonly #there = new Set<string>();

  constructor(options: ShipOptions) {
    this.#options = options;
  }

  /** Entries under the head in the store when it was last seen; undefined: it has not been. */
  get storedSize(): number | undefined {
    return this.#stored;
  }

  /**
   * Brings the store to the published head: what is immutable first, the head last. The whole may be repeated after any end,
   * with the same result. Tries do not overlap.
   */
  async ship(): Promise<Outcome> {
    try {
      this.#logKeys = await this.#options.logKeys?.();
      for (let move = 0; ; move += 1) {
        const own = await this.#ownHead();
        const outcome = own === null ? EMPTY : await this.#unlessMoved(own, move);
        if (outcome === null) continue;
        if (outcome.state === 'away') this.#seen = undefined; // a write without an answer may have happened
        return outcome;
      }
    } catch (error) {
      return { state: 'damaged', detail: (error as Error).message };
    }
  }

  /** A partial tile goes when the log moves on: null, because the next head has its own. */
  async #unlessMoved(own: Head, move: number): Promise<Outcome | null> {
    try {
      return await this.#shipHead(own);
    } catch (error) {
      if (!(error instanceof TileError) || move >= MOVES || (await this.#ownHead())?.digest === own.digest) throw error;
      return null;
    }
  }

  async #ownHead(): Promise<Head | null> {
    const bytes = await this.#options.local(CHECKPOINT);
    if (bytes === null) return null;
    const head = readHead(bytes, this.#logKeys);
    if ('bad' in head) throw new TileError(CHECKPOINT, head.bad);
    return head;
  }

  async #shipHead(own: Head): Promise<Outcome> {
    const { store, local, signal } = this.#options;
    const stop = this.#seen === undefined ? await this.#look(own) : undefined;
    if (stop !== undefined) return stop;
    const seen = this.#seen ?? null;
    if (seen?.head.digest === own.digest) return { state: 'current', size: own.size };
    const objection = seen === null ? undefined : await objectionTo(local, own, seen.head);
    if (objection !== undefined) return objection;
    await checkRoot(local, own);
    const from = seen?.head.size ?? 0;
    const failed = (await uploadTiles({ store, local, signal, there: this.#there }, own.size, tilesBetween(from, own.size))) ?? (await uploadHead(store, own));
    if (failed !== undefined) return failed;
    const refused = await this.#writeHead(own, seen);
    if (refused !== undefined) return refused;
    this.#there.clear();
    return { state: 'current', size: own.size };
  }

  /** Reads the head in the store once, and judges it; then it is ours to follow. */
  async #look(own: Head): Promise<Stop | undefined> {
    const { store, local, position } = this.#options;
    const got = await store.get(CHECKPOINT, MAX_CHECKPOINT_BYTES);
    if (got !== null && 'failed' in got) return { state: 'away', failure: got };
    if (got === null) {
      if (position.last !== undefined) return { state: 'forked', detail: 'the head that was written there is gone' };
      this.#seen = null;
      this.#stored = 0;
      return undefined;
    }
    const head = readHead(got.bytes, this.#logKeys);
    if ('bad' in head) return { state: 'forked', detail: `the head there ${head.bad}` };
    const stop = await objectionTo(local, own, head);
    if (stop !== undefined) return stop;
    if (!position.isOwn(head.digest)) return { state: 'fenced', detail: `another writer has written the head there, of ${head.size} entries` };
    this.#seen = { head, etag: got.etag };
    this.#stored = head.size;
    return undefined;
  }

  /** What is about to be written is noted first, so that a head whose answer is lost is known again after any end. */
  async #writeHead(own: Head, seen: Seen | null): Promise<Stop | undefined> {
    const { store, position } = this.#options;
    await position.attempt(seen?.head.digest, own.digest);
    const condition: Condition = seen === null ? { ifNoneMatch: '*' } : { ifMatch: seen.etag };
    const written = await store.put({ key: CHECKPOINT, bytes: own.bytes, condition, keep: false });
    if (!('failed' in written)) return this.#hold({ head: own, etag: written.etag });
    if (written.failed !== 'PreconditionFailed') return { state: 'away', failure: written };
    return this.#afterRefusal(own);
  }

  async #hold(seen: Seen): Promise<undefined> {
    this.#seen = seen;
    this.#stored = seen.head.size;
    await this.#options.position.confirm(seen.head.digest);
  }

  /** The store has refused: the head is not the one that was seen last. Either it is the one just written, or somebody else's. */
  async #afterRefusal(own: Head): Promise<Stop | undefined> {
    const { store, local } = this.#options;
    const got = await store.get(CHECKPOINT, MAX_CHECKPOINT_BYTES);
    if (got === null) return { state: 'forked', detail: 'the head that was written there is gone' };
    if ('failed' in got) return { state: 'away', failure: got };
    const head = readHead(got.bytes, this.#logKeys);
    if ('bad' in head) return { state: 'forked', detail: `the head there ${head.bad}` };
    if (head.digest === own.digest) return this.#hold({ head, etag: got.etag });
    const other = await objectionTo(local, own, head);
    return other ?? { state: 'fenced', detail: `another writer has written the head there, of ${head.size} entries` };
  }
}

/** Why a head in the store cannot be followed by our own. */
async function objectionTo(local: Fetch, own: Head, there: Head): Promise<Stop | undefined> {
  const reason = await notOfThisLog(local, own, there);
  if (reason !== undefined) return { state: 'forked', detail: `the head there is not one of this log: ${reason}` };
  if (there.size > own.size) return { state: 'fenced', detail: `the head there has ${there.size} entries, more than the ${own.size} here: another writer, or this log was rolled back` };
  return undefined;
}
