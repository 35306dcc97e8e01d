import { stat } from 'node:fs/promises';
import { release } from 'node:os';
import type { HostFacts, RuntimeFacts } from '@caisson/contract';
import { z } from 'zod';
import { Engine, ENGINE_API } from './engine.ts';

/** A Docker daemon of this host: what it can do, or why no sandbox is given to it. */
export type DockerProbe =
  | { readonly facts: RuntimeFacts }
  | { readonly lack: { readonly what: string; readonly how: string } };

const DEFAULT_SOCKET = '/var/run/docker.sock';
const PROBE_MS = 300;
const TYPICAL_LAUNCH_MS = 250;

const Version = z.object({ ApiVersion: z.string(), MinAPIVersion: z.string(), Version: z.string(), Os: z.string(), KernelVersion: z.string() });
const Info = z.object({
  SecurityOptions: z.array(z.string()).nullable(),
  CgroupDriver: z.string(),
  CgroupVersion: z.string(),
  Runtimes: z.record(z.string(), z.unknown()),
  MemoryLimit: z.boolean(), SwapLimit: z.boolean(), CpuCfsQuota: z.boolean(), PidsLimit: z.boolean(),
});
type Answers = z.infer<typeof Version> & z.infer<typeof Info>;

/**
 * Asks the daemon at the launcher's DOCKER_HOST, or where Debian has it. Where there is no socket this costs one look at
 * the file system. A daemon that twice does not answer within 300 ms is none; one that is only busy then is not lost until
 * the next start.
 *
 * @returns null where nobody speaks of a daemon
 */
export async function probeDocker({ dockerHost, cgroup }: { readonly dockerHost: string | undefined; readonly cgroup: HostFacts['cgroup'] }): Promise<DockerProbe | null> {
  const named = dockerHost !== undefined && dockerHost !== '';
  const path = named ? /^unix:\/\/(\/.*)$/.exec(dockerHost)?.[1] : DEFAULT_SOCKET;
  if (path === undefined) return lack(`the Docker daemon at ${dockerHost} is not behind a socket of this host`, 'set DOCKER_HOST to unix:// and an absolute path');
  const socket = await stat(path).catch(() => null);
  if (socket === null || !socket.isSocket()) return named ? lack(`there is no Docker daemon at ${path}`, 'start dockerd, or unset DOCKER_HOST') : null;
  if (process.getuid?.() !== 0) return lack('a Docker daemon is used as root only', 'run Caisson as root');
  if (socket.uid !== 0) return lack(`the Docker daemon at ${path} is not root's`, 'use a daemon that root has started');
  const answers = await ask(path).catch(() => ask(path)).catch((error: unknown) => String(error instanceof Error ? error.message : error));
  if (typeof answers === 'string') return lack(`the Docker daemon at ${path} does not answer as one does: ${answers}`, 'look at its log');
  const weak = weakness(answers, cgroup);
  if (weak !== null) return lack(`the Docker daemon at ${path} ${weak.what}`, weak.how);
  return {
    facts: {
      name: 'docker', path, version: answers.Version, guestKernel: 'host', checkpoint: false, controlChannel: true, typicalLaunchMs: TYPICAL_LAUNCH_MS,
      userInside: 'own', mountsWorkspaces: false, mountsImages: false, networks: true, mountsSecrets: false,
    },
  };
}

function lack(what: string, how: string): DockerProbe {
  return { lack: { what, how } };
}

async function ask(path: string): Promise<Answers> {
  await using engine = new Engine(path);
  const [version, info] = await Promise.all([
    engine.call({ method: 'GET', path: '/version', timeoutMs: PROBE_MS }),
    engine.call({ method: 'GET', path: '/info', timeoutMs: PROBE_MS }),
  ]);
  return { ...Version.parse(version.body), ...Info.parse(info.body) };
}

/** What makes a daemon deliver less than a sandbox promises, the most important first; null where nothing does. */
function weakness(daemon: Answers, cgroup: HostFacts['cgroup']): { readonly what: string; readonly how: string } | null {
  const options = daemon.SecurityOptions ?? [];
  const has = (name: string): boolean => options.some((option) => option.split(',').includes(`name=${name}`));
  if (!has('userns')) return { what: 'maps no ids: root inside would be root of the host', how: 'start dockerd with --userns-remap=default' };
  if (has('rootless')) return { what: 'runs rootless, in a user namespace where limits are not ours to read', how: 'use a daemon that root has started' };
  if (!has('seccomp')) return { what: 'applies no seccomp filter', how: 'use a dockerd that is built with seccomp' };
  if (daemon.Os !== 'linux' || daemon.KernelVersion !== release()) return { what: 'runs on another kernel than this host', how: 'use a daemon of this host' };
  if (!takes(daemon)) return { what: `speaks the API ${daemon.MinAPIVersion} to ${daemon.ApiVersion}, and ${ENGINE_API} is needed`, how: 'use Docker 20.10 or newer' };
  if (daemon.Runtimes['runc'] === undefined) return { what: 'has no runtime runc', how: 'use a dockerd with its own runc' };
  if (daemon.CgroupDriver !== 'cgroupfs') return { what: `leaves control groups to ${daemon.CgroupDriver}`, how: 'start dockerd with --exec-opt native.cgroupdriver=cgroupfs' };
  if ((daemon.CgroupVersion === '2') !== (cgroup.mode === 'v2')) return { what: 'sees other control groups than this host has', how: 'use a daemon of this host' };
  const limits = { memory: daemon.MemoryLimit, CPU: daemon.CpuCfsQuota, processes: daemon.PidsLimit, swap: daemon.SwapLimit || !cgroup.swapAccounting };
  const unlimited = Object.entries(limits).flatMap(([name, limited]) => (limited ? [] : [name]));
  return unlimited.length === 0 ? null : { what: `cannot limit ${unlimited.join(' and ')}`, how: 'boot a kernel whose control groups have them' };
}

function takes({ ApiVersion, MinAPIVersion }: Answers): boolean {
  return compare(MinAPIVersion, ENGINE_API) <= 0 && compare(ENGINE_API, ApiVersion) <= 0;
}

function compare(one: string, other: string): number {
  const [a, b] = [one, other].map((version) => version.split('.').map(Number));
  return ((a?.[0] ?? 0) - (b?.[0] ?? 0)) || ((a?.[1] ?? 0) - (b?.[1] ?? 0));
}
