import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';

/** A head of the log and the answer of an authority over it, each byte for byte. */
export interface KeptStamp {
  /** The signed note, over which the token is. */
  readonly checkpoint: Buffer;
  /** A TimeStampResp. */
  readonly answer: Buffer;
}

export const STAMP_FILES = { checkpoint: 'checkpoint', answer: 'response.tsr' } as const;
/** Longest answer that is read of an authority, and more than any head. */
const MAX_FILE_BYTES = 1024 * 1024;
const SIZE = /^[1-9][0-9]{0,15}$/;
const UNFINISHED = /\.new$/;

/** Sizes of the heads of which a stamp is kept in this folder, the smallest first. */
export async function keptSizes(dir: string): Promise<readonly number[]> {
  return (await readdir(dir)).filter((name) => SIZE.test(name)).map(Number).sort((a, b) => a - b);
}

/** null: one of its two files is not there, is no file, or is larger than any that was kept. */
export async function readStamp(dir: string, size: number): Promise<KeptStamp | null> {
  const checkpoint = await bytesOf(`${dir}/${size}/${STAMP_FILES.checkpoint}`);
  const answer = await bytesOf(`${dir}/${size}/${STAMP_FILES.answer}`);
  return checkpoint === null || answer === null ? null : { checkpoint, answer };
}

/** Who may have put something else there is who the stamps are kept against: no pipe, device or link elsewhere is followed. */
async function bytesOf(path: string): Promise<Buffer | null> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const found = await file.stat();
    return found.isFile() && found.size <= MAX_FILE_BYTES ? await file.readFile() : null;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

/**
 * Keeps a stamp in a folder of its own, named by the size of the head. Both files are there, whole and durable, or neither is;
 * and what is there is never replaced: a folder that is not empty cannot be renamed over (rename(2)).
 *
 * @returns false: one of this size is kept already
 */
export async function keepStamp(dir: string, size: number, { checkpoint, answer }: KeptStamp): Promise<boolean> {
  const fresh = `${dir}/${randomUUID()}.new`;
  await mkdir(fresh, { mode: 0o750 });
  try {
    await writeSynced(`${fresh}/${STAMP_FILES.checkpoint}`, checkpoint);
    await writeSynced(`${fresh}/${STAMP_FILES.answer}`, answer);
    await syncFolder(fresh);
    await rename(fresh, `${dir}/${size}`);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
  await syncFolder(dir);
  return true;
}

/** Removes what a writer that was killed has left unfinished. */
export async function sweepUnfinished(dir: string): Promise<void> {
  for (const name of await readdir(dir)) if (UNFINISHED.test(name)) await rm(`${dir}/${name}`, { recursive: true, force: true });
}

async function writeSynced(path: string, bytes: Buffer): Promise<void> {
  await using file = await open(path, 'wx', 0o640);
  await file.writeFile(bytes);
  await file.sync();
}

async function syncFolder(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}
