import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statSync, globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decide, parsePolicy } from '@caisson/authority';
import { levelOf, Seccomp, type HostFacts, type IsolationSpec, type SomeLimits } from '@caisson/contract';
import { compile } from '@caisson/isolation';
import { openDrivers, prepareHostImage, probeHost, type Driver, type Drivers, type DriversGround, type GateGround, type ImageRoots } from '@caisson/runtime';

const HOME = resolve(import.meta.dirname, '../..');
const NATIVE = `${HOME}/build/native`;
const INIT = `${NATIVE}/caisson-init`;
const POLICY = `${HOME}/profiles/policies/default.json`;

export const IS_ROOT = process.getuid?.() === 0;

export function readHost(dockerHost: string | undefined = process.env['DOCKER_HOST']): Promise<HostFacts> {
  return probeHost({ extraPath: [NATIVE], initBinary: INIT, without: [], dockerHost });
}

/** The spec of a request under the shipped policy, at the level of the host's only runtime or the one named. */
export function specFor(host: HostFacts, limits: SomeLimits = {}, image: IsolationSpec['image'] = 'host', terminals = false): IsolationSpec {
  const level = host.runtimes[0] === undefined ? 'container' : levelOf(host.runtimes[0]);
  const decision = decide({ argv: ['true'], level, limits }, parsePolicy(readFileSync(POLICY, 'utf8'), POLICY));
  if (decision.effect === 'deny') throw new Error(decision.reason);
  const seccomp = Seccomp.parse(JSON.parse(readFileSync(`${HOME}/profiles/seccomp/default.json`, 'utf8')));
  const id = `sbx-${randomBytes(8).toString('hex')}`;
  const spec = compile({ id, decision, host, seccomp, image, terminals });
  if ('refused' in spec) throw new Error(spec.refused.message);
  return spec;
}

/** Everything a launcher needs, in a place and a cgroup of its own. */
export interface Ground extends AsyncDisposable {
  readonly host: HostFacts;
  readonly base: string;
  readonly cgroupParent: string;
  readonly driver: Driver;
  readonly drivers: Drivers;
}

export interface GroundOptions {
  readonly base?: string;
  readonly uidBase?: number;
  /** Changes what the driver is told before it is opened. */
  readonly facts?: (host: HostFacts) => HostFacts;
  /** Where the Docker daemon is. Default: where DOCKER_HOST says. */
  readonly dockerHost?: string;
  /** Images other than `host`. */
  readonly images?: ImageRoots;
  /** Makes links to a gate. Default: there is none. */
  readonly gate?: GateGround;
  /** The vault, for secrets that are files. Default: there is none. */
  readonly secrets?: DriversGround['secrets'];
  /** Another root than that of the image `host`. */
  readonly rootfs?: string;
  /** Another program in the place of pid 1. */
  readonly init?: { readonly text: string; readonly mode: number };
}

/** Opens the driver of one runtime as a launcher would. The place of a ground is named by its base alone. */
export async function openGround(runtime: string, { base: given, uidBase = 1_999_000_000, facts = (host) => host, dockerHost, images, gate, secrets, rootfs, init }: GroundOptions = {}): Promise<Ground> {
  const base = given ?? mkdtempSync('/run/caisson-drivers-');
  chmodSync(base, 0o711); // the uids of sandboxes pass through it to the image
  const found = await readHost(dockerHost);
  const host = facts({ ...found, runtimes: found.runtimes.filter(({ name }) => name === runtime) });
  const image = await prepareHostImage(`${base}/images`, INIT);
  if (init !== undefined) for (const path of globSync([`${base}/images/init`, `${image.rootfs}/.caisson/init`])) replace(path, init);
  const cgroupParent = `/${basename(base)}/instance`;
  const drivers = openDrivers({ image: { ...image, ...(rootfs === undefined ? {} : { rootfs }) }, sandboxes: `${base}/sandboxes`, runtimes: `${base}/runtimes`, cgroupParent, uidBase, gate, secrets, ...(images === undefined ? {} : { images }) });
  const driver = drivers.of(host).get(runtime);
  if (driver === undefined) throw new Error(`no ${runtime} on this host`);
  return {
    host, base, cgroupParent, driver, drivers,
    async [Symbol.asyncDispose]() {
      await drivers.settled();
      // gVisor keeps an empty network namespace mounted, once or twice; it ends with the mount namespace of its launcher.
      while (read('/proc/self/mounts').includes(`${base}/runtimes/runsc/null-netns`)) execFileSync('umount', [`${base}/runtimes/runsc/null-netns`]);
      if (given === undefined) rmSync(base, { recursive: true, force: true });
    },
  };
}

function replace(path: string, { text, mode }: { readonly text: string; readonly mode: number }): void {
  writeFileSync(path, text);
  chmodSync(path, mode);
}

/** What the host still holds of a ground's sandboxes. A ground that is still open keeps its own empty folders. */
export function leftOf({ base, cgroupParent, host }: Pick<Ground, 'base' | 'cgroupParent' | 'host'>): string[] {
  const instance = basename(base);
  const roots = host.cgroup.mode === 'v2' ? ['/sys/fs/cgroup'] : [...host.cgroup.controllers, 'unified'].map((name) => `/sys/fs/cgroup/${name}`);
  const cgroups = roots.flatMap((root) => globSync(`${root}${cgroupParent}/*/`));
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && (read(`/proc/${name}/cgroup`) + read(`/proc/${name}/cmdline`)).includes(instance));
  const mounts = read('/proc/self/mountinfo').split('\n').filter((line) => line.includes(base) && !line.includes('null-netns'));
  const states = globSync(`${base}/runtimes/*/*`).filter((path) => basename(path) !== 'null-netns');
  return [...cgroups, ...globSync(`${base}/sandboxes/*`), ...states, ...mounts, ...processes.map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`)}`)];
}

/** The folders of the ground itself in every cgroup hierarchy. */
export function foldersOf({ base, host }: Pick<Ground, 'base' | 'host'>): string[] {
  const roots = host.cgroup.mode === 'v2' ? ['/sys/fs/cgroup'] : [...host.cgroup.controllers, 'unified'].map((name) => `/sys/fs/cgroup/${name}`);
  return roots.flatMap((root) => globSync(`${root}/${basename(base)}`));
}

/** What every process of the host writes to must stay everybody's. */
export function devNull(): string {
  const { uid, gid, mode } = statSync('/dev/null');
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
}

export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Host pids of the processes of one sandbox. */
export function pidsOf(ground: Ground, id: string): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cgroup`).includes(`${ground.cgroupParent}/${id}`)).map(Number);
}

/**
 * Whether the tests of a file must run again in a mount namespace of their own: crun refuses hybrid cgroups unless the
 * unified mount is out of its sight, and hiding it must not touch the host.
 */
export function needsOwnMounts(): boolean {
  return IS_ROOT && process.env['CAISSON_TEST_MOUNTS'] !== 'own' && / \/sys\/fs\/cgroup\/unified cgroup2 /.test(read('/proc/self/mounts'));
}

/** Runs the file again in a mount namespace of its own; what that run reports becomes the report of this one. */
export function againInOwnMounts(file: string, environment: NodeJS.ProcessEnv = {}): ChildProcess {
  const [unshare, ...argv]: [string, ...string[]] = ['unshare', '--mount', '--propagation', 'slave', process.execPath, ...process.execArgv, file];
  const child = spawn(unshare, argv, {
    stdio: 'inherit',
    env: { ...process.env, ...environment, CAISSON_TEST_MOUNTS: 'own' },
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => child.kill(signal));
  child.once('exit', (code) => (process.exitCode = code ?? 1));
  return child;
}

export const childProgram = fileURLToPath(import.meta.resolve('./launch-and-wait.ts'));
