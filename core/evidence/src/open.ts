import { constants } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CaissonError } from '@caisson/contract';
import { diskOf, type Disk } from './disk.ts';
import { FileLog } from './file-log.ts';
import { LOG_FILE } from './lines.ts';
import { lockDirectory } from './lock.ts';
import { scanLog, type Scan } from './scan.ts';

export interface FileLogOptions {
  /** The evidence directory; made when it is not there. Mode 0700. */
  readonly dir: string;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly now: () => number;
  /** Default: the file itself. A test puts a disk here that counts or fails. */
  readonly disk?: (file: FileHandle) => Disk;
}

/**
 * Opens the log of a directory for its only writer: takes the lock, reads and checks the whole log, moves an append
 * that was never acknowledged to `torn-<timeMs>.bin`. Time and reads grow with the log, memory does not.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE when the directory cannot be used or another process writes in it.
 * @throws CaissonError EVIDENCE_DAMAGED when an entry is not what was written; nothing is changed then.
 */
export async function openFileLog({ dir, now, disk = diskOf }: FileLogOptions): Promise<FileLog> {
  await using opened = new AsyncDisposableStack();
  try {
    const directory = opened.use(await openDirectory(dir));
    await lockDirectory(directory, dir);
    const file = opened.use(await openLogFile(dir, directory));
    const scan = await scanLog(file);
    if (scan.bad !== null) throw new CaissonError('EVIDENCE_DAMAGED', { index: scan.bad.index, detail: scan.bad.reason });
    if (scan.tail.length > 0) await setTailAside(file, scan, { dir, directory, timeMs: now() });
    // What a killed writer wrote and did not sync is acknowledged from here on, so it must be durable first.
    const appendTo = disk(file);
    await appendTo.sync();
    return new FileLog({ ...scan, now, disk: appendTo, resources: opened.move() });
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: (error as Error).message }, { cause: error });
  }
}

async function openDirectory(dir: string): Promise<FileHandle> {
  const made = await mkdir(dir, { recursive: true, mode: 0o700 });
  if (made !== undefined) await syncDirectory(dirname(made));
  const directory = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  await closeToOthers(directory, 0o700);
  return directory;
}

async function openLogFile(dir: string, directory: FileHandle): Promise<FileHandle> {
  const file = await open(`${dir}/${LOG_FILE}`, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  await closeToOthers(file, 0o600);
  await directory.sync();
  return file;
}

async function closeToOthers(file: FileHandle, mode: number): Promise<void> {
  try {
    if (((await file.stat()).mode & 0o777) !== mode) await file.chmod(mode);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}

interface Aside {
  readonly dir: string;
  readonly directory: FileHandle;
  readonly timeMs: number;
}

/** The bytes are durable in their own file before the log is cut, so that a crash between the two loses nothing. */
async function setTailAside(file: FileHandle, { tail, wholeBytes }: Scan, { dir, directory, timeMs }: Aside): Promise<void> {
  await using torn = await createUnused((attempt) => `${dir}/torn-${Math.trunc(timeMs) + attempt}.bin`);
  await torn.writeFile(tail);
  await torn.sync();
  await directory.sync();
  await file.truncate(wholeBytes);
}

async function createUnused(path: (attempt: number) => string): Promise<FileHandle> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await open(path(attempt), 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
