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
  const reader = await openReader(dir);
  let next = last === undefined ? from : Math.max(0, (await reader.size()) - last);
  const isOver = (): boolean => signal?.aborted === true;
  while (!isOver()) {
    for await (const line of reader.from(next)) {
      if (isOver()) return;
      next += 1;
      yield line;
    }
    if (!follow) return;
    if ((await reader.size()) < next) throw damaged(next - 1, 'it became shorter while it was read: entries were cut off');
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

interface Reader {
  /** Entries that stand under a checkpoint. */
  readonly size: () => Promise<number>;
  readonly from: (index: number) => AsyncGenerator<Line>;
}

async function openReader(dir: string): Promise<Reader> {
  const fetch = folderFetch(dir);
  const keys = await readable(dir, () => publishedKeys(fetch));
  if (keys.length === 0) throw new CaissonError('STATE_DIR_INVALID', { dir, detail: 'it holds no evidence log (log.vkey)' });
  return {
    size: async () => Math.max(await publishedSize(fetch), await journalSize(dir, keys)),
    from: (index) => entriesFrom(dir, { fetch, keys }, index),
  };
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

async function journalSize(dir: string, keys: readonly PublicKey[]): Promise<number> {
  const first = (await journalsIn(dir)).at(-1);
  return first === undefined ? 0 : sizeOf(await readJournal(`${dir}/${journalName(first)}`), first, keys);
}

/** Entries of the log up to the end of a journal. */
function sizeOf(journal: JournalRead | null, first: number, keys: readonly PublicKey[]): number {
  const last = journal?.batches.at(-1);
  if (last === undefined) return first;
  const opened = openCheckpoint(Buffer.from(last.checkpoint), { logKeys: keys });
  if ('bad' in opened) throw damaged(last.entries.at(-1)?.entry.index ?? first, `is before a checkpoint that ${opened.bad}`);
  return opened.size;
}

interface Source {
  readonly fetch: Fetch;
  readonly keys: readonly PublicKey[];
}

async function* entriesFrom(dir: string, { fetch, keys }: Source, index: number): AsyncGenerator<Line> {
  let next = index;
  for (;;) {
    const size = await publishedSize(fetch);
    while (next < size) {
      for (const bytes of (await bundleOf(fetch, size, next)).slice(next % TILE_WIDTH)) {
        yield good(bytes, next);
        next += 1;
      }
    }
    const firsts = await journalsIn(dir);
    const first = firsts.findLast((each) => each <= next);
    if (first !== undefined) {
      yield* journalsFrom(dir, { firsts: firsts.slice(firsts.indexOf(first)), from: next, keys });
      return;
    }
    // A journal is dropped only after its entries are in tiles: where none reaches back to `next`, there is more in tiles now.
    if (firsts.length === 0 || (await publishedSize(fetch)) === size) return;
  }
}

async function* journalsFrom(dir: string, { firsts, from, keys }: { readonly firsts: readonly number[]; readonly from: number; readonly keys: readonly PublicKey[] }): AsyncGenerator<Line> {
  let next = from;
  for (const first of firsts) {
    const read = await readJournal(`${dir}/${journalName(first)}`);
    const whole = sizeOf(read, first, keys);
    const entries = read?.batches.flatMap((batch) => batch.entries) ?? [];
    for (const { bytes } of entries.slice(Math.max(0, next - first), whole - first)) {
      yield good(bytes, next);
      next += 1;
    }
    if (read?.bad !== undefined && read.bad !== null) throw damaged(first + read.bad.before, read.bad.reason);
  }
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
