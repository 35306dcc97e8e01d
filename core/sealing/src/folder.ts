import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CaissonError } from '@caisson/contract';

/** Makes what was written to a handle durable. A test puts one here that counts or fails. */
export type Sync = (handle: FileHandle) => Promise<void>;

export const syncOf: Sync = (handle) => handle.sync();

/** A file being made has a name of this kind until it is whole. */
const UNFINISHED = /^\.new-[0-9a-f]{16}$/;
/** What is unfinished for this long belongs to nobody. */
const UNFINISHED_MS = 60_000;
/** More than any file of a ring. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Opens the folder of a ring, which is made when it is not there. @throws CaissonError STATE_DIR_INVALID unless it is a folder, ours, and closed to others. */
export async function openFolder(dir: string, sync: Sync): Promise<FileHandle> {
  const made = await mkdir(dir, { recursive: true, mode: 0o700 }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EEXIST') throw invalid(dir, 'it is not a folder', cause);
    throw cause;
  });
  if (made !== undefined) await syncPath(dirname(made), sync);
  const folder = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch((cause: NodeJS.ErrnoException) => {
    throw invalid(dir, cause.code === 'ELOOP' || cause.code === 'ENOTDIR' ? 'it is not a folder' : cause.message, cause);
  });
  try {
    await checkOwn(folder, dir);
    return folder;
  } catch (error) {
    await folder.close();
    throw error;
  }
}

/** Removes what a writer that was killed left unfinished: no key of such a file was ever used. */
export async function removeUnfinished(dir: string, nowMs: number): Promise<void> {
  for (const name of (await readdir(dir)).filter((each) => UNFINISHED.test(each))) {
    const path = `${dir}/${name}`;
    const found = await lstat(path).catch(() => null);
    if (found !== null && nowMs - found.mtimeMs > UNFINISHED_MS) await unlink(path).catch(() => undefined);
  }
}

/**
 * Makes a file that has all of `text` or is not there. False: there is one of this name, which stays as it is; it may not
 * be durable yet.
 */
export async function makeWhole(path: string, text: string, sync: Sync): Promise<boolean> {
  const unfinished = await writeUnfinished(path, text, sync);
  try {
    await link(unfinished, path); // never replaces
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(unfinished).catch(() => undefined);
    await syncPath(dirname(path), sync);
  }
}

/** Replaces a file by one that has all of `text`; durable when this resolves. */
export async function replaceWhole(path: string, text: string, sync: Sync): Promise<void> {
  const unfinished = await writeUnfinished(path, text, sync);
  try {
    await rename(unfinished, path);
  } catch (error) {
    await unlink(unfinished).catch(() => undefined);
    throw error;
  }
  await syncPath(dirname(path), sync);
}

async function writeUnfinished(path: string, text: string, sync: Sync): Promise<string> {
  const unfinished = `${dirname(path)}/.new-${randomBytes(8).toString('hex')}`;
  const file = await open(unfinished, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    await file.writeFile(text);
    await sync(file);
  } catch (error) {
    await unlink(unfinished).catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
  return unfinished;
}

/** The text of a file of ours; null where there is none. @throws CaissonError STATE_DIR_INVALID for a link, a file of another, or one that others can use. */
export async function readOwn(path: string): Promise<string | null> {
  const file = await openOwn(path, constants.O_RDONLY);
  if (file === null) return null;
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Opens a file of ours, as `readOwn` does. */
export async function openOwn(path: string, flags: number): Promise<FileHandle | null> {
  let file: FileHandle;
  try {
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'ELOOP') throw invalid(path, 'it is a link');
    throw error;
  }
  try {
    await checkOwn(file, path);
    const found = await file.stat();
    if (!found.isFile()) throw invalid(path, 'it is not a file');
    if (found.size > MAX_FILE_BYTES) throw invalid(path, 'it is too large');
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Overwrites a file and removes it. Where a file system writes elsewhere than where it read, or a disk does, the old bytes
 * may stay on the medium: then the wrap key is what keeps them shut.
 */
export async function destroy(path: string, sync: Sync): Promise<void> {
  const file = await openOwn(path, constants.O_WRONLY);
  if (file === null) return;
  try {
    const { size } = await file.stat();
    await file.write(randomBytes(size), 0, size, 0);
    await sync(file);
  } finally {
    await file.close();
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

export async function syncPath(dir: string, sync: Sync): Promise<void> {
  const folder = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await sync(folder);
  } finally {
    await folder.close();
  }
}

async function checkOwn(handle: FileHandle, path: string): Promise<void> {
  const { uid, mode } = await handle.stat();
  if (uid !== process.geteuid?.()) throw invalid(path, 'it belongs to another user');
  if ((mode & 0o077) !== 0) throw invalid(path, `others can use it: its mode is ${(mode & 0o777).toString(8)}`);
}

function invalid(dir: string, detail: string, cause?: unknown): CaissonError {
  return new CaissonError('STATE_DIR_INVALID', { dir, detail }, { cause });
}
