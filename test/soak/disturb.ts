import { globSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId } from '@caisson/contract';
import { kill } from '../faults/given.ts';
import type { Caisson } from '../harness.ts';
import type { Model } from './model.ts';

export const DISTURBANCES = ['control', 'control', 'control', 'launcher', 'scribe', 'scribe', 'pid 1', 'pid 1'] as const;
export type Disturbance = (typeof DISTURBANCES)[number];

/** What is told of a group or a process that ends while it is looked at. */
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ENODEV', 'ESRCH']);

export interface Disturbed {
  readonly kind: Disturbance;
  /** Sandboxes that end by it. */
  readonly ends: readonly string[];
}

interface Moment {
  readonly random: () => number;
  readonly afterMs: number;
  /** Sandboxes that may be paused meanwhile, where a kill reaches a frozen process when it goes on, or restored, where another pid 1 takes over. */
  readonly spared: ReadonlySet<string>;
}

/** Kills something in a moment. Resolves to what that ends. */
export async function disturb(caisson: Caisson, model: Model, kind: Disturbance, { random, afterMs, spared }: Moment): Promise<Disturbed> {
  const all = [...model.boxes.keys()];
  const fresh = [...model.boxes.values()].filter(({ restored, state, sandbox }) => !restored && state === 'running' && !spared.has(sandbox.id)).map(({ sandbox }) => sandbox.id);
  const victim = fresh[Math.floor(random() * fresh.length)];
  await delay(afterMs);
  if (kind !== 'pid 1') {
    await kill(caisson, kind);
    return { kind, ends: kind === 'launcher' ? all : [] };
  }
  return { kind, ends: victim !== undefined && killFirst(caisson, victim) ? [victim] : [] };
}

/** Kills pid 1 of a sandbox from outside: ours, or the kernel of gVisor. */
function killFirst(caisson: Caisson, sandbox: string): boolean {
  const lists = globSync([`/sys/fs/cgroup/pids/caisson/${instanceId(caisson.dir)}/${sandbox}/cgroup.procs`, `/sys/fs/cgroup/caisson/${instanceId(caisson.dir)}/${sandbox}/cgroup.procs`]);
  try {
    const pids = lists.flatMap((path) => readFileSync(path, 'utf8').trim().split('\n'));
    const first = pids.find((pid) => isFirst(pid));
    if (first === undefined) return false;
    process.kill(Number(first), 'SIGKILL');
    return true;
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

function isFirst(pid: string): boolean {
  try {
    return /^(?:\/\.caisson\/init|runsc-sandbox)/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  } catch {
    return false;
  }
}
