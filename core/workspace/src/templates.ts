import { open, readdir, rename, stat } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import { removeIfThere } from './durable.ts';
import { exists, makeFileSystem, type Pool } from './pool.ts';
import type { Tool } from './tool.ts';
import type { Size } from './types.ts';

const MIB = 1024 ** 2;
const SMALLEST_BYTES = 16 * MIB;
const LARGEST_BYTES = 1024 ** 4;
/** Changes with anything about how file systems are made. */
const VERSION = 1;
const KEPT = 64;

/** @throws CaissonError WORKSPACE_INVALID for a size that no file system of ours has */
export function checkSize({ sizeBytes, inodes }: Size): void {
  const bad = (detail: string): never => {
    throw new CaissonError('WORKSPACE_INVALID', { detail });
  };
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < SMALLEST_BYTES || sizeBytes > LARGEST_BYTES) bad(`a size of ${sizeBytes} bytes is not between 16 MiB and 1 TiB`);
  if (!Number.isSafeInteger(inodes) || inodes < 16 || inodes > 10_000_000) bad(`${inodes} files are not between 16 and 10,000,000`);
  // The tables of inodes, of 256 bytes each, take up to half of it.
  if (inodes * 512 > sizeBytes) bad(`${inodes} files do not fit into ${sizeBytes} bytes: at least 512 bytes each`);
}

/** Empty file systems, each made once and cloned from then on: a clone takes the same time at any size. */
export class Templates {
  readonly #tool: Tool;
  readonly #pool: Pool;
  readonly #making = new Map<string, Promise<string>>();

  constructor(tool: Tool, pool: Pool) {
    this.#tool = tool;
    this.#pool = pool;
  }

  /** Path of the empty file system of this size. @throws CaissonError WORKSPACE_INVALID, WORKSPACES_UNAVAILABLE */
  of(size: Size): Promise<string> {
    const path = `${this.#pool.templates}/${size.sizeBytes}-${size.inodes}-${VERSION}.img`;
    const made = this.#making.get(path) ?? this.#find(path, size);
    this.#making.set(path, made);
    made.catch(() => this.#making.delete(path));
    return made;
  }

  async #find(path: string, size: Size): Promise<string> {
    if (await exists(path)) return path;
    const fresh = `${path}.new`;
    await removeIfThere(fresh);
    const file = await open(fresh, 'wx', 0o600);
    try {
      await file.truncate(Math.floor(size.sizeBytes / 4096) * 4096);
    } finally {
      await file.close();
    }
    await makeFileSystem('mkfs.ext4', [...OPTIONS, '-N', String(size.inodes + 11), fresh]); // the first eleven are its own
    await this.#tool.run('seal', fresh);
    await rename(fresh, path);
    return path;
  }

  /** Removes the oldest of too many, and unfinished ones. */
  async collect(): Promise<readonly string[]> {
    const names = await readdir(this.#pool.templates);
    const aged = await Promise.all(names.map(async (name) => ({ name, ms: (await stat(`${this.#pool.templates}/${name}`)).mtimeMs })));
    const surplus = aged.toSorted((a, b) => b.ms - a.ms).slice(KEPT).map(({ name }) => name).filter((name) => !this.#making.has(`${this.#pool.templates}/${name}`));
    for (const name of surplus) await removeIfThere(`${this.#pool.templates}/${name}`);
    return surplus;
  }
}

/**
 * ext4 with nothing reserved for root, a journal of 4 MiB, checksums, and inode tables that are ready: a sparse file of
 * zeros needs no writing of zeros.
 */
const OPTIONS = [
  '-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256', '-m', '0', '-J', 'size=4', '-O', '^resize_inode,metadata_csum,has_journal',
  '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard,assume_storage_prezeroed=1',
] as const;
