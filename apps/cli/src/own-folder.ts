import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink, statfs, type FileHandle } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract/errors';
import type { Ignore } from './ignore.ts';

/** What a path of the folder was when it was looked at. */
export interface Seen {
  readonly type: 'file' | 'directory' | 'symlink';
  readonly mode: number;
  readonly sizeBytes: number;
  readonly mtimeNs: string;
  readonly ino: string;
}

export interface Walked {
  readonly path: string;
  readonly seen: Seen;
  /** What a symbolic link says. */
  readonly target: Buffer | null;
  /** Path through the open folder, for as long as the next entry has not been asked for. */
  readonly at: string;
}

const DEPTH_MOST = 64;

/**
 * The path of a name in an open folder. The kernel resolves it from the descriptor, so no renaming of folders above leads
 * elsewhere; the name itself must be opened with O_NOFOLLOW.
 */
export function within({ fd }: FileHandle, name: string): string {
  return `/proc/self/fd/${fd}/${name}`;
}

/** Opens a folder that is no symbolic link. */
export function openFolder(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

/** The parts of a path that is simply below a folder; null for any other, such as one with `..`. */
export function partsBelow(path: string): readonly string[] | null {
  const parts = path.split('/');
  return parts.length <= DEPTH_MOST && parts.every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\0')) ? parts : null;
}

/**
 * Opens the folder that a path is in, step by step from `root`, through no symbolic link.
 *
 * @throws CaissonError FILE_DENIED when a step is no folder, such as a link, or the path is not below; ENOENT when a step is not there
 */
export async function openParent(root: string, path: string): Promise<{ readonly folder: FileHandle; readonly name: string }> {
  const parts = partsBelow(path);
  const name = parts?.at(-1);
  if (parts === null || name === undefined) throw new CaissonError('FILE_DENIED', { path, detail: 'it is not a path below the folder' });
  let folder = await openFolder(root);
  for (const part of parts.slice(0, -1)) {
    const above = folder;
    try {
      folder = await openFolder(within(above, part));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code !== 'ENOTDIR' && code !== 'ELOOP') throw cause;
      throw new CaissonError('FILE_DENIED', { path, detail: `${part} above it is no folder` }, { cause });
    } finally {
      await above.close();
    }
  }
  return { folder, name };
}

/** What a path below the folder is now; null for nothing. @throws CaissonError FILE_DENIED */
export async function lookAt(root: string, path: string): Promise<Seen | null> {
  try {
    const { folder, name } = await openParent(root, path);
    try {
      return seenOf(await lstat(within(folder, name), { bigint: true }));
    } finally {
      await folder.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Null for what is neither file, folder nor symbolic link. */
export function seenOf(stats: BigIntStats): Seen | null {
  const type = stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'symlink' : null;
  return type === null ? null : { type, mode: Number(stats.mode & 0o777n), sizeBytes: Number(stats.size), mtimeNs: String(stats.mtimeNs), ino: String(stats.ino) };
}

/** Whether nothing happened to a path between two looks. What is in a folder is looked at on its own. */
export function isSame(before: Seen, now: Seen | null): boolean {
  if (now === null || before.type !== now.type || before.mode !== now.mode || before.ino !== now.ino) return false;
  return before.type === 'directory' || (before.sizeBytes === now.sizeBytes && before.mtimeNs === now.mtimeNs);
}

export interface WalkOptions {
  readonly ignore: Ignore;
  /** Told what is left out besides what is ignored. */
  readonly leftOut: (path: string, why: string) => void;
}

/** Everything in a folder, each folder before what is in it, in the order of names. No symbolic link is followed. */
export async function* walk(root: string, options: WalkOptions): AsyncGenerator<Walked, void> {
  yield* walkIn(await openFolder(root), '', options);
}

async function* walkIn(folder: FileHandle, above: string, options: WalkOptions): AsyncGenerator<Walked, void> {
  try {
    const names = await readdir(`/proc/self/fd/${folder.fd}`, { encoding: 'buffer' });
    for (const bytes of names.sort(Buffer.compare)) {
      const name = bytes.toString('utf8');
      const path = above === '' ? name : `${above}/${name}`;
      if (!Buffer.from(name).equals(bytes)) options.leftOut(path, 'its name is not UTF-8');
      else yield* one(within(folder, name), path, options);
    }
  } finally {
    await folder.close();
  }
}

async function* one(at: string, path: string, options: WalkOptions): AsyncGenerator<Walked, void> {
  const withheld = (error: NodeJS.ErrnoException): null => {
    if (error.code !== 'EACCES' && error.code !== 'EPERM') return nullWhenGone(error);
    options.leftOut(path, 'the kernel does not let this user read it');
    return null;
  };
  const stats = await lstat(at, { bigint: true }).catch(withheld);
  if (stats === null || options.ignore(path, stats.isDirectory())) return;
  const seen = seenOf(stats);
  if (seen === null) return options.leftOut(path, 'it is neither a file, a folder nor a symbolic link');
  if (partsBelow(path) === null) return options.leftOut(path, 'it lies too deep');
  const target = seen.type === 'symlink' ? await readlink(at, { encoding: 'buffer' }).catch(withheld) : null;
  if (seen.type === 'symlink' && target === null) return;
  if (seen.type === 'directory' && (await isOfKernel(at))) return options.leftOut(path, 'it is a view of the kernel, not a folder with files');
  yield { path, seen, target, at };
  if (seen.type === 'directory') {
    const inner = await openFolder(at).catch(withheld);
    if (inner !== null) yield* walkIn(inner, path, options);
  }
}

/** statfs(2): proc, sysfs, devpts, cgroup, cgroup2, debugfs, tracefs, securityfs, bpf, pstore, efivarfs, configfs. */
const KERNEL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0x9fa0, 0x62656572, 0x1cd1, 0x27e0eb, 0x63677270, 0x64626720, 0x74726163, 0x73636673, 0xcafe4a11, 0x6165676c, 0xde5e81e4, 0x62656570,
]);

/** Whether what is in a folder is made up as it is read: it has no end, and no size that is true. */
export async function isOfKernel(folder: string): Promise<boolean> {
  return statfs(folder).then(({ type }) => KERNEL_FILE_SYSTEMS.has(type), () => false);
}

/** What goes away during a walk was never there. */
function nullWhenGone(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'ELOOP') return null;
  throw error;
}
