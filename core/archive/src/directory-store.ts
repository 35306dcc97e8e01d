import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256 } from '@caisson/tlog';
import type { StoreErrorClass } from './counters.ts';
import { failure, isKey, type ObjectStore, type Page, type Put, type StoreFailure } from './store.ts';

const PAGE_KEYS = 1_000;
/** Longest that another writer is waited for, in seconds. */
const LOCK_WAIT_S = 5;
const LOCK_FILE = '.lock';
const TEMPORARY = '.new-';

/**
 * Objects as files below a directory, which has to be there. A file that must not be there is made by link(2), which never
 * replaces; one that must be as it was is compared and replaced under flock(2). What was answered is durable. Whoever may
 * write in the directory can also remove: what keeps is the file system that it is on.
 */
export function directoryStore(root: string): ObjectStore {
  return {
    name: `directory ${root}`,
    put: (put) => guarded(() => putFile(root, put)),
    get: (key, maxBytes) => guarded(() => readObject(root, key, maxBytes)),
    list: (prefix, from) => guarded(() => listFiles(root, prefix, from)),
    [Symbol.dispose]() {
      // holds nothing open
    },
  };
}

async function guarded<T>(act: () => Promise<T>): Promise<T | StoreFailure> {
  try {
    return await act();
  } catch (error) {
    return failure(classOf((error as NodeJS.ErrnoException).code), (error as Error).message);
  }
}

const CLASSES: Readonly<Record<string, StoreErrorClass>> = {
  EACCES: 'AccessDenied', EPERM: 'AccessDenied', EROFS: 'AccessDenied', EEXIST: 'PreconditionFailed', ENOENT: 'NoSuchBucket', ENOTDIR: 'NoSuchBucket',
  ETIMEDOUT: 'Network', ESTALE: 'Network', EHOSTDOWN: 'Network', ENOTCONN: 'Network',
};

function classOf(code = ''): StoreErrorClass {
  return CLASSES[code] ?? 'Other';
}

const etagOf = (bytes: Buffer): string => `"${sha256(bytes).toString('hex')}"`;

async function putFile(root: string, { key, bytes, condition }: Put): Promise<{ readonly etag: string } | StoreFailure> {
  if (!isKey(key)) return failure('Other', `${key} is no key`);
  const path = join(root, key);
  await using rootHandle = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  await makeFolders(root, dirname(path));
  const temporary = join(dirname(path), `${TEMPORARY}${randomUUID()}`);
  try {
    await writeDurably(temporary, bytes);
    if ('ifNoneMatch' in condition) await link(temporary, path);
    else if (!(await replaceUnderLock(root, { temporary, path, etag: condition.ifMatch }))) return failure('PreconditionFailed', `${key} is not what was seen last`);
    await syncFolder(dirname(path));
    if (dirname(path) === root) await rootHandle.sync();
    return { etag: etagOf(bytes) };
  } finally {
    await rm(temporary, { force: true });
  }
}

async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  await using file = await open(path, 'wx', 0o644);
  await file.writeFile(bytes);
  await file.sync();
}

/** Makes the folders from below `root` down to `path`; each is durable in the one above. The root is never made. */
async function makeFolders(root: string, path: string): Promise<void> {
  if (path === root) return;
  await makeFolders(root, dirname(path));
  const made = await mkdir(path, { mode: 0o755 }).then(() => true, (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    return false;
  });
  if (made) await syncFolder(dirname(path));
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await folder.sync();
}

async function replaceUnderLock(root: string, { temporary, path, etag }: { readonly temporary: string; readonly path: string; readonly etag: string }): Promise<boolean> {
  await using lock = await open(join(root, LOCK_FILE), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  await takeLock(lock);
  const now = await readWhole(path, Number.MAX_SAFE_INTEGER);
  if (now === null || etagOf(now) !== etag) return false;
  await rename(temporary, path);
  return true;
}

/** The kernel gives the lock back when the file is closed or this process ends, however it ends. */
async function takeLock(file: FileHandle): Promise<void> {
  const child = spawn('flock', ['-x', '-w', String(LOCK_WAIT_S), '3'], { stdio: ['ignore', 'ignore', 'ignore', file.fd], env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' } });
  const [status] = (await once(child, 'exit')) as [number | null];
  if (status !== 0) throw new Error(`its lock is not to be had (flock exited with ${status})`);
}

async function readWhole(path: string, maxBytes: number): Promise<Buffer | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (file === null) return null;
  try {
    const { size } = await file.stat();
    if (size > maxBytes) throw new Error(`${path} has ${size} bytes, more than ${maxBytes}`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

async function readObject(root: string, key: string, maxBytes: number): Promise<{ readonly bytes: Buffer; readonly etag: string } | null | StoreFailure> {
  if (!isKey(key)) return failure('Other', `${key} is no key`);
  await using rootHandle = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  void rootHandle; // a directory that is away is a failure, not a store without objects
  const bytes = await readWhole(join(root, key), maxBytes);
  return bytes === null ? null : { bytes, etag: etagOf(bytes) };
}

async function listFiles(root: string, prefix: string, from = ''): Promise<Page> {
  const all = await readdir(root, { recursive: true, withFileTypes: true });
  const keys = all
    .filter((entry) => entry.isFile() && entry.name !== LOCK_FILE && !entry.name.startsWith(TEMPORARY))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((key) => key.startsWith(prefix) && key > from)
    .toSorted();
  const page = keys.slice(0, PAGE_KEYS);
  return { keys: page, ...(keys.length > PAGE_KEYS ? { next: page.at(-1) ?? '' } : {}) };
}
