import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { Cgroup } from './cgroup.ts';

/**
 * The processors that greedy sandboxes are confined to. A sandbox that uses up its share of CPU time with many threads
 * takes it in bursts on every processor, and slows neighbours there although it gets no more than its share. Confined to
 * as many processors as its share pays for, it loses nothing, and the scheduler moves its neighbours out of its way.
 */
export class Cores {
  readonly #confined = new Map<number, number>();

  constructor(processors: readonly number[]) {
    for (const processor of processors) this.#confined.set(processor, 0);
  }

  get count(): number {
    return this.#confined.size;
  }

  /** Takes those that the fewest others are confined to. */
  take(count: number): readonly number[] {
    const chosen = [...this.#confined].toSorted((a, b) => a[1] - b[1]).slice(0, count).map(([processor]) => processor);
    for (const processor of chosen) this.#confined.set(processor, (this.#confined.get(processor) ?? 0) + 1);
    return chosen;
  }

  give(processors: readonly number[]): void {
    for (const processor of processors) this.#confined.set(processor, (this.#confined.get(processor) ?? 1) - 1);
  }
}

/** The processors that are online: the kernel's list format, such as `0-3,6`. */
export function onlineProcessors(list: string = readFileSync('/sys/devices/system/cpu/online', 'utf8')): readonly number[] {
  return list.trim().split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** Periods in which the group was throttled so far; 0 when it is gone. */
export async function throttledPeriods({ mode, root, path }: Cgroup): Promise<number> {
  const text = await readFile(mode === 'v2' ? `${root}${path}/cpu.stat` : `${root}/cpu${path}/cpu.stat`, 'utf8').catch(() => '');
  return Number(/^nr_throttled (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Resolves to false where the group has no cpuset of its own, as under cgroup v2 without that controller. */
export async function confineTo({ mode, root, path }: Cgroup, processors: readonly number[]): Promise<boolean> {
  const file = mode === 'v2' ? `${root}${path}/cpuset.cpus` : `${root}/cpuset${path}/cpuset.cpus`;
  return writeFile(file, processors.join(','), { flag: 'r+' }).then(() => true, () => false);
}
