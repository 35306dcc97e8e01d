import { execFile } from 'node:child_process';
import { access, mkdir, open, rename, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CaissonError } from '@caisson/contract';
import { removeIfThere, syncFolder } from './durable.ts';
import type { Tool } from './tool.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Sizes of a pool in a file: it is sparse, and takes of the host what is used of it. XFS asks for 300 MiB. */
const SMALLEST_POOL_BYTES = GIB;
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const run = promisify(execFile);

/** What is kept free: bytes, and no more than this share of a file system. */
interface Reserve {
  readonly bytes: number;
  readonly share: number;
}

/** Where images are. All of it is one file system in which files can share their blocks. */
export interface Pool {
  /** One record per workspace and layer. */
  readonly records: string;
  readonly images: string;
  /** Empty file systems to clone, by size. */
  readonly templates: string;
  /** @throws CaissonError WORKSPACE_POOL_FULL when less than the reserve is free */
  admit(): Promise<void>;
  close(): Promise<void>;
}

/** Runs a program that makes a file system. @throws CaissonError WORKSPACES_UNAVAILABLE */
export async function makeFileSystem(program: string, args: readonly string[]): Promise<void> {
  await run(program, args, { env: ENVIRONMENT, timeout: 120_000 }).catch((cause: NodeJS.ErrnoException & { readonly stderr?: string }) => {
    const detail = cause.code === 'ENOENT' ? `${program} is not installed` : `${program}: ${(cause.stderr ?? cause.message).trim().slice(0, 300)}`;
    throw new CaissonError('WORKSPACES_UNAVAILABLE', { detail }, { cause });
  });
}

/**
 * Opens the pool of `dir`: the folder itself where its file system shares blocks (XFS, Btrfs), else an XFS in the sparse file
 * pool.img, mounted at dir/pool for as long as the store is open.
 */
export async function openPool(tool: Tool, dir: string, reserve: Reserve): Promise<Pool> {
  const [shares] = await tool.run('reflink', dir);
  const folder = `${dir}/pool`;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const mounted = shares !== 'yes' || (await exists(`${dir}/pool.img`));
  if (mounted) {
    await makePoolFile(dir);
    await tool.run('pool', `${dir}/pool.img`, folder);
  }
  const pool = { records: `${folder}/records`, images: `${folder}/images`, templates: `${folder}/templates` };
  for (const path of Object.values(pool)) await mkdir(path, { recursive: true, mode: 0o700 });
  await syncFolder(folder);
  return {
    ...pool,
    admit: () => admit(mounted ? [folder, dir] : [folder], reserve),
    close: async () => void (mounted && (await tool.run('detach', `${dir}/pool.img`, folder, '10000'))),
  };
}

/** Made under another name first: a pool is whole or not there. */
async function makePoolFile(dir: string): Promise<void> {
  const path = `${dir}/pool.img`;
  if (await exists(path)) return;
  const fresh = `${path}.new`;
  await removeIfThere(fresh);
  const { blocks, bsize } = await statfs(dir);
  const file = await open(fresh, 'wx', 0o600);
  try {
    await file.truncate(Math.max(SMALLEST_POOL_BYTES, Math.floor((blocks * bsize) / MIB) * MIB));
    await makeFileSystem('mkfs.xfs', ['-q', '-m', 'reflink=1,crc=1', '-s', 'size=4096', '-l', 'size=64m', fresh]);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
  await syncFolder(dir);
}

/** Both the pool and what is below it must have room: a pool in a file breaks with the file system that holds it. */
async function admit(folders: readonly string[], { bytes, share }: Reserve): Promise<void> {
  for (const folder of folders) {
    const { bavail, bsize, blocks } = await statfs(folder);
    const reserve = Math.min(bytes, blocks * bsize * share);
    if (bavail * bsize < reserve) {
      throw new CaissonError('WORKSPACE_POOL_FULL', { freeMiB: Math.floor((bavail * bsize) / MIB), reserveMiB: Math.ceil(reserve / MIB) });
    }
  }
}

export function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}
