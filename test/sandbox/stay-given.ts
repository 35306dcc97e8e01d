import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { CaissonError, type EntryDraft, type HostFacts, type NetworkPolicy, type Policy } from '@caisson/contract';
import { FakeDriver, Keeper, RemoteKeeper, serveKeeper, type FakeScript, type ProcessSpec } from '@caisson/runtime';
import { adopt, Leavings, Sandboxes, WarmPool, type StayRooms, type WorkspaceRoom } from '@caisson/sandbox';
import { listenUnix } from '@caisson/wire';
import { shippedPolicy, shippedSeccomp } from '../isolation/given.ts';
import { fakeHost, MemoryLog } from './given.ts';
import { NotedGate, NotedVault } from './noted.ts';

/** Of a snapshot. */
const SMALL = { sizeBytes: 2 ** 25, inodes: 1_000 };

/** Workspaces without a disk: what is attached, snapshotted and removed is only noted. */
class NotedWorkspaces implements WorkspaceRoom {
  readonly there = new Map<string, { name: string | null; from: string | null; sizeBytes: number; inodes: number }>();
  readonly layers = new Set<string>();

  async create({ id, name, sizeBytes, inodes }: { id: string; name?: string; sizeBytes: number; inodes: number }): Promise<{ id: string }> {
    this.there.set(id, { name: name ?? null, from: null, sizeBytes, inodes });
    return { id };
  }

  async fork(from: string, { id, name }: { id: string; name?: string }): Promise<{ id: string }> {
    if (!this.there.has(from) && !this.layers.has(from)) throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: from });
    this.there.set(id, { ...(this.there.get(from) ?? SMALL), name: name ?? null, from });
    return { id };
  }

  async nameless(): Promise<readonly string[]> {
    return [...this.there].filter(([, { name }]) => name === null).map(([id]) => id);
  }

  async sizeOf(id: string): Promise<{ sizeBytes: number; inodes: number } | null> {
    return this.there.get(id) ?? (this.layers.has(id) ? SMALL : null);
  }

  async byName(name: string): Promise<{ id: string; sizeBytes: number; inodes: number } | null> {
    const found = [...this.there].find(([, workspace]) => workspace.name === name);
    return found === undefined ? null : { ...found[1], id: found[0] };
  }

  async snapshot(_id: string, { layer, label }: { layer: string; label?: string }): Promise<{ id: string; label: string | null; createdMs: number; sizeBytes: number }> {
    this.layers.add(layer);
    return { id: layer, label: label ?? null, createdMs: 0, sizeBytes: 0 };
  }

  async check(layer: string): Promise<void> {
    if (!this.layers.has(layer)) throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: layer });
  }

  async restore(): Promise<void> {
    // nothing is on a disk
  }

  async removeLayer(id: string): Promise<void> {
    this.layers.delete(id);
  }

  async remove(id: string): Promise<void> {
    this.there.delete(id);
  }
}

export interface Stage extends AsyncDisposable {
  readonly sandboxes: Sandboxes;
  readonly log: MemoryLog;
  readonly driver: FakeDriver;
  readonly workspaces: NotedWorkspaces;
  readonly doubts: EntryDraft[];
  readonly keeper: Keeper;
  readonly pool: WarmPool;
  readonly gate: NotedGate;
  readonly vault: NotedVault;
  /** Another control on the same launcher and log, as after a restart. */
  restarted(): Promise<Sandboxes>;
}

/** The conductor on the real keeper and its real socket; only the kernel, the disk and the log are not real. */
export async function stage(script: FakeScript | ((command: ProcessSpec) => FakeScript) = {}, { warm = 0, refuse, maximum = 1_000, freeBytes, retainBytes, attaching, detaching, network, secrets, wallMs = Date.now }: { readonly wallMs?: () => number; readonly secrets?: Policy['secrets']; readonly attaching?: () => Promise<void>; readonly detaching?: () => Promise<void>; readonly network?: NetworkPolicy; readonly freeBytes?: number; readonly retainBytes?: number; readonly warm?: number; readonly maximum?: number; readonly refuse?: EntryDraft['kind'] } = {}): Promise<Stage> {
  const dir = mkdtempSync(`${tmpdir()}/caisson-stay-`);
  const driver = new FakeDriver(script);
  const log = new MemoryLog([], refuse);
  const workspaces = new NotedWorkspaces();
  const doubts: EntryDraft[] = [];
  const gate = new NotedGate();
  const vault = new NotedVault();
  const host: HostFacts = fakeHost(driver);
  const keeper = new Keeper({
    room: { facts: async () => host, expect: () => undefined, driver: () => driver },
    journals: `${dir}/journals`,
    checkpoints: `${dir}/checkpoints`,
    ...(retainBytes === undefined ? {} : { retainBytes }),
    ...(freeBytes === undefined ? {} : { freeBytes: async () => freeBytes }),
    attach: async () => {
      await attaching?.();
      return { path: dir, detach: async () => detaching?.() };
    },
    now: Date.now,
  });
  await keeper.open();
  const files = async (): Promise<void> => undefined;
  const listening = await listenUnix(`${dir}/keeper.sock`, {}, (socket) => serveKeeper(socket, keeper, { verbs: {}, files }));
  const remotes: RemoteKeeper[] = [];
  const control = (): { sandboxes: Sandboxes; rooms: StayRooms; pool: WarmPool } => {
    const remote = new RemoteKeeper(`${dir}/keeper.sock`);
    remotes.push(remote);
    const rooms: StayRooms = {
      policy: { value: { ...shippedPolicy, ...(network && { network }), ...(secrets && { secrets }), ...(shippedPolicy.sandboxes === undefined ? {} : { sandboxes: { ...shippedPolicy.sandboxes, maximum } }) }, sha256: 'a'.repeat(64) },
      seccomp: shippedSeccomp,
      evidence: log,
      doubts: { add: (outcome) => void doubts.push(outcome), addNotBegun: (outcome) => void doubts.push(outcome) },
      gate,
      vault,
      host: async () => host,
      launch: () => Promise.reject(new Error('not a one-shot run')),
      now: () => performance.now(),
      wallMs,
      randomBytes,
      keeper: remote,
      workspaces,
      leavings: new Leavings(workspaces),
      images: { resolve: async () => ({ image: 'host', env: [] }) },
    };
    const pool = new WarmPool(rooms, { most: warm, least: warm });
    return { sandboxes: new Sandboxes(rooms, pool), rooms, pool };
  };
  const first = control();
  first.pool.open();
  return {
    sandboxes: first.sandboxes,
    log,
    driver,
    workspaces,
    doubts,
    keeper,
    pool: first.pool,
    gate,
    vault,
    async restarted() {
      remotes[0]?.[Symbol.dispose]();
      const second = control();
      for (const box of (await adopt(second.rooms)).boxes) second.sandboxes.adopt(box);
      return second.sandboxes;
    },
    async [Symbol.asyncDispose]() {
      await first.sandboxes[Symbol.asyncDispose]();
      for (const remote of remotes) remote[Symbol.dispose]();
      await keeper[Symbol.asyncDispose]();
      await listening[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export const ASKING = { caller: 'test' } as const;

/** Everything that a follower is told from an offset on. */
export async function readAll(sandboxes: Sandboxes, sandbox: string, exec: string, from = 0): Promise<{ readonly text: string; readonly offsets: readonly number[]; readonly ended: boolean }> {
  const chunks: Buffer[] = [];
  const offsets: number[] = [];
  let ended = false;
  for await (const event of sandboxes.follow(sandbox, exec, { from, signal: AbortSignal.timeout(10_000) })) {
    if (event.type === 'end') ended = true;
    else {
      chunks.push(Buffer.from(event.bytes));
      offsets.push(event.offset);
    }
  }
  return { text: Buffer.concat(chunks).toString(), offsets, ended };
}
