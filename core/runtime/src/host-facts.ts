import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { readFile, stat, statfs } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { delimiter } from 'node:path';
import { promisify } from 'node:util';
import type { HostFacts, Level, RuntimeFacts } from '@caisson/contract';
import { CGROUP_ROOT, exists } from './cgroup.ts';
import { DIALECTS, type Dialect } from './dialect.ts';
import { gatePlace } from './gate-link.ts';
import { probeDocker, type DockerProbe } from './docker-facts.ts';

const run = promisify(execFile);

export interface HostProbe {
  /** Folders searched for runtimes after those of PATH. */
  readonly extraPath: readonly string[];
  /** The compiled pid 1: `init --host-facts` reports what only a system call tells. */
  readonly initBinary: string;
  /** Names of runtimes to leave out. */
  readonly without: readonly string[];
  /** Where a Docker daemon is, as DOCKER_HOST says it. Default: where Debian has it. */
  readonly dockerHost?: string | undefined;
  /** File in which the supervisor says where the namespace of the gate is. Default: there is none. */
  readonly gateNamespace?: string | undefined;
}

/** Measures the host once, at start. What cannot be found out counts as absent. */
export async function probeHost(probe: HostProbe): Promise<HostFacts> {
  const cgroup = await probeCgroup();
  const own = await kernelFacts(probe.initBinary);
  const [programs, docker] = await Promise.all([
    Promise.all(DIALECTS.filter(({ name }) => !probe.without.includes(name)).map((dialect) => probeRuntime(dialect, probe.extraPath))),
    probe.without.includes('docker') ? null : probeDocker({ dockerHost: probe.dockerHost, cgroup }),
  ]);
  const runtimes = [...programs.filter((found) => found !== null), ...(docker !== null && 'facts' in docker ? [docker.facts] : [])];
  return {
    kernel: release(),
    arch: arch(),
    rootless: process.getuid?.() !== 0,
    cgroup,
    swapBytes: await swapBytes(),
    userNamespaces: Number((await text('/proc/sys/user/max_user_namespaces')) ?? 0),
    seccomp: own.seccomp,
    landlockAbi: own.landlockAbi,
    runtimes,
    missing: await missingLevels(runtimes, docker, probe),
    noGate: await noGate(probe.gateNamespace),
  };
}

async function noGate(file: string | undefined): Promise<HostFacts['noGate']> {
  const place = file === undefined ? { problem: 'there is no gate' } : await gatePlace(file);
  return 'problem' in place ? { what: place.problem, how: 'start Caisson as root with nftables installed, on a kernel with nft_tproxy, nft_fib and nfnetlink_log' } : null;
}

async function text(path: string): Promise<string | null> {
  return readFile(path, 'utf8').then((content) => content.trim(), () => null);
}

async function swapBytes(): Promise<number> {
  const lines = ((await text('/proc/swaps')) ?? '').split('\n').slice(1);
  return lines.reduce((sum, line) => sum + 1024 * Number(line.split(/\s+/)[2] ?? 0), 0);
}

const CGROUP2_MAGIC = 0x63677270;

async function probeCgroup(): Promise<HostFacts['cgroup']> {
  const magic = await statfs(CGROUP_ROOT).then(({ type }) => type, () => 0);
  if (magic === CGROUP2_MAGIC) {
    const controllers = ((await text(`${CGROUP_ROOT}/cgroup.controllers`)) ?? '').split(' ').filter((name) => name !== '');
    return { mode: 'v2', writable: writable(CGROUP_ROOT), controllers, swapAccounting: controllers.includes('memory') };
  }
  const controllers: string[] = [];
  for (const name of ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids', 'systemd']) {
    if (await exists(`${CGROUP_ROOT}/${name}/cgroup.procs`)) controllers.push(name);
  }
  if (controllers.length === 0) return { mode: 'none', writable: false, controllers, swapAccounting: false };
  const hybrid = await exists(`${CGROUP_ROOT}/unified/cgroup.procs`);
  return {
    mode: hybrid ? 'hybrid' : 'v1',
    writable: writable(`${CGROUP_ROOT}/memory`),
    controllers,
    swapAccounting: await exists(`${CGROUP_ROOT}/memory/memory.memsw.limit_in_bytes`),
  };
}

/** Root bypasses modes but not a read-only mount, which access(2) reports. */
function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function kernelFacts(initBinary: string): Promise<{ landlockAbi: number; seccomp: boolean }> {
  const { stdout } = await run(initBinary, ['--host-facts']).catch(() => ({ stdout: '' }));
  return {
    landlockAbi: Number(/^landlock=(\d+)$/m.exec(stdout)?.[1] ?? 0),
    seccomp: /^seccomp=1$/m.test(stdout),
  };
}

async function findProgram(name: string, extraPath: readonly string[]): Promise<string | null> {
  const folders = [...extraPath, ...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const path = `${folder}/${name}`;
    const found = await stat(path).catch(() => null);
    if (folder !== '' && found?.isFile() === true && (found.mode & 0o111) !== 0) return path;
  }
  return null;
}

async function probeRuntime(dialect: Dialect, extraPath: readonly string[]): Promise<RuntimeFacts | null> {
  const path = await findProgram(dialect.name, extraPath);
  if (path === null) return null;
  const { stdout } = await run(path, ['--version']).catch(() => ({ stdout: '' }));
  const version = dialect.version(stdout);
  if (version === null) return null;
  const { name, guestKernel, checkpoint, typicalLaunchMs } = dialect;
  return { name, path, version, guestKernel, checkpoint, controlChannel: true, typicalLaunchMs, userInside: 'spec', mountsWorkspaces: true, mountsImages: true, networks: true, mountsSecrets: process.getuid?.() === 0 };
}

async function missingLevels(runtimes: readonly RuntimeFacts[], docker: DockerProbe | null, probe: HostProbe): Promise<HostFacts['missing']> {
  const has = (guestKernel: RuntimeFacts['guestKernel']): boolean => runtimes.some((runtime) => runtime.guestKernel === guestKernel);
  const building = await Promise.all(probe.extraPath.map((folder) => exists(`${folder}/runsc.building`)));
  const missing: Record<Level, { what: string; how: string } | null> = {
    container: has('host') ? null : noContainer(docker),
    gvisor: has('own') ? null : { what: 'no runsc of 2025 or newer was found', how: 'install Go 1.26.3 or newer and start ./caisson again, or put a current runsc on PATH' },
    microvm: { what: 'no microVM driver exists yet', how: 'use --level gvisor, the strongest level that Caisson delivers today' },
  };
  if (missing.gvisor !== null && building.includes(true)) {
    missing.gvisor = { what: 'gVisor is being built', how: 'wait until the build is done (about a minute) and try again' };
  }
  return missing;
}

function noContainer(docker: DockerProbe | null): { readonly what: string; readonly how: string } {
  const [what, how] = ['neither crun nor runc is installed', 'apt-get install crun'];
  return docker === null || !('lack' in docker) ? { what, how } : { what: `${what}, and ${docker.lack.what}`, how: `${how}, or ${docker.lack.how}` };
}
