import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError, type Entry } from '@caisson/contract';
import { leafHash, openCheckpoint, parseCheckpoint, parseNote, readBundle, TILE_WIDTH, TileError, type Fetch, type PublicKey } from '@caisson/tlog';
import { parseEntry } from './entry.ts';
import { CHECKPOINT_FILE, folderFetch } from './folder.ts';
import { journalName, journalsIn, readJournal, type JournalRead } from './journal.ts';
import { publishedKeys } from './keys.ts';

const POLL_MS = 100;

/** One entry of the log. */
export interface Line {
  readonly entry: Entry;
  /** The bytes that are the leaf: canonical JSON. */
  readonly text: string;
  /** Hash of the leaf (RFC 6962 §2.1), hex. */
  readonly hash: string;
}

export interface ReadOptions {
  /** Index of the first entry to read. Default 0. */
  readonly from?: number;
  /** Reads only the last so many of the entries that are there, whatever `from` says. */
  readonly last?: number;
  /** Whether to wait for further entries once all are read. Default false. */
  readonly follow?: boolean;
  /** Ends the reading. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The entries of the log in `dir` that stand under a checkpoint, each in its place and in its form. Whether they are what was
 * signed is for `verifyLog` to say.
 *
 * @throws CaissonError STATE_DIR_INVALID when the log cannot be read; EVIDENCE_DAMAGED at an entry that is bad.
 */
export async function* readEntries(dir: string, { from = 0, last, follow = false, signal }: ReadOptions = {}): AsyncGenerator<Line> {
  const fetch = folderFetch(dir);
  const keys = await readable(dir, () => publishedKeys(fetch));
  if (keys.length === 0) throw new CaissonError('STATE_DIR_INVALID', { dir, detail: 'it holds no evidence log (log.vkey)' });
  const source: Source = { dir, fetch, keys };
  const place: Place = { next: last === undefined ? from : Math.max(0, (await sizeNow(source)) - last), journal: null };
  const isOver = (): boolean => signal?.aborted === true;
  while (!isOver()) {
    for await (const line of entriesFrom(source, place)) {
      if (isOver()) return;
      yield line;
    }
    if (!follow) return;
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * The entries under the published head of a log from that of index `from` on, from wherever its static resources are. What the
 * log has appended since is not among them.
 *
 * @throws CaissonError EVIDENCE_DAMAGED at an entry that is bad or cannot be read.
 */
export function readTiles(fetch: Fetch, from = 0): AsyncGenerator<Line> {
  return fromTiles({ fetch }, { next: from, journal: null });
}

interface Source {
  readonly dir: string;
  readonly fetch: Fetch;
  readonly keys: readonly PublicKey[];
}

/** Where reading goes on. */
interface Place {
  next: number;
  /** The journal that is read, the byte up to which it was, and the index of the entry there; null: what is next is in tiles. */
  journal: { readonly first: number; readonly end: number; readonly index: number } | null;
}

/** Reads what may not be readable, and says why. */
export async function readable<T>(dir: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const detail = code === 'EACCES' ? 'only the user of the scribe and root may read the evidence; run this as root' : message;
    throw new CaissonError('STATE_DIR_INVALID', { dir, detail }, { cause });
  }
}

async function publishedSize(fetch: Fetch): Promise<number> {
  const bytes = await fetch(CHECKPOINT_FILE);
  if (bytes === null) return 0;
  const note = parseNote(bytes);
  const checkpoint = 'bad' in note ? note : parseCheckpoint(note.text);
  if ('bad' in checkpoint) throw damaged(0, `is under a checkpoint that ${checkpoint.bad}`);
  return checkpoint.size;
}

/** Entries that stand under a checkpoint. */
async function sizeNow({ dir, fetch, keys }: Source): Promise<number> {
  const first = (await journalsIn(dir)).at(-1);
  const inJournal = first === undefined ? 0 : sizeOf(await readJournal(`${dir}/${journalName(first)}`), first, keys);
  return Math.max(await publishedSize(fetch), inJournal);
}

/** Entries of the log up to the end of a journal. */
function sizeOf(journal: JournalRead | null, first: number, keys: readonly PublicKey[]): number {
  const last = journal?.batches.at(-1);
  if (last === undefined) return first;
  const opened = openCheckpoint(Buffer.from(last.checkpoint), { logKeys: keys });
  if ('bad' in opened) throw damaged(last.entries.at(-1)?.entry.index ?? first, `is before a checkpoint that ${opened.bad}`);
  return opened.size;
}

/** What is there from the place on; the place goes with it. */
async function* entriesFrom(source: Source, place: Place): AsyncGenerator<Line> {
  for (;;) {
    if (place.journal === null) yield* fromTiles(source, place);
    const firsts = await journalsIn(source.dir);
    const first = firsts.findLast((each) => each <= place.next);
    place.journal ??= first === undefined ? null : { first, end: 0, index: first };
    if (place.journal === null) {
      // A journal is dropped only after its entries are in tiles: where none reaches back so far, there is more in tiles now.
      if (firsts.length === 0 || (await publishedSize(source.fetch)) <= place.next) return;
      continue;
    }
    const read = await readJournal(`${source.dir}/${journalName(place.journal.first)}`, place.journal.end);
    if (read === null) {
      place.journal = null;
      continue;
    }
    yield* fromJournal(source, place, { ...place.journal, read });
    const { index, first: current } = place.journal;
    const following = firsts.find((each) => each > current);
    if (following === undefined) return;
    if (following !== index) throw damaged(index, `is missing: the next journal begins with entry ${following}`);
    place.journal = { first: following, end: 0, index: following };
  }
}

async function* fromTiles({ fetch }: Pick<Source, 'fetch'>, place: Place): AsyncGenerator<Line> {
  const size = await publishedSize(fetch);
  while (place.next < size) {
    for (const bytes of (await bundleOf(fetch, size, place.next)).slice(place.next % TILE_WIDTH)) {
      const line = good(bytes, place.next);
      place.next += 1;
      yield line;
    }
  }
}

/** What has been appended to the journal since. */
async function* fromJournal({ keys }: Source, place: Place, { first, end, index, read }: NonNullable<Place['journal']> & { readonly read: JournalRead }): AsyncGenerator<Line> {
  if (read.bytes < end) throw damaged(place.next - 1, 'it became shorter while it was read: entries were cut off');
  const entries = read.batches.flatMap((batch) => batch.entries);
  const whole = sizeOf(read, index, keys);
  if (whole < index + entries.length) throw damaged(whole, 'is after the last checkpoint of the journal');
  place.journal = { first, end: read.batches.at(-1)?.end ?? end, index: index + entries.length };
  for (const [at, { bytes }] of entries.entries()) {
    if (index + at < place.next) continue;
    const line = good(bytes, index + at);
    place.next = index + at + 1;
    yield line;
  }
  if (read.bad !== null) throw damaged(index + read.bad.before, read.bad.reason);
}

async function bundleOf(fetch: Fetch, size: number, index: number): Promise<readonly Buffer[]> {
  try {
    return await readBundle(fetch, size, Math.floor(index / TILE_WIDTH));
  } catch (error) {
    if (error instanceof TileError) throw damaged(index, `cannot be read: ${error.message}`);
    throw error;
  }
}

function good(bytes: Buffer, index: number): Line {
  const entry = parseEntry(bytes);
  if ('bad' in entry) throw damaged(index, entry.bad);
  if (entry.index !== index) throw damaged(index, `says that it is entry ${entry.index}: entries were removed, added or moved`);
  return { entry, text: bytes.toString('utf8'), hash: leafHash(bytes).toString('hex') };
}

function damaged(index: number, detail: string): CaissonError {
  return new CaissonError('EVIDENCE_DAMAGED', { index, detail });
}
