import { globSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId, type StatePaths } from '@caisson/contract';
import { processUids, uidBase } from '@caisson/runtime';
import { knownTo, type Known } from './known.ts';

const SANDBOX = /sbx-[0-9a-z]{16}/;
const WORKSPACE = /wsp-[0-9a-z]{16}/;

/** Everything of an instance's sandboxes that can be found on the host and that the instance does not know of, one line each. */
function leftovers(paths: StatePaths, known: Known): readonly string[] {
  const instance = instanceId(paths.dir);
  const groups = globSync([`/sys/fs/cgroup/*/caisson/${instance}/sbx-*`, `/sys/fs/cgroup/caisson/${instance}/sbx-*`]);
  const bundles = list(paths.sandboxes).map((name) => `${paths.sandboxes}/${name}`);
  const states = list(paths.runtimes).flatMap((runtime) => list(`${paths.runtimes}/${runtime}`).filter((name) => name.includes('sbx-')));
  const journals = list(paths.journals).map((name) => `journals/${name}`).filter((path) => !known.remembered.has(SANDBOX.exec(path)?.[0] ?? ''));
  const mounts = readText('/proc/self/mounts').split('\n').filter((line) => line.includes(paths.run));
  const told = known.live.size === 0 ? list(paths.denials).map((name) => `denials/${name}`) : [];
  const named = [...groups, ...bundles, ...states, ...mounts].filter((line) => !known.live.has(SANDBOX.exec(line)?.[0] ?? ''));
  return [...named, ...told, ...journals, ...held(paths, known), ...sandboxProcesses(instance, known), ...runtimeProcesses(paths, known), ...known.astray];
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Mounts of secrets, and mounts, loop devices and images of workspaces, that no sandbox has. */
function held(paths: StatePaths, known: Known): readonly string[] {
  const inUse = (text: string): boolean => known.attached.has(WORKSPACE.exec(text)?.[0] ?? '');
  const own = known.launcher === null ? [] : readText(`/proc/${known.launcher}/mounts`).split('\n');
  const mounts = own.filter((line) => line.includes(`${paths.mounts}/`) && !inUse(line));
  const loops = globSync('/sys/block/loop*/loop/backing_file')
    .map((path) => `${path.split('/')[3] ?? ''} ${readText(path).trim()}`)
    .filter((line) => line.includes(`${paths.workspaces}/`) && !inUse(line) && !(known.launcher !== null && line.endsWith('/pool.img')));
  const images = known.launcher === null ? [] : list(`/proc/${known.launcher}/root${paths.workspaces}/pool/images`);
  const unnamed = images.filter((image) => !known.stored.has(image.split('.')[0] ?? '')).map((image) => `image ${image} of no workspace and no snapshot`);
  const secrets = own.filter((line) => line.includes(`${paths.sandboxes}/`) && line.includes('/secrets ') && !known.live.has(SANDBOX.exec(line)?.[0] ?? ''));
  return [...mounts, ...secrets, ...loops, ...unnamed];
}

const processes = (): readonly string[] => list('/proc').filter((name) => /^\d+$/.test(name));

/** Whether a process is of a sandbox that is known, or serves the files of its workspace. */
function isKnown(pid: string, known: Known): boolean {
  if (known.live.has(SANDBOX.exec(readText(`/proc/${pid}/cgroup`))?.[0] ?? '')) return true;
  const command = readText(`/proc/${pid}/cmdline`);
  return known.live.has(SANDBOX.exec(command)?.[0] ?? '') || (command.includes('caisson-files') && known.attached.has(WORKSPACE.exec(command)?.[0] ?? ''));
}

/** Processes whose uid belongs to a sandbox of the instance. */
function sandboxProcesses(instance: string, known: Known): readonly string[] {
  const base = uidBase(instance);
  const own = Object.values(processUids(instance));
  const found: string[] = [];
  for (const pid of processes()) {
    const status = readText(`/proc/${pid}/status`);
    const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? -1);
    if (uid < base || uid >= base + 131_072 || own.includes(uid) || isKnown(pid, known)) continue;
    found.push(`process ${pid} ${/^Name:\s+(.*)$/m.exec(status)?.[1] ?? ''} ${/^State:\s+(.*)$/m.exec(status)?.[1] ?? ''} uid ${uid}`);
  }
  return found;
}

/** Every process of gVisor that serves a bundle of the instance, whatever its uid. */
function runtimeProcesses(paths: StatePaths, known: Known): readonly string[] {
  return processes()
    .map((pid) => ({ pid, command: readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ') }))
    .filter(({ command }) => command.includes(paths.runtimes) || command.includes(`${paths.sandboxes}/`))
    .filter(({ pid }) => !isKnown(pid, known))
    .map(({ pid, command }) => `process ${pid} ${command.slice(0, 120)}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until nothing is left; returns what still is when patience ends. What the instance keeps is not left over. */
export async function settledLeftovers(paths: StatePaths, patienceMs = 10_000): Promise<readonly string[]> {
  const until = Date.now() + patienceMs;
  for (;;) {
    const left = leftovers(paths, await knownTo(paths));
    if (left.length === 0 || Date.now() > until) return left;
    await delay(50);
  }
}
