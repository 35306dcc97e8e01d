import { hash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import { formatCheckpoint, parseCheckpoint } from '@caisson/tlog';

/** The head of a log that a witness has signed last. */
export interface Newest {
  readonly size: number;
  /** 32 bytes. */
  readonly root: Buffer;
}

/** What a witness has signed, one head for each log, in a folder. */
export interface Records {
  /** The newest head, and the number of its record; null: none was signed. @throws CaissonError WITNESS_INVALID for a record that is damaged */
  readonly read: (origin: string) => Promise<Recorded | null>;
  /**
   * Makes `next` the newest head after `before`. When this resolves with true it is durable. False: somebody else has written
   * since `before` was read, and nothing may be signed by it.
   */
  readonly write: (origin: string, before: Recorded | null, next: Newest) => Promise<boolean>;
}

interface Recorded extends Newest {
  readonly number: number;
}

const DIGITS = 16;
/** A record, or one that is being written: NUMBER, NUMBER.RANDOM.new. */
const NAME = /^([0-9]{16})(\.[0-9a-f-]+\.new)?$/;
/** Another process may remove a record between its being found and read, each time by a newer one. */
const MAX_READS = 100;

/**
 * The records in a folder that exists. Each log has a folder of its own with a file for each record, of which the highest
 * number counts. A record is written under another name, synced, and then linked to its number, which fails where the number
 * is taken: of two writers, be they two processes, one has the number. A record is removed only after a higher one is durable,
 * so who comes late with a number that was removed finds the higher one. Few names stand in such a folder at once, so Linux
 * lists them in one step, in which none is added or removed.
 */
export function openRecords(stateFolder: string): Records {
  const folderOf = (origin: string): string => `${stateFolder}/${hash('sha256', origin)}`;
  const read: Records['read'] = async (origin) => {
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const newest = newestIn(await list(folderOf(origin)));
      if (newest === undefined) return null;
      const text = await unlessGone(readFile(newest.path, 'utf8'));
      if (text !== null) return { ...parseRecord(text, origin, newest.path), number: newest.number };
    }
    throw new CaissonError('WITNESS_INVALID', { detail: `the record of ${origin} changes all the time` });
  };
  const write: Records['write'] = async (origin, before, { size, root }) => {
    const folder = folderOf(origin);
    // A record that is there may be one whose writer was killed before its folders were synced.
    if (before?.size === size && before.root.equals(root)) return syncFolders(folder, stateFolder);
    if (before === null) await makeFolder(folder);
    const number = (before?.number ?? -1) + 1;
    const path = `${folder}/${String(number).padStart(DIGITS, '0')}`;
    const fresh = `${path}.${randomUUID()}.new`;
    try {
      await writeSynced(fresh, formatCheckpoint({ origin, size, root }));
      if (!(await linked(fresh, path))) return false;
    } finally {
      await rm(fresh, { force: true });
    }
    await syncFolders(folder, stateFolder);
    const files = await list(folder);
    if (newestIn(files)?.number !== number) return false;
    for (const file of files) if (file.number < number || file.unfinished) await rm(file.path, { force: true });
    return true;
  };
  return { read, write };
}

async function list(folder: string): Promise<readonly FoundFile[]> {
  const names = (await unlessGone(readdir(folder))) ?? [];
  return names.flatMap((name) => {
    const [, number, unfinished] = NAME.exec(name) ?? [];
    return number === undefined ? [] : [{ path: `${folder}/${name}`, number: Number(number), unfinished: unfinished !== undefined }];
  });
}

function newestIn(files: readonly FoundFile[]): FoundFile | undefined {
  return files.filter(({ unfinished }) => !unfinished).toSorted((a, b) => b.number - a.number)[0];
}

interface FoundFile {
  readonly path: string;
  readonly number: number;
  readonly unfinished: boolean;
}

/** What is read; null: it is not there. */
async function unlessGone<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => (error.code === 'EEXIST' ? undefined : Promise.reject(error)));
}

function parseRecord(text: string, origin: string, path: string): Newest {
  const record = parseCheckpoint(text);
  const bad = 'bad' in record ? record.bad : record.origin === origin ? null : `it is of ${record.origin}`;
  if (bad !== null || 'bad' in record) throw new CaissonError('WITNESS_INVALID', { detail: `${path} is damaged: ${bad ?? ''}` });
  return { size: record.size, root: record.root };
}

/** Whether the name was free, and nobody who has written meanwhile has removed what was to be linked. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' || (error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  await using file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  await file.writeFile(text);
  await file.sync();
}

async function syncFolders(...paths: readonly string[]): Promise<true> {
  for (const path of paths) {
    await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    await directory.sync();
  }
  return true;
}
