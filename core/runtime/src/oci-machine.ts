import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type IsolationSpec, type LiveUsage, type Usage } from '@caisson/contract';
import { freeze, killAll, readCpuMs, readLiveUsage, readUsage, readWork, thaw, type Cgroup } from './cgroup.ts';
import { saveCheckpoint, type CheckpointMaker, type SavedExec } from './checkpoint.ts';
import { confineTo, throttledPeriods, type Cores } from './cores.ts';
import type { Exec, ExecEvents, ExecReport, HeldSecrets, LiveMachine, Machine, ProcessSpec } from './driver.ts';
import type { Hello } from './hello.ts';
import type { LaneExec, Lanes, LanesState } from './lanes.ts';
import { Stopwatch } from './stopwatch.ts';

/** How often the CPU time of a sandbox is read. */
const CPU_CHECK_MS = 100;
const SIGKILL = 9;
/** Checks in a row that find a sandbox throttled before it is confined: a short burst is nobody's harm. */
const GREEDY_CHECKS = 3;
/** Longest that pid 1 takes to end what it is sending. */
const QUIET_MS = 5_000;

export interface OciMachineParts {
  readonly runtime: string;
  readonly user: Machine['user'];
  readonly address: string | null;
  readonly hello: Hello;
  readonly lanes: Lanes;
  readonly group: Cgroup;
  /** Whether somebody else removes the group as soon as pid 1 is gone: what was used is read before then. Default false. */
  readonly groupEndsWithPid1?: boolean;
  readonly spec: IsolationSpec;
  /** Saves memory into a folder, the sandbox going on; undefined where the runtime cannot. */
  readonly memory: { save(folder: string): Promise<void>; maker(): Promise<CheckpointMaker> } | undefined;
  readonly hold: Hold;
  /** The processors of the host, shared by all sandboxes of the launcher. */
  readonly cores: Cores;
  /** Its files of secrets. They go when it has ended. */
  readonly secrets?: (HeldSecrets & Disposable) | undefined;
  /** Starts the clean-up of files and cgroups, once. */
  release(): void;
}

/** How everything in a sandbox is stopped and goes on. What is being closed need not be stopped. */
export interface Hold {
  stop(over: () => boolean): Promise<void>;
  go(): Promise<void>;
}

/** By the kernel's freezer, for processes that are the host's own. */
export function frozen(group: Cgroup): Hold {
  return { stop: (over) => freeze(group, over), go: () => thaw(group) };
}

/** An exec under its time limits. */
interface Watched extends Pick<SavedExec, 'memo' | 'hasOwnLimits'> {
  readonly wall: Stopwatch;
  /** CPU time that it may use from the first look on; null: the sandbox's limit counts from pid 1's first word. */
  readonly cpuMs: number | null;
  /** CPU time of the sandbox at which it ends; null before the first look. */
  cpuMostMs: number | null;
}

/** A sandbox that an OCI runtime started. Time limits are enforced here, outside it and next to the kernel. */
export class OciMachine implements LiveMachine {
  readonly runtime: string;
  readonly user: Machine['user'];
  readonly address: string | null;
  readonly hello: Hello;
  readonly gone: Promise<void>;
  readonly secrets: HeldSecrets | undefined;
  readonly #parts: OciMachineParts;
  readonly #watched = new Map<number, Watched>();
  /** What starting took, of the runtime and its kernel: no command has used that. Null when the group is gone. */
  readonly #startCpuMs: Promise<number | null>;
  #saving: Promise<void> | undefined;
  #paused = false;
  #closing: Promise<Usage> | undefined;
  #usedBefore: Usage | undefined;
  #confinedTo: readonly number[] | undefined;
  #throttled = { periods: 0, checks: 0 };

  constructor(parts: OciMachineParts) {
    this.runtime = parts.runtime;
    this.user = parts.user;
    this.address = parts.address;
    this.hello = parts.hello;
    this.gone = parts.lanes.gone;
    this.secrets = parts.secrets;
    this.#parts = parts;
    void this.gone.finally(() => parts.secrets?.[Symbol.dispose]());
    this.#startCpuMs = readCpuMs(parts.group);
  }

  spawn(command: ProcessSpec, events: ExecEvents): Exec {
    const own = command.ownLimits;
    const wallMs = own?.wallMs ?? this.#parts.spec.limits.wallMs;
    return this.#watch(this.#parts.lanes.spawn(command, events), { memo: events.memo ?? '', hasOwnLimits: own !== undefined, wallMs, cpuMs: own?.cpuMs ?? null });
  }

  /** Takes over an exec that goes on from saved memory, with what it had left of its limits. */
  takeOver(exec: LaneExec, { memo, hasOwnLimits, wallLeftMs, cpuLeftMs }: SavedExec): Exec {
    return this.#watch(exec, { memo, hasOwnLimits, wallMs: wallLeftMs, cpuMs: cpuLeftMs });
  }

  #watch(exec: LaneExec, { memo, hasOwnLimits, wallMs, cpuMs }: Pick<Watched, 'memo' | 'hasOwnLimits' | 'cpuMs'> & { readonly wallMs: number }): Exec {
    let usedUp: 'wall' | 'cpu' | undefined;
    const expire = (limit: 'wall' | 'cpu'): void => {
      usedUp ??= limit;
      void (hasOwnLimits ? exec.kill() : this.#killAll());
    };
    const wall = new Stopwatch(wallMs, () => expire('wall'));
    const watched: Watched = { memo, hasOwnLimits, wall, cpuMs, cpuMostMs: null };
    this.#watched.set(exec.id, watched);
    if (this.#paused) wall.stop();
    const unwatch = this.#watchCpu(watched, () => expire('cpu'));
    const done = exec.done.then((report) => {
      wall.stop();
      this.#watched.delete(exec.id);
      unwatch();
      return usedUp === undefined ? report : timedOut(report, usedUp);
    });
    return { ...exec, done };
  }

  /** Returns what ends it. A timer and no signal: an abort makes an error with a stack, for which the end of a short exec would wait. */
  #watchCpu(watched: Watched, expire: () => void): () => void {
    let over = false;
    let timer: NodeJS.Timeout | undefined;
    const lookLater = (): void => {
      if (!over) timer = setTimeout(() => void look(), CPU_CHECK_MS).unref();
    };
    const look = async (): Promise<void> => {
      if (await this.#isOverCpu(watched)) return over ? undefined : expire();
      lookLater();
    };
    if (watched.cpuMs !== null) lookLater();
    else void this.#startCpuMs.then((startMs) => {
      watched.cpuMostMs = (startMs ?? 0) + this.#parts.spec.limits.cpuMs;
      lookLater();
    });
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }

  async #isOverCpu(watched: Watched): Promise<boolean> {
    const usedMs = await readCpuMs(this.#parts.group);
    // What was used before the first look is at most one interval's worth, and is the sandbox's.
    if (usedMs !== null) watched.cpuMostMs ??= usedMs + (watched.cpuMs ?? 0);
    if (usedMs !== null && usedMs > (watched.cpuMostMs ?? Infinity)) return true;
    if (this.#confinedTo === undefined) await this.#confineIfGreedy();
    return false;
  }

  async checkpoint(folder: string): Promise<void> {
    const { memory, spec } = this.#parts;
    if (memory === undefined) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: spec.level, why: `${this.runtime} cannot save processes` });
    if (spec.mounts.some(({ kind }) => kind === 'secrets')) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: spec.level, why: 'processes of a sandbox that has files of secrets may hold what they read' });
    if (this.#paused) throw new CaissonError('SANDBOX_STATE', { sandbox: spec.id, state: 'paused', detail: 'memory is saved while the sandbox runs' });
    if (this.#saving !== undefined) throw new CaissonError('CHECKPOINT_FAILED', { detail: 'another checkpoint of this sandbox is under way' });
    this.#saving = this.#save(folder, memory).finally(() => (this.#saving = undefined));
    return this.#saving;
  }

  #save(folder: string, memory: NonNullable<OciMachineParts['memory']>): Promise<void> {
    const { spec, lanes } = this.#parts;
    return saveCheckpoint(folder, async (partial) => {
      const maker = await memory.maker();
      const state = await this.#quiet();
      try {
        const usedMs = await readCpuMs(this.#parts.group);
        const execs = state.execs.map((lane): SavedExec => ({ lane, ...left(this.#watched.get(lane.id), usedMs) }));
        await memory.save(partial);
        return { maker, spec, nextExec: state.nextExec, execs };
      } finally {
        lanes.resume(false);
      }
    });
  }

  async #quiet(): Promise<LanesState> {
    const { lanes } = this.#parts;
    const waiting = new AbortController();
    const late = delay(QUIET_MS, null, { signal: waiting.signal, ref: false }).catch(() => null);
    const state = await Promise.race([lanes.quiesce(), late]).finally(() => waiting.abort());
    if (state !== null) return state;
    lanes.resume(false);
    throw new CaissonError('CHECKPOINT_FAILED', { detail: `pid 1 was not quiet within ${QUIET_MS} ms` });
  }

  async #confineIfGreedy(): Promise<void> {
    const { cores, group, spec: { limits } } = this.#parts;
    const periods = await throttledPeriods(group);
    this.#throttled = { periods, checks: periods > this.#throttled.periods ? this.#throttled.checks + 1 : 0 };
    const paidFor = Math.ceil(limits.cpuMillis / 1000);
    if (this.#throttled.checks < GREEDY_CHECKS || paidFor >= cores.count || this.#closing !== undefined) return;
    this.#confinedTo = cores.take(paidFor);
    await confineTo(group, this.#confinedTo);
  }

  dial(port: number, events: ExecEvents): Exec {
    return this.#parts.lanes.dial(port, events);
  }

  async pause(): Promise<void> {
    await this.#saving?.catch(() => undefined); // what is frozen cannot be saved
    await this.#parts.hold.stop(() => this.#closing !== undefined);
    this.#paused = true;
    for (const { wall } of this.#watched.values()) wall.stop();
  }

  async resume(): Promise<void> {
    await this.#parts.hold.go();
    this.#paused = false;
    for (const { wall } of this.#watched.values()) wall.go();
  }

  usage(): Promise<LiveUsage> {
    return readLiveUsage(this.#parts.group);
  }

  close(): Promise<Usage> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #killAll(): Promise<void> {
    if (this.#parts.groupEndsWithPid1 === true) this.#usedBefore = most(await readUsage(this.#parts.group), this.#usedBefore);
    await killAll(this.#parts.group);
  }

  async #close(): Promise<Usage> {
    await this.#killAll();
    const [read, work] = await Promise.all([readUsage(this.#parts.group), readWork(this.#parts.group)]);
    const usage = { ...most(read, this.#usedBefore), counts: { ...this.#parts.lanes.programs, ...work } };
    if (this.#confinedTo !== undefined) this.#parts.cores.give(this.#confinedTo);
    this.#parts.lanes.destroy();
    await this.#parts.lanes.gone;
    this.#parts.release();
    return usage;
  }
}

/** Nothing that is counted ever falls, so the larger number is the later one. */
function most(usage: Usage, before: Usage | undefined): Usage {
  if (before === undefined) return usage;
  const larger = (name: Exclude<keyof Usage, 'counts'>): number | null => (usage[name] === null ? before[name] : Math.max(usage[name], before[name] ?? 0));
  return { cpuMs: larger('cpuMs'), memoryPeakBytes: larger('memoryPeakBytes'), pidsPeak: larger('pidsPeak'), oomKills: larger('oomKills') };
}

/** Killing everything is what ends an expired exec, and this says why; a program that was quicker ended by itself. */
function timedOut(report: ExecReport, limit: 'wall' | 'cpu'): ExecReport {
  const { end } = report;
  const killed = end.kind === 'lost' || (end.kind === 'signaled' && end.signal === SIGKILL) || (end.kind === 'exited' && end.code === 128 + SIGKILL);
  return killed ? { ...report, end: { kind: 'timed-out', limit } } : report;
}

/** What an exec has left of its limits. A connection has none. */
function left(watched: Watched | undefined, usedMs: number | null): Omit<SavedExec, 'lane'> {
  if (watched === undefined) return { memo: '', hasOwnLimits: true, wallLeftMs: 0, cpuLeftMs: null };
  const { memo, hasOwnLimits, wall, cpuMs, cpuMostMs } = watched;
  const cpuLeftMs = cpuMostMs === null || usedMs === null ? cpuMs : Math.max(0, Math.round(cpuMostMs - usedMs));
  return { memo, hasOwnLimits, wallLeftMs: Math.max(0, Math.round(wall.leftMs)), cpuLeftMs };
}
