import { CaissonError } from '@caisson/contract';
import { tarEntries, type TarEntry } from '@caisson/tar';
import type { Connection } from './connection.ts';
import { Entries, type Named, type UnpackResult } from './entries.ts';
import { expanded } from './expand.ts';
import { FLAG, REQUEST } from './frames.ts';
import { absolutePath, joined, shown, temporaryBeside, type FilePath } from './paths.ts';
import { statOrNull, writeFile } from './verbs.ts';

export interface UnpackLimits {
  /** Content of all files, after decompression. Default: 1 GiB. */
  readonly totalBytes?: number;
  /** Default: 100,000. */
  readonly entries?: number;
  /** Directories above a name. Default: 64. */
  readonly depth?: number;
  /** Bytes that one byte of a compressed archive may become, once they are more than 16 MiB. Default: 200. */
  readonly ratio?: number;
  /** Whether symbolic links are made, as they are. Default: true. */
  readonly links?: boolean;
}

/** Later times are cut to this one, in the year 2242: a count of nanoseconds holds it, and so does every file system. */
const MTIME_S_MAX = 2 ** 33;

const LIMITS = { totalBytes: 1024 ** 3, entries: 100_000, depth: 64, ratio: 200, links: true } as const;

/**
 * Unpacks a tar archive, plain or gzip, below a directory. Where there is none the archive appears there whole or not at
 * all; where there is one each file is replaced in one step, and a failure says how much was written before it. No link
 * is followed: not one of the archive, and not one that somebody puts in the way meanwhile.
 * @throws CaissonError ARCHIVE_INVALID, FILE_TOO_LARGE, FILE_NOT_REGULAR (a link is in the way) and those of writing
 */
export async function unpackFiles(connection: Connection, path: FilePath, tar: AsyncIterable<Buffer>, given: UnpackLimits = {}): Promise<UnpackResult> {
  const limits = { ...LIMITS, ...given };
  const root = absolutePath(path);
  const entries = new Entries(limits);
  const archive = tarEntries(expanded(tar, limits, shown(root)));
  if ((await statOrNull(connection, root, FLAG.follow)) !== null) {
    await intoExisting(connection, { root, archive, entries });
    return entries.result();
  }
  const staging = temporaryBeside(root);
  await connection.call(REQUEST.mkdir, { path: staging, number: 0o755, flags: FLAG.noLinks | FLAG.parents });
  try {
    for await (const entry of archive) await unpackOne(connection, staging, entries.admit(entry), { isNew: true });
    await connection.call(REQUEST.move, { path: staging, other: root, flags: FLAG.noLinks | FLAG.exclusive });
  } catch (error) {
    await connection.call(REQUEST.remove, { path: staging, flags: FLAG.noLinks | FLAG.recursive }).catch(() => undefined);
    throw error;
  }
  return entries.result();
}

interface Target {
  readonly root: Buffer;
  readonly archive: AsyncIterable<TarEntry>;
  readonly entries: Entries;
}

async function intoExisting(connection: Connection, { root, archive, entries }: Target): Promise<void> {
  try {
    for await (const entry of archive) await unpackOne(connection, root, entries.admit(entry), { isNew: false });
  } catch (error) {
    const { files, directories, links } = entries.result();
    if (!(error instanceof CaissonError)) throw error;
    const begun = `at most ${files} files, ${directories} directories and ${links} links were written before`;
    throw CaissonError.from({ code: error.code, message: `${error.message} (${begun})`, hint: error.hint });
  }
}

/** Writes one entry, through no link: the kernel refuses to pass one on the whole path. */
async function unpackOne(connection: Connection, root: Buffer, named: Named | null, { isNew }: { readonly isNew: boolean }): Promise<void> {
  if (named === null) return;
  const { entry, name } = named;
  const path = joined(root, name);
  const flag = FLAG.noLinks | FLAG.parents;
  switch (entry.kind) {
    case 'folder':
      await connection.call(REQUEST.mkdir, { path, flags: flag, number: (entry.mode & 0o777) | 0o700 });
      return;
    case 'file':
      await writeFile(connection, path, named.content, { flag, mode: entry.mode & 0o777, mtimeNs: BigInt(Math.min(entry.mtimeS, MTIME_S_MAX)) * 1_000_000_000n, sync: false, exclusive: isNew });
      return;
    case 'symbolic-link':
      await placeLink(connection, path, { isNew, make: (at) => connection.call(REQUEST.symlink, { path: at, other: named.target, flags: flag }) });
      return;
    case 'hard-link':
      await placeLink(connection, path, { isNew, make: (at) => connection.call(REQUEST.link, { path: joined(root, named.target), other: at, flags: flag }) });
      return;
    case 'device':
    case 'fifo': throw new CaissonError('INTERNAL', { detail: `an entry of kind ${entry.kind} was admitted` });
  }
}

/** A link takes the place of what is there in one step, as a file does. */
async function placeLink(connection: Connection, path: Buffer, { isNew, make }: { readonly isNew: boolean; readonly make: (at: Buffer) => Promise<unknown> }): Promise<void> {
  if (isNew) return void (await make(path));
  const beside = temporaryBeside(path);
  await make(beside);
  try {
    await connection.call(REQUEST.move, { path: beside, other: path, flags: FLAG.noLinks });
  } finally {
    // A move of one name of a file onto another name of it does nothing, and leaves both.
    await connection.call(REQUEST.remove, { path: beside, flags: FLAG.noLinks }).catch(() => undefined);
  }
}
