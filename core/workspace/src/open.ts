import { chmod, mkdir, realpath } from 'node:fs/promises';
import { CaissonError, problemOf, type Problem } from '@caisson/contract';
import { openPool } from './pool.ts';
import { Records } from './records.ts';
import { Store } from './store.ts';
import { Templates } from './templates.ts';
import { Tool, ToolError } from './tool.ts';
import type { WorkspaceStore } from './types.ts';

const GIB = 1024 ** 3;

export interface OpenOptions {
  /** CAISSON_DIR/workspaces; made when it is missing. */
  readonly dir: string;
  /** Where attached workspaces are mounted, below the instance's run folder. */
  readonly mounts: string;
  /** Path of the program caisson-store. */
  readonly tool: string;
  /** Milliseconds since 1970 UTC. */
  readonly now: () => number;
  /** Nothing is made when less is free: of the pool, or of what holds it. Default 1 GiB, or `reserveShare` of a small one. */
  readonly reserveBytes?: number;
  /** How long to wait for what a launcher that died had under way. Default 30,000. */
  readonly patienceMs?: number;
  /** No more than this share of a file system is kept free. Default 0.05. */
  readonly reserveShare?: number;
}

/**
 * Opens the workspaces of an instance and takes away what a launcher that died has left: mounts, and files of no workspace. It takes the store's lock for as long as it is open. Where this host cannot hold
 * workspaces (not root, no XFS), the store opens and refuses everything with WORKSPACES_UNAVAILABLE.
 *
 * @throws CaissonError WORKSPACES_UNAVAILABLE when another launcher has them or the pool is damaged
 */
export async function openWorkspaces(options: OpenOptions): Promise<WorkspaceStore> {
  if (process.getuid?.() !== 0) return refusing({ detail: 'workspaces need root: a file system of their own is mounted for each' });
  await using undo = new AsyncDisposableStack();
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  await mkdir(options.mounts, { recursive: true });
  await chmod(options.mounts, 0o711); // the root of a sandbox passes through it, and lists nothing
  const dir = await realpath(options.dir);
  const mounts = await realpath(options.mounts);
  const tool = undo.use(await Tool.start(options.tool, `${dir}/lock`, options.patienceMs ?? 30_000));
  try {
    await tool.run('sweep', mounts);
    const pool = await openPool(tool, dir, { bytes: options.reserveBytes ?? GIB, share: options.reserveShare ?? 0.05 });
    undo.defer(() => pool.close());
    const records = new Records(pool.records);
    await records.load();
    const store = new Store({ tool, pool, mounts, records, templates: new Templates(tool, pool), now: options.now });
    await store.inspect();
    await store.collect();
    const resources = undo.move();
    store.closing(() => resources.disposeAsync());
    return store;
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    const missing = ['ENODEV', 'EPERM', 'ENOSYS', 'ENOENT'].includes(error.errno);
    if (missing) return refusing({ detail: `this kernel does not give what they need (${error.message})` });
    throw new CaissonError('WORKSPACES_UNAVAILABLE', { detail: error.message }, { cause: error });
  }
}

/** A store that says why it cannot. */
function refusing(context: { readonly detail: string }): WorkspaceStore {
  const refusal: Problem = problemOf(new CaissonError('WORKSPACES_UNAVAILABLE', context));
  const refuse = (): Promise<never> => Promise.reject(CaissonError.from(refusal));
  return {
    create: refuse, attach: refuse, snapshot: refuse, fork: refuse, restore: refuse, removeLayer: refuse, remove: refuse,
    diff: refuse, export: refuse, import: refuse, collect: refuse,
    get: () => null, byName: () => null, list: () => [], layers: () => [],
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
