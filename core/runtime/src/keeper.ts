import { chmod, chown, lstat, mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, MIB, type IsolationSpec, type Usage } from '@caisson/contract';
import { removePartialCheckpoints } from './checkpoint.ts';
import type { LaunchOptions, LiveMachine } from './driver.ts';
import { Filters } from './filters.ts';
import { Journal } from './journal.ts';
import { journalEvents, Kept, type GoingOn, type KeptInfo } from './kept.ts';
import { launchOn, restoreOn, type LauncherRoom } from './launch.ts';
import { Recorder } from './recorder.ts';
import { Turns } from './turns.ts';

/** How long the output of an ended sandbox can still be read, and of how many at most. */
const RETAIN_MS = 600_000;
const RETAIN_MOST = 256;
/** Bytes of that output in all; the oldest go first. It lies on the disk that the record is on. */
const RETAIN_BYTES = 4096 * MIB;

/** What saved memory leaves free on its disk, which the record of what happens is on as well: without a record nothing runs. */
const DISK_RESERVE_BYTES = 1024 * MIB;

/** Between two tries to let go of a workspace; each has a patience of its own. */
const LET_GO_AGAIN_MS = 500;

/** Of launches that are asked for together: more of them would only wait for each other, and all end as late as the last. */
const LAUNCHES_PER_PROCESSOR = 4;

/** A workspace that is ready to be mounted into one sandbox. */
export interface AttachedWorkspace {
  readonly path: string;
  /** Resolves when nothing holds it any more. Idempotent. */
  detach(): Promise<void>;
}

export interface KeeperGround {
  readonly room: LauncherRoom;
  /** Folder for the output of execs; what is in it from before is removed. */
  readonly journals: string;
  /** Folder for the memory of snapshots, root's alone. */
  readonly checkpoints: string;
  /** Room on the file system of a folder. Default: what the kernel says. */
  readonly freeBytes?: (folder: string) => Promise<number>;
  /** Bytes of output of ended sandboxes that are kept. Default 4 GiB. */
  readonly retainBytes?: number;
  /** Makes the workspace with this id ready for the sandbox, whose agent is `hostUid` on the host; with `mirror` it has a place for one. @throws CaissonError WORKSPACE_…, AUDIT_MIRROR_TAKEN */
  readonly attach: (workspace: string, holder: { readonly sandbox: string; readonly hostUid: number; readonly mirror: boolean }) => Promise<AttachedWorkspace>;
  readonly now: () => number;
}

/** The sandboxes of one launcher that stay when control goes away. They end when they are closed, and with the launcher. */
export class Keeper implements AsyncDisposable {
  readonly #ground: KeeperGround;
  readonly #kept = new Map<string, Kept>();
  readonly #ended = new Map<string, Promise<Usage>>();
  readonly #forgetting = new Map<string, NodeJS.Timeout>();
  readonly #launching = new Map<string, Promise<KeptInfo>>();
  readonly #filters = new Filters();
  readonly #turns = new Turns(LAUNCHES_PER_PROCESSOR * availableParallelism());
  readonly #stopping = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  /** Memory limits of the sandboxes that are being saved. */
  #savingBytes = 0;
  readonly #saving = new Set<Promise<void>>();

  constructor(ground: KeeperGround) {
    this.#ground = ground;
  }

  async open(): Promise<void> {
    await emptied(this.#ground.journals);
    await mkdir(this.#ground.checkpoints, { recursive: true, mode: 0o700 });
    await removePartialCheckpoints(this.#ground.checkpoints);
  }

  /** Saves the memory of a sandbox under the id of a snapshot, where there is room for all that it can hold. @throws CaissonError CHECKPOINT_… */
  checkpoint(id: string, snapshot: string): Promise<void> {
    const saved = this.#checkpoint(id, snapshot).finally(() => this.#saving.delete(saved));
    this.#saving.add(saved);
    return saved;
  }

  async #checkpoint(id: string, snapshot: string): Promise<void> {
    const { checkpoints, freeBytes = roomOn } = this.#ground;
    const kept = this.get(id);
    const needed = kept.memoryBytes + this.#savingBytes + DISK_RESERVE_BYTES;
    this.#savingBytes += kept.memoryBytes; // those that are saved side by side do not each count on the same room
    try {
      const free = await freeBytes(checkpoints);
      if (free < needed) throw new CaissonError('CHECKPOINT_FAILED', { detail: `${Math.floor(free / MIB)} MiB of disk are free, and ${Math.ceil(needed / MIB)} MiB are wanted` });
      await kept.checkpoint(`${checkpoints}/${snapshot}`);
    } finally {
      this.#savingBytes -= kept.memoryBytes;
    }
  }

  /** Ids of the snapshots that have memory. */
  checkpoints(): Promise<readonly string[]> {
    return readdir(this.#ground.checkpoints);
  }

  /** As `checkpoints`, once what is being saved is saved: whoever asked for it may be gone. */
  async settledCheckpoints(): Promise<readonly string[]> {
    await Promise.allSettled(this.#saving);
    return this.checkpoints();
  }

  async removeCheckpoint(snapshot: string): Promise<void> {
    await rm(`${this.#ground.checkpoints}/${snapshot}`, { recursive: true, force: true });
  }

  /** Gets ready for a launch, but for one that follows others closely: those have made ready. */
  expect(): void {
    if (this.#launching.size === 0) this.#ground.room.expect();
  }

  /**
   * Starts a sandbox, or takes the one that has this id: asking again never starts a second.
   *
   * @param checkpoint snapshot whose memory it starts from; null: it starts anew
   * @throws as `launchOn` and `restoreOn`
   */
  launch(spec: IsolationSpec, memo: string, checkpoint: string | null = null): Promise<KeptInfo> {
    const there = this.#launching.get(spec.id) ?? (this.#kept.has(spec.id) ? Promise.resolve(this.get(spec.id).info()) : undefined);
    if (there !== undefined) return there;
    const start = (): Promise<KeptInfo> => this.#launch(spec, memo, checkpoint);
    // Saved memory may be long in coming: nobody's turn waits for that.
    const launched = (checkpoint === null ? this.#turns.run(start) : start()).finally(() => this.#launching.delete(spec.id));
    this.#launching.set(spec.id, launched);
    this.#track(launched);
    return launched;
  }

  async #launch(asked: IsolationSpec, memo: string, checkpoint: string | null): Promise<KeptInfo> {
    const spec = { ...asked, seccomp: this.#filters.share(asked.seccomp) };
    const workspace = spec.mounts.find((mount) => mount.kind === 'workspace')?.workspace;
    const journals = `${this.#ground.journals}/${spec.id}`;
    let attached: AttachedWorkspace | undefined;
    let uid = 0;
    try {
      await mkdir(journals, { mode: 0o700 }).catch(cannotKeep);
      const { machine, goingOn } = await this.#begin(spec, checkpoint, {
        signal: this.#stopping.signal,
        ...(workspace === undefined ? {} : {
          workspaceFor: async (hostUid: number) => {
            uid = hostUid + 1; // the first of the slot is root inside, which nothing runs as
            attached = await this.#ground.attach(workspace, { sandbox: spec.id, hostUid: uid, mirror: spec.mounts.some(({ kind }) => kind === 'mirror') });
            return attached.path;
          },
        }),
      });
      const kept = new Kept({ goingOn, spec, machine, memo, journals, now: this.#ground.now, workspace: attached === undefined ? null : { path: attached.path, uid } });
      this.#kept.set(spec.id, kept);
      const ended = this.#whenGone(kept, machine.gone, attached);
      this.#ended.set(spec.id, ended);
      this.#track(ended);
      return kept.info();
    } catch (error) {
      await attached?.detach().catch(() => this.#track(this.#letGo(attached)));
      await rm(journals, { recursive: true, force: true });
      throw error;
    }
  }

  async #begin(spec: IsolationSpec, checkpoint: string | null, options: LaunchOptions): Promise<{ readonly machine: LiveMachine; readonly goingOn: readonly GoingOn[] }> {
    const { room, journals, checkpoints, now } = this.#ground;
    if (checkpoint === null) return { machine: await launchOn(room, spec, options), goingOn: [] };
    const adopted = new Map<string, { readonly journal: Journal; kill(): void }>();
    const { machine, execs } = await restoreOn(room, spec, `${checkpoints}/${checkpoint}`, {
      ...options,
      adopt(saved) {
        const journal = new Journal(`${journals}/${spec.id}/${idIn(saved)[0]}`, new Recorder({ now, tty: null }));
        const own = { journal, kill: (): void => undefined };
        adopted.set(saved, own);
        return journalEvents(journal, saved, () => own.kill());
      },
    });
    const goingOn = execs.flatMap(({ memo: saved, exec }) => {
      const own = adopted.get(saved);
      if (own === undefined) return [];
      own.kill = () => exec.kill();
      const [id, memo] = idIn(saved);
      return [{ id, memo, exec, journal: own.journal }];
    });
    return { machine, goingOn };
  }

  /** Whatever ends a sandbox, its end is seen here: what it used is read, and its workspace is free before anybody is told. */
  async #whenGone(kept: Kept, gone: Promise<void>, attached: AttachedWorkspace | undefined): Promise<Usage> {
    await gone;
    const usage = await kept.close();
    await this.#letGo(attached);
    this.#forgetLater(kept.id);
    this.#track(kept.settle());
    return usage;
  }

  /** A workspace that is let go of late, because a disk is slow, is nobody's until then and somebody's again after that. */
  async #letGo(attached: AttachedWorkspace | undefined): Promise<void> {
    while (attached !== undefined) {
      try {
        return await attached.detach();
      } catch (error) {
        if (this.#stopping.signal.aborted) throw error;
        await delay(LET_GO_AGAIN_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      }
    }
  }

  #forgetLater(id: string): void {
    this.#forgetting.set(id, setTimeout(() => void this.forget(id), RETAIN_MS).unref());
    const ended = [...this.#kept.values()].filter((kept) => kept.head().usage !== null);
    let bytes = 0;
    for (const [index, kept] of ended.toReversed().entries()) {
      bytes += kept.outputBytes;
      if (index > 0 && (index >= RETAIN_MOST || bytes > (this.#ground.retainBytes ?? RETAIN_BYTES))) void this.forget(kept.id);
    }
  }

  /** Drops the output of a sandbox that has ended. */
  async forget(id: string): Promise<void> {
    const kept = this.#kept.get(id);
    if (kept === undefined || kept.head().usage === null) return;
    this.#kept.delete(id);
    this.#ended.delete(id);
    clearTimeout(this.#forgetting.get(id));
    this.#forgetting.delete(id);
    await kept[Symbol.asyncDispose]();
    await rm(`${this.#ground.journals}/${id}`, { recursive: true, force: true });
  }

  /** Ids of all, once what is being started has started: whoever asked for it may be gone, and who asks now must not miss it. */
  async settledList(): Promise<readonly string[]> {
    await Promise.allSettled(this.#launching.values());
    return [...this.#kept.keys()];
  }

  /** @throws CaissonError SANDBOX_NOT_FOUND */
  get(id: string): Kept {
    const kept = this.#kept.get(id);
    if (kept === undefined) throw new CaissonError('SANDBOX_NOT_FOUND', { sandbox: id });
    return kept;
  }

  /** As `get`, once its start is over: what changes a sandbox must not miss one that is being started. @throws CaissonError SANDBOX_NOT_FOUND */
  async started(id: string): Promise<Kept> {
    await this.#launching.get(id)?.catch(() => undefined);
    return this.get(id);
  }

  /** Resolves when the sandbox has ended and its workspace is free. @throws CaissonError SANDBOX_NOT_FOUND */
  ended(id: string): Promise<Usage> {
    this.get(id);
    return this.#ended.get(id) ?? Promise.reject(new CaissonError('SANDBOX_NOT_FOUND', { sandbox: id }));
  }

  /**
   * Ends it. Resolves as `ended`; closing what is still being started waits for the start.
   *
   * @param why told to whoever takes it over meanwhile; null where it is not its end, or not one to be told
   */
  async close(id: string, why: string | null = null): Promise<Usage> {
    await this.#launching.get(id)?.catch(() => undefined);
    await this.get(id).closeFor(why);
    return this.ended(id);
  }

  #track(work: Promise<unknown>): void {
    const tracked = work.catch(() => undefined).finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new CaissonError('CANCELLED', { detail: 'the launcher is stopping' }));
    while (this.#launching.size > 0) await Promise.allSettled(this.#launching.values());
    await Promise.allSettled([...this.#kept.values()].map((kept) => kept.close()));
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    await Promise.allSettled([...this.#kept.keys()].map((id) => this.forget(id)));
    await emptied(this.#ground.journals);
  }
}

/**
 * A folder of this process's user alone, with nothing in it. It stays where it is: a file system of its own may be mounted there.
 *
 * @throws CaissonError STATE_DIR_INVALID for a link, which would have another folder emptied
 */
async function emptied(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (!(await lstat(folder)).isDirectory()) throw new CaissonError('STATE_DIR_INVALID', { dir: folder, detail: 'it is a link; mount a file system there instead' });
  await chown(folder, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  await chmod(folder, 0o700);
  for (const name of await readdir(folder)) await rm(`${folder}/${name}`, { recursive: true, force: true });
}

/** A sandbox none of whose output could be kept is none that may begin. */
function cannotKeep(error: unknown): never {
  throw new CaissonError('OUTPUT_NOT_KEPT', { detail: (error as NodeJS.ErrnoException).code ?? (error as Error).message }, { cause: error });
}

async function roomOn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Id and note of an exec in saved memory, which was verified before. */
function idIn(saved: string): readonly [string, string] {
  const [id, memo] = JSON.parse(saved) as readonly [string, string];
  return [id, memo];
}
