import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';

/** A head of the log and the answer of an authority over it, each byte for byte. */
export interface KeptStamp {
  /** The signed note, over which the token is. */
  readonly checkpoint: Buffer;
  /** A TimeStampResp. */
  readonly answer: Buffer;
}

export const STAMP_FILES = { checkpoint: 'checkpoint', answer: 'response.tsr' } as const;
const SIZE = /^[1-9][0-9]{0,15}$/;
const UNFINISHED = /\.new$/;

/** Sizes of the heads of which a stamp is kept in this folder, the smallest first. */
export async function keptSizes(dir: string): Promise<readonly number[]> {
  return (await readdir(dir)).filter((name) => SIZE.test(name)).map(Number).sort((a, b) => a - b);
}

/** null: one of its files is not there. */
export async function readStamp(dir: string, size: number): Promise<KeptStamp | null> {
  const files = [STAMP_FILES.checkpoint, STAMP_FILES.answer].map((name) => readFile(`${dir}/${size}/${name}`));
  try {
    const [checkpoint, answer] = (await Promise.all(files)) as [Buffer, Buffer];
    return { checkpoint, answer };
  } catch (error) {
    await Promise.allSettled(files);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
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
