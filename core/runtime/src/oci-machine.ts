import { setTimeout as delay } from 'node:timers/promises';
import type { Limits, Usage } from '@caisson/contract';
import { killAll, readCpuMs, readUsage, type Cgroup } from './cgroup.ts';
import { confineTo, throttledPeriods, type Cores } from './cores.ts';
import type { Exec, ExecEvents, ExecReport, Machine, ProcessSpec } from './driver.ts';
import type { Hello } from './hello.ts';
import type { Lanes } from './lanes.ts';

/** How often the CPU time of a sandbox is read. */
const CPU_CHECK_MS = 100;
const SIGKILL = 9;
/** Checks in a row that find a sandbox throttled before it is confined: a short burst is nobody's harm. */
const GREEDY_CHECKS = 3;

export interface OciMachineParts {
  readonly runtime: string;
  readonly hello: Hello;
  readonly lanes: Lanes;
  readonly group: Cgroup;
  readonly limits: Limits;
  /** The processors of the host, shared by all sandboxes of the launcher. */
  readonly cores: Cores;
  /** Starts the clean-up of files and cgroups, once. */
  release(): void;
}

/** A sandbox that an OCI runtime started. Time limits are enforced here, outside it and next to the kernel. */
export class OciMachine implements Machine {
  readonly runtime: string;
  readonly hello: Hello;
  readonly #parts: OciMachineParts;
  #cpuUsedUp = false;
  #closing: Promise<Usage> | undefined;
  #confinedTo: readonly number[] | undefined;
  #throttled = { periods: 0, checks: 0 };

  constructor(parts: OciMachineParts) {
    this.runtime = parts.runtime;
    this.hello = parts.hello;
    this.#parts = parts;
  }

  spawn(command: ProcessSpec, events: ExecEvents): Exec {
    const exec = this.#parts.lanes.spawn(command, events);
    const over = new AbortController();
    let wallUsedUp = false;
    const wall = setTimeout(() => {
      wallUsedUp = true;
      void killAll(this.#parts.group);
    }, this.#parts.limits.wallMs);
    void this.#watchCpu(over.signal);
    const done = exec.done.then((report) => {
      clearTimeout(wall);
      over.abort();
      if (wallUsedUp) return timedOut(report, 'wall');
      return this.#cpuUsedUp ? timedOut(report, 'cpu') : report;
    });
    return { ...exec, done };
  }

  async #watchCpu(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await delay(CPU_CHECK_MS, undefined, { signal: over, ref: false }).catch(() => undefined);
      if (over.aborted) return;
      const usedMs = await readCpuMs(this.#parts.group);
      if (usedMs !== null && usedMs > this.#parts.limits.cpuMs) return this.#stopForCpu();
      if (this.#confinedTo === undefined) await this.#confineIfGreedy();
    }
  }

  async #confineIfGreedy(): Promise<void> {
    const { cores, group, limits } = this.#parts;
    const periods = await throttledPeriods(group);
    this.#throttled = { periods, checks: periods > this.#throttled.periods ? this.#throttled.checks + 1 : 0 };
    const paidFor = Math.ceil(limits.cpuMillis / 1000);
    if (this.#throttled.checks < GREEDY_CHECKS || paidFor >= cores.count || this.#closing !== undefined) return;
    this.#confinedTo = cores.take(paidFor);
    await confineTo(group, this.#confinedTo);
  }

  /** CPU time is the sandbox's as a whole, and so is its end. */
  async #stopForCpu(): Promise<void> {
    this.#cpuUsedUp = true;
    await killAll(this.#parts.group);
  }

  close(): Promise<Usage> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<Usage> {
    await killAll(this.#parts.group);
    const usage = await readUsage(this.#parts.group);
    if (this.#confinedTo !== undefined) this.#parts.cores.give(this.#confinedTo);
    this.#parts.lanes.destroy();
    await this.#parts.lanes.gone;
    this.#parts.release();
    return usage;
  }
}

/** Killing everything is what ends an expired exec, and this says why; a program that was quicker ended by itself. */
function timedOut(report: ExecReport, limit: 'wall' | 'cpu'): ExecReport {
  const { end } = report;
  const killed = end.kind === 'lost' || (end.kind === 'signaled' && end.signal === SIGKILL) || (end.kind === 'exited' && end.code === 128 + SIGKILL);
  return killed ? { ...report, end: { kind: 'timed-out', limit } } : report;
}
