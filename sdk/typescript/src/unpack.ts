import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { CaissonError } from './errors.ts';
import { tarEntries, type TarEntry } from './tar-read.ts';

export interface UnpackLimits {
  /** Most bytes of all files together. Default 4 GiB. */
  readonly maxBytes?: number;
  /** Most files, folders and links. Default 100 000. */
  readonly maxEntries?: number;
}

export interface Copied {
  readonly files: number;
  readonly bytes: number;
  /** What was left out, and why: links that lead outside, and what is neither file, folder nor link. At most 1 000. */
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

const MAX_BYTES = 4 * 1024 ** 3;
const MAX_ENTRIES = 100_000;
const DEPTH_MOST = 64;
const SKIPPED_MOST = 1_000;

/**
 * Unpacks an archive of a sandbox as a new folder, whole or not at all. Everything is written below a fresh folder that
 * nobody else can enter, each name for the first time, below folders made here: there is no link to follow. A link is
 * made only when it leads to a place inside.
 *
 * @throws CaissonError ARCHIVE_REFUSED, FILE_EXISTS, FILE_TOO_LARGE, ANSWER_INVALID
 */
export async function unpackInto(localDir: string, archive: AsyncIterable<Uint8Array>, { maxBytes = MAX_BYTES, maxEntries = MAX_ENTRIES }: UnpackLimits = {}): Promise<Copied> {
  const target = resolve(localDir);
  const staging = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}`);
  await mkdir(staging, { mode: 0o700 });
  try {
    const copied = await unpack(Buffer.from(staging), archive, { maxBytes, maxEntries });
    await chmod(staging, 0o777 & ~process.umask());
    await rename(staging, target).catch((error: NodeJS.ErrnoException) => Promise.reject(inTheWay(error, target)));
    return copied;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

function inTheWay(error: NodeJS.ErrnoException, target: string): Error {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST' && error.code !== 'ENOTDIR') return error;
  return new CaissonError({ code: 'FILE_EXISTS', message: `${target}: it is there already, and not an empty folder`, hint: 'download to a new folder', cause: error });
}

interface Tally {
  files: number;
  bytes: number;
  readonly skipped: { path: string; why: string }[];
}

async function unpack(root: Buffer, archive: AsyncIterable<Uint8Array>, { maxBytes, maxEntries }: Required<UnpackLimits>): Promise<Copied> {
  const folders = new Set(['']);
  const tally: Tally = { files: 0, bytes: 0, skipped: [] };
  let entries = 0;
  for await (const entry of tarEntries(archive)) {
    if (++entries > maxEntries) throw tooLarge(`the archive has more than ${maxEntries} entries`);
    if (tally.bytes + entry.sizeBytes > maxBytes) throw tooLarge(`its files have more than ${maxBytes} bytes`);
    const parts = partsOf(entry.name);
    if (parts.length === 0) continue;
    const why = skipReason(entry, parts.length - 1);
    if (why !== null) {
      if (tally.skipped.length < SKIPPED_MOST) tally.skipped.push({ path: readable(entry.name), why });
      continue;
    }
    await makeFolders(root, entry.kind === 'folder' ? parts : parts.slice(0, -1), folders);
    if (entry.kind !== 'folder') await makeMember(root, entry, parts, tally);
  }
  return tally;
}

/** The names that a path is made of. @throws CaissonError ARCHIVE_REFUSED for one that is not simply below */
function partsOf(name: string): readonly string[] {
  const parts = name.replace(/^(?:\.\/)+/, '').replace(/\/$/, '').split('/');
  if (parts.length === 1 && (parts[0] === '' || parts[0] === '.')) return [];
  const isHostile = parts.some((part) => part === '' || part === '.' || part === '..' || (sep === '\\' && /[\\:]/.test(part)));
  if (isHostile || parts.length > DEPTH_MOST) throw refused(name, 'it is not a name below the folder');
  return parts;
}

function skipReason({ kind, target }: TarEntry, depth: number): string | null {
  if (kind === 'other') return 'it is neither a file, a folder nor a symbolic link';
  return kind === 'link' && !leadsInside(target, depth) ? 'it is a link that leads outside' : null;
}

/**
 * Whether a link in a folder of this depth leads inside. Steps up come first and are no more than the depth: the folders
 * above the link are no links, so each such step is what it seems, and after the first name every further step goes down or through
 * another link for which the same holds.
 */
function leadsInside(target: string, depth: number): boolean {
  const parts = target.split('/');
  const names = parts.findIndex((part) => part !== '..');
  const ups = names === -1 ? parts.length : names;
  return target !== '' && ups <= depth && parts.slice(ups).every((part, index, rest) => part !== '..' && (part !== '' || (index === rest.length - 1 && index > 0)));
}

async function makeFolders(root: Buffer, parts: readonly string[], made: Set<string>): Promise<void> {
  for (let depth = 1; depth <= parts.length; depth++) {
    const path = parts.slice(0, depth).join('/');
    if (made.has(path)) continue;
    await mkdir(below(root, path), { mode: 0o777 }).catch((error: NodeJS.ErrnoException) => Promise.reject(error.code === 'EEXIST' ? refused(path, 'it is there twice') : error));
    made.add(path);
  }
}

async function makeMember(root: Buffer, entry: TarEntry, parts: readonly string[], tally: Tally): Promise<void> {
  const path = below(root, parts.join('/'));
  try {
    if (entry.kind === 'link') await symlink(Buffer.from(entry.target, 'latin1'), path);
    else tally.bytes += await writeNew(path, entry);
    tally.files++;
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? refused(entry.name, 'it is there twice') : error;
  }
}

/** Writes a file that must not be there. Bits that lend the owner's rights are left out. */
async function writeNew(path: Buffer, { mode, mtimeMs, sizeBytes, content }: TarEntry): Promise<number> {
  await using file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode & 0o777);
  for await (const piece of content) for (let at = 0; at < piece.length; ) at += (await file.write(piece, at)).bytesWritten;
  await file.utimes(mtimeMs / 1000, mtimeMs / 1000);
  return sizeBytes;
}

const below = (root: Buffer, path: string): Buffer => Buffer.concat([root, Buffer.from('/'), Buffer.from(path, 'latin1')]);
const readable = (name: string): string => Buffer.from(name, 'latin1').toString('utf8');

function refused(name: string, why: string): CaissonError {
  return new CaissonError({ code: 'ARCHIVE_REFUSED', message: `the archive has ${JSON.stringify(readable(name).slice(0, 256))}: ${why}`, hint: 'nothing was kept; look at the files in the sandbox' });
}

function tooLarge(message: string): CaissonError {
  return new CaissonError({ code: 'FILE_TOO_LARGE', message, hint: 'nothing was kept; download a part, or raise the limit' });
}
