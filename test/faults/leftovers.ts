import { globSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId, type StatePaths } from '@caisson/contract';
import { processUids, uidBase } from '@caisson/runtime';

/** Everything of an instance's sandboxes that can be found on the host, one line each. */
function leftovers(paths: StatePaths): readonly string[] {
  const instance = instanceId(paths.dir);
  const groups = globSync([`/sys/fs/cgroup/*/caisson/${instance}/sbx-*`, `/sys/fs/cgroup/caisson/${instance}/sbx-*`]);
  const bundles = list(paths.sandboxes).map((name) => `${paths.sandboxes}/${name}`);
  const states = list(paths.runtimes).flatMap((runtime) => list(`${paths.runtimes}/${runtime}`).filter((name) => name.includes('sbx-')));
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').filter((line) => line.includes(paths.run));
  return [...groups, ...bundles, ...states, ...mounts, ...sandboxProcesses(instance)];
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Processes whose uid belongs to a sandbox of the instance. */
function sandboxProcesses(instance: string): readonly string[] {
  const base = uidBase(instance);
  const own = processUids(instance);
  const found: string[] = [];
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    const status = readText(`/proc/${pid}/status`);
    const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? -1);
    if (uid < base || uid >= base + 131_072 || uid === own.control || uid === own.scribe) continue;
    found.push(`process ${pid} ${/^Name:\s+(.*)$/m.exec(status)?.[1] ?? ''} ${/^State:\s+(.*)$/m.exec(status)?.[1] ?? ''} uid ${uid}`);
  }
  return found;
}

/** Every process of gVisor that serves a bundle of the instance, whatever its uid. */
function runtimeProcesses(paths: StatePaths): readonly string[] {
  return list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid, command: readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ') }))
    .filter(({ command }) => command.includes(paths.runtimes) || command.includes(`${paths.sandboxes}/`))
    .map(({ pid, command }) => `process ${pid} ${command.slice(0, 120)}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until nothing is left; returns what still is when patience ends. */
export async function settledLeftovers(paths: StatePaths, patienceMs = 10_000): Promise<readonly string[]> {
  const until = Date.now() + patienceMs;
  for (;;) {
    const left = [...leftovers(paths), ...runtimeProcesses(paths)];
    if (left.length === 0 || Date.now() > until) return left;
    await delay(50);
  }
}
