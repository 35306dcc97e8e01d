import { constants } from 'node:fs';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Fetch } from '@caisson/tlog';

export const CHECKPOINT_FILE = 'checkpoint';
/** The verifier key of the log, alone, as other tools read it. */
export const KEYS_FILE = 'log.vkey';
/** Verifier keys that the log had before, one a line, the last first. */
export const EARLIER_KEYS_FILE = 'earlier.vkey';
const MAX_RESOURCE_BYTES = 256 * (65_535 + 2);

/** Reads the static resources of the log in a folder; nothing is read through a symbolic link, or that is no file. */
export function folderFetch(dir: string): Fetch {
  return async (path) => {
    const file = await openIfThere(`${dir}/${path}`);
    if (file === null) return null;
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > MAX_RESOURCE_BYTES) throw new Error(`${path} is no file of a log`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  };
}

/** Opens a file to read it, through no symbolic link; null: there is none. */
export async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

export interface NewFile {
  /** Below the folder. */
  readonly path: string;
  readonly bytes: Buffer;
}

/** Files that are written side by side: a disk syncs many in little more time than one. */
const AT_ONCE = 16;

/** Who reads what is written. */
export interface Readers {
  readonly file: number;
  readonly folder: number;
}

export const OWNER_ONLY: Readers = { file: 0o600, folder: 0o700 };
/** What is made in a folder with the set-group-ID bit has the group of that folder (mkdir(2), open(2)). */
export const GROUP_TOO: Readers = { file: 0o640, folder: 0o750 };

/**
 * Writes files so that each is there whole or not at all, and durable when this resolves; folders are made. What has the
 * name is replaced.
 */
export async function writeFiles(dir: string, files: readonly NewFile[], readers: Readers = OWNER_ONLY): Promise<void> {
  const folders = new Set<string>();
  for (const folder of new Set(files.map(({ path }) => dirname(`${dir}/${path}`)))) {
    const made = await mkdir(folder, { recursive: true, mode: readers.folder });
    folders.add(folder);
    for (let above = folder; made !== undefined && above.length >= made.length; above = dirname(above)) folders.add(dirname(above));
  }
  for (let at = 0; at < files.length; at += AT_ONCE) {
    const written = files.slice(at, at + AT_ONCE).map(({ path, bytes }) => writeWhole(`${dir}/${path}`, bytes, readers.file));
    await Promise.allSettled(written);
    await Promise.all(written);
  }
  for (const folder of folders) await syncFolder(folder);
}

async function writeWhole(path: string, bytes: Buffer, mode: number): Promise<void> {
  const unfinished = `${path}.new`;
  await rm(unfinished, { force: true });
  {
    await using file = await open(unfinished, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
    await file.writeFile(bytes);
    await file.sync();
  }
  await rename(unfinished, path);
}

export async function syncFolder(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}
