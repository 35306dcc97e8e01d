import { mkdirSync } from 'node:fs';
import { access, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type Counts, type HostFacts, type LiveUsage, type Usage } from '@caisson/contract';

/** Where the kernel keeps one sandbox's control group: one folder under v2, one per controller under v1. */
export interface Cgroup {
  readonly folders: readonly string[];
  /** Under v1, where crun makes a plain folder too when the `unified` mount is hidden from it. */
  readonly shadow: string | null;
  readonly mode: HostFacts['cgroup']['mode'];
  readonly path: string;
  readonly root: string;
}

export const CGROUP_ROOT = '/sys/fs/cgroup';

/** @param path Absolute within the hierarchy, such as `/caisson/x/sbx-…`. */
export function cgroupAt(path: string, host: HostFacts['cgroup'], root: string = CGROUP_ROOT): Cgroup {
  const roots = host.mode === 'v2' ? [root] : host.controllers.map((controller) => `${root}/${controller}`);
  const shadow = host.mode === 'v2' ? null : `${root}/unified${path}`;
  return { folders: roots.map((folder) => `${folder}${path}`), shadow, mode: host.mode, path, root };
}

async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d+\s*$/.test(text) ? Number(text) : null;
}

function field(text: string | null, name: string): number | null {
  const match = text === null ? null : new RegExp(`^${name} (\\d+)$`, 'm').exec(text);
  return match === null ? null : Number(match[1]);
}

/** Reads what the group has used. Fields that this kernel does not keep are null. */
export async function readUsage(group: Cgroup): Promise<Usage> {
  const at = (controller: string, file: string): Promise<string | null> =>
    readText(group.mode === 'v2' ? `${group.root}${group.path}/${file}` : `${group.root}/${controller}${group.path}/${file}`);
  if (group.mode === 'v2') {
    const cpuUs = field(await at('', 'cpu.stat'), 'usage_usec');
    return {
      cpuMs: cpuUs === null ? null : Math.round(cpuUs / 1000),
      memoryPeakBytes: wholeNumber(await at('', 'memory.peak')),
      pidsPeak: wholeNumber(await at('', 'pids.peak')),
      oomKills: field(await at('', 'memory.events'), 'oom_kill'),
    };
  }
  const cpuNs = wholeNumber(await at('cpuacct', 'cpuacct.usage'));
  return {
    cpuMs: cpuNs === null ? null : Math.round(cpuNs / 1e6),
    memoryPeakBytes: wholeNumber(await at('memory', 'memory.max_usage_in_bytes')),
    pidsPeak: wholeNumber(await at('pids', 'pids.peak')),
    oomKills: field(await at('memory', 'memory.oom_control'), 'oom_kill'),
  };
}

/** What the group has used of processors and block devices, to the smallest unit that the kernel counts. */
export async function readWork({ mode, root, path }: Cgroup): Promise<Pick<Counts, 'cpuUs' | 'readBytes' | 'writtenBytes'>> {
  if (mode === 'v2') {
    const [cpu, io] = await Promise.all([readText(`${root}${path}/cpu.stat`), readText(`${root}${path}/io.stat`)]);
    return { cpuUs: field(cpu, 'usage_usec'), readBytes: sumOf(io, /\brbytes=(\d+)/g), writtenBytes: sumOf(io, /\bwbytes=(\d+)/g) };
  }
  const [cpu, io] = await Promise.all([readText(`${root}/cpuacct${path}/cpuacct.usage`), readText(`${root}/blkio${path}/blkio.throttle.io_service_bytes`)]);
  const cpuNs = wholeNumber(cpu);
  return { cpuUs: cpuNs === null ? null : Math.round(cpuNs / 1000), readBytes: sumOf(io, / Read (\d+)/g), writtenBytes: sumOf(io, / Write (\d+)/g) };
}

/** Null: there is no such file. */
function sumOf(text: string | null, pattern: RegExp): number | null {
  return text === null ? null : [...text.matchAll(pattern)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What the group uses now and has used at most. */
export async function readLiveUsage(group: Cgroup): Promise<LiveUsage> {
  const v2 = group.mode === 'v2';
  const now = async (controller: string, v1File: string, v2File: string): Promise<number | null> =>
    wholeNumber(await readText(v2 ? `${group.root}${group.path}/${v2File}` : `${group.root}/${controller}${group.path}/${v1File}`));
  const [used, memoryBytes, pids] = await Promise.all([
    readUsage(group),
    now('memory', 'memory.usage_in_bytes', 'memory.current'),
    now('pids', 'pids.current', 'pids.current'),
  ]);
  return { ...used, memoryBytes, pids };
}

/** Where the group is frozen, what to write there, and what it then says. */
function freezer({ mode, root, path }: Cgroup, frozen: boolean): { readonly write: string; readonly value: string; readonly read: string; readonly done: RegExp } {
  if (mode === 'v2') {
    const value = frozen ? '1' : '0';
    return { write: `${root}${path}/cgroup.freeze`, value, read: `${root}${path}/cgroup.events`, done: new RegExp(`^frozen ${value}$`, 'm') };
  }
  const value = frozen ? 'FROZEN' : 'THAWED';
  return { write: `${root}/freezer${path}/freezer.state`, value, read: `${root}/freezer${path}/freezer.state`, done: new RegExp(`^${value}\\s*$`) };
}

const FREEZE_MS = 5_000;

/**
 * Stops every process of the group and resolves when all have stopped.
 *
 * @param over what is being ended is not frozen
 * @throws CaissonError HOST_LACKS_CGROUP where there is no freezer; the group runs on then.
 */
export async function freeze(group: Cgroup, over: () => boolean = () => false): Promise<void> {
  const { write, value, read, done } = freezer(group, true);
  for (const until = Date.now() + FREEZE_MS; ; await delay(2)) {
    if (over()) throw new CaissonError('SANDBOX_LOST', { detail: 'it is being closed' });
    // cgroup v1 stays at FREEZING while a process keeps forking, and asks to be told again (freezer-subsystem.rst).
    const told = await writeFile(write, value, { flag: 'r+' }).then(() => true, () => false);
    if (told && done.test((await readText(read)) ?? '')) return;
    if (told && Date.now() < until) continue;
    await thaw(group).catch(() => undefined);
    throw new CaissonError('HOST_LACKS_CGROUP', { missing: told ? 'the sandbox did not stop within 5 s' : 'no freezer controller' });
  }
}

export async function thaw(group: Cgroup): Promise<void> {
  const { write, value } = freezer(group, false);
  await writeFile(write, value, { flag: 'r+' });
}

/** CPU time used so far, in milliseconds; null when the group is gone. */
export async function readCpuMs(group: Cgroup): Promise<number | null> {
  return (await readUsage(group)).cpuMs;
}

async function members(group: Cgroup): Promise<readonly number[]> {
  const lists = await Promise.all(group.folders.map((folder) => readText(`${folder}/cgroup.procs`)));
  // The kernel writes 0 for a process of another pid namespace, and to kill(2) that is the caller's own group.
  const pids = lists.flatMap((list) => (list ?? '').split('\n')).map(Number).filter((pid) => pid > 0);
  return [...new Set(pids)];
}

/**
 * Kills every process of the group and resolves when none is left. A process that the group lists is in it now, so
 * no pid from an older reading is ever signalled.
 *
 * @returns false when processes are still there after `patienceMs`.
 */
export async function killAll(group: Cgroup, patienceMs = 5_000): Promise<boolean> {
  const until = Date.now() + patienceMs;
  for (let pauseMs = 0; ; pauseMs = Math.min(pauseMs + 1, 20)) {
    const pids = await members(group);
    if (pids.length === 0) return true;
    if (Date.now() > until) return false;
    if (group.mode === 'v2') await writeFile(`${group.folders[0]}/cgroup.kill`, '1').catch(() => undefined);
    for (const pid of pids) signalIfAlive(pid);
    if (pauseMs === 0) await liftCpuQuota(group);
    await thaw(group).catch(() => undefined); // under v1 what is frozen does not end, and a pause may be under way
    await delay(pauseMs);
  }
}

/** Giving memory back takes CPU time, and under a small quota seconds of it: what has been killed may have all it needs. */
async function liftCpuQuota({ mode, root, path }: Cgroup): Promise<void> {
  const [file, none] = mode === 'v2' ? [`${root}${path}/cpu.max`, 'max'] : [`${root}/cpu${path}/cpu.cfs_quota_us`, '-1'];
  await writeFile(file, none, { flag: 'r+' }).catch(() => undefined);
}

function signalIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // gone already
  }
}

/** Removes the group's folders. A folder is busy for a moment after its last process has ended. */
export async function removeCgroup({ folders, shadow }: Cgroup): Promise<void> {
  // A plain folder holds a plain file, which no rmdir would pass; in a real hierarchy that file cannot be removed.
  if (shadow !== null) await rm(`${shadow}/cgroup.procs`, { force: true }).catch(() => undefined);
  for (const folder of shadow === null ? folders : [...folders, shadow]) {
    for (let attempt = 0; attempt < 50; attempt++) {
      if (await rmdir(folder).then(() => true, (error: NodeJS.ErrnoException) => error.code === 'ENOENT')) break;
      await delay(2 * attempt);
    }
  }
}

/**
 * Makes the folders in which an instance's sandboxes get theirs. They keep those above from being taken for unused by
 * another instance. Where they cannot be made, limits cannot be enforced, and every call is refused for that.
 */
export function makeCgroupParent({ folders }: Cgroup): void {
  try {
    for (const folder of folders) mkdirSync(folder, { recursive: true });
  } catch {
    // not writable
  }
}

/** Removes an instance's folders, and those above them, as far as nothing is in them. */
export async function removeCgroupParent({ folders, shadow, path }: Cgroup): Promise<void> {
  for (const folder of shadow === null ? folders : [...folders, shadow]) {
    const top = folder.length - path.length;
    for (let at = folder; at.length > top; at = at.slice(0, at.lastIndexOf('/'))) {
      const removed = await rmdir(at).then(() => true, (error: NodeJS.ErrnoException) => error.code === 'ENOENT');
      if (!removed) break;
    }
  }
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}

/**
 * Moves this process to the control group that it is in. The kernel waits for a grace period of 8–20 ms before the
 * first move of a quiet machine and for none soon after: what is about to start a sandbox has the wait behind it then.
 */
export async function stirCgroups(): Promise<void> {
  const own = /^\d+:(freezer)?:(\/.*)$/m.exec((await readText('/proc/self/cgroup')) ?? '');
  if (own === null) return;
  const [, controller, path = '/'] = own;
  await writeFile(`${CGROUP_ROOT}${controller === undefined ? '' : `/${controller}`}${path}/cgroup.procs`, String(process.pid), { flag: 'r+' }).catch(() => undefined);
}
