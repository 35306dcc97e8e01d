import { rmSync } from 'node:fs';
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
/** At the end of the name of a file that is being made. */
const UNFINISHED = '.new';
/** Each takes of the pool what its tables and its journal take, whoever asked for it once. */
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

interface Template {
  /** Whether it was there before. */
  readonly found: Promise<boolean>;
  /** Clones that are being made of it: while there are any it stays. */
  users: number;
}

/** Empty file systems, each made once and cloned from then on: a clone takes the same time at any size. */
export class Templates {
  readonly #tool: Tool;
  readonly #pool: Pool;
  /** By name of the file, those that were asked for, the latest last. */
  readonly #asked = new Map<string, Template>();

  constructor(tool: Tool, pool: Pool) {
    this.#tool = tool;
    this.#pool = pool;
  }

  /**
   * Hands the path of the empty file system of this size to `clone`, and keeps it for as long as that takes.
   *
   * @throws CaissonError WORKSPACE_INVALID, WORKSPACES_UNAVAILABLE
   */
  async use(size: Size, clone: (path: string) => Promise<unknown>): Promise<void> {
    const name = `${size.sizeBytes}-${size.inodes}-${VERSION}.img`;
    const template = this.#asked.get(name) ?? { found: this.#find(this.#path(name), size), users: 0 };
    this.#asked.delete(name);
    this.#asked.set(name, template);
    template.users += 1;
    try {
      const found = await template.found.catch((error: unknown) => {
        if (this.#asked.get(name) === template) this.#asked.delete(name); // whoever asks next tries again
        throw error;
      });
      await clone(this.#path(name));
      if (found) return;
    } finally {
      template.users -= 1;
    }
    await this.collect();
  }

  #path(name: string): string {
    return `${this.#pool.templates}/${name}`;
  }

  async #find(path: string, size: Size): Promise<boolean> {
    if (await exists(path)) return true;
    const fresh = `${path}${UNFINISHED}`;
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
    return false;
  }

  /** Removes those that nobody has asked for the longest, where there are too many, and unfinished ones. */
  async collect(): Promise<readonly string[]> {
    const names = await readdir(this.#pool.templates);
    const whole = names.filter((name) => !name.endsWith(UNFINISHED));
    const madeMs = new Map(await Promise.all(whole.map(async (name) => [name, await madeAt(this.#path(name))] as const)));
    const asked = [...this.#asked.keys()];
    const latestFirst = whole.toSorted((a, b) => asked.indexOf(b) - asked.indexOf(a) || (madeMs.get(b) ?? 0) - (madeMs.get(a) ?? 0));
    const unfinished = names.filter((name) => name.endsWith(UNFINISHED));
    return [...latestFirst.slice(KEPT), ...unfinished].filter((name) => this.#remove(name));
  }

  /** In one go with the look at who uses it: whoever asks for it after that finds it gone and makes it anew. */
  #remove(file: string): boolean {
    const name = file.endsWith(UNFINISHED) ? file.slice(0, -UNFINISHED.length) : file;
    if ((this.#asked.get(name)?.users ?? 0) > 0) return false;
    if (file === name) this.#asked.delete(name);
    rmSync(this.#path(file), { force: true });
    return true;
  }
}

/** 0 for one that another collection has removed meanwhile. */
async function madeAt(path: string): Promise<number> {
  return stat(path).then(({ mtimeMs }) => mtimeMs, () => 0);
}

/**
 * ext4 with nothing reserved for root, a journal of 4 MiB, checksums, and inode tables that are ready: a sparse file of
 * zeros needs no writing of zeros.
 */
const OPTIONS = [
  '-q', '-F', '-t', 'ext4', '-b', '4096', '-I', '256', '-m', '0', '-J', 'size=4', '-O', '^resize_inode,metadata_csum,has_journal',
  '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard,assume_storage_prezeroed=1',
] as const;
