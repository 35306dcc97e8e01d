import { CaissonError, type IsolationSpec } from '@caisson/contract';
import { toOciMounts, type OciMount, type TrustPlace } from './oci-mounts.ts';
import { toOciSeccomp, type OciSeccomp } from './oci-seccomp.ts';
import { CPU_PERIOD_US, socketLimitBytes } from './resources.ts';
import { boundArgs, type CountsHook } from './user-counts.ts';

/** Where a sandbox lies on the host. The launcher alone knows; nothing in a request or spec can name these paths. */
export interface Placement {
  /**
   * Prepared root directory: empty mount points and a synthetic /etc. Its /tmp MUST have mode 1777 and its
   * /workspace 0700, because runc 1.1 gives a tmpfs the mode of the directory below it.
   */
  readonly rootfs: string;
  /** Root directory of an image other than `host`, with mount points in it; needed where the spec names one. */
  readonly imageRoot?: string | undefined;
  /** The static init binary. */
  readonly initPath: string;
  /** The folder that holds the workspace, where the spec mounts one. */
  readonly workspace?: string | undefined;
  /** What holds the certificate that the sandbox alone trusts, where the spec has one. */
  readonly trust?: TrustPlace | undefined;
  /** The folder in which the gate says what it has refused to the sandbox, where the spec mounts it. */
  readonly denials?: string | undefined;
  /** The folder that holds the files of its secrets, where the spec has any. */
  readonly secrets?: string | undefined;
  /** The file that holds the records of its own calls, where the spec mounts it. */
  readonly mirror?: string | undefined;
  /** The network namespace that is linked to the gate, where the spec has a link. */
  readonly netns?: string | undefined;
  /** A user namespace with the same map as here, which the runtime enters. Default: it makes one. */
  readonly userNamespace?: string | undefined;
  /** What bounds the counts of the user namespace that the runtime makes. Default: nothing does. */
  readonly countsHook?: CountsHook | undefined;
  /** First of two consecutive host uids that no other sandbox has: root inside, then the user inside. */
  readonly hostUid: number;
  readonly hostGid: number;
  readonly cgroupsPath: string;
  /** Whether the kernel accounts swap, so that it can be limited to none. */
  readonly swapAccounting: boolean;
  /** Whether socket buffers need a limit of their own: under cgroup v1, where memory does not count them. */
  readonly socketLimit: boolean;
  /** Machine architecture as in `process.arch`. */
  readonly arch: string;
}

interface OciIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** The part of an OCI `config.json` that Caisson writes (OCI runtime spec 1.0.2, config.md and config-linux.md). */
export interface OciConfig {
  readonly ociVersion: '1.0.2';
  readonly process: {
    readonly terminal: false;
    readonly user: { readonly uid: number; readonly gid: number };
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly cwd: string;
    readonly capabilities: Readonly<Record<'bounding' | 'effective' | 'inheritable' | 'permitted' | 'ambient', readonly string[]>>;
    readonly rlimits: readonly { readonly type: string; readonly hard: number; readonly soft: number }[];
    readonly noNewPrivileges: boolean;
  };
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  /** Run in the namespaces of the sandbox before its root is (config.md, "createContainer Hooks"); one that fails is the end of the start. */
  readonly hooks?: { readonly createContainer: readonly { readonly path: string; readonly args: readonly string[]; readonly timeout: number }[] };
  readonly linux: {
    readonly uidMappings: readonly OciIdMapping[];
    readonly gidMappings: readonly OciIdMapping[];
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[];
    readonly cgroupsPath: string;
    readonly resources: {
      readonly memory: { readonly limit: number; readonly swap?: number; readonly kernelTCP?: number };
      readonly cpu: { readonly quota: number; readonly period: number };
      readonly pids: { readonly limit: number };
      readonly devices: readonly { readonly allow: false; readonly access: 'rwm' }[];
    };
    readonly maskedPaths: readonly string[];
    readonly readonlyPaths: readonly string[];
    readonly seccomp: OciSeccomp;
  };
}

const HOOK_S = 5;
const GVISOR_TASKS = 256;
const GVISOR_TASKS_PER_PROCESS = 4;

/** The spec at its place on this host, for any OCI runtime. */
export function toOci(spec: IsolationSpec, placement: Placement): OciConfig {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: spec.user.uid, gid: spec.user.gid },
      args: ['/.caisson/init'],
      env: ['PATH=/usr/bin'],
      cwd: '/',
      capabilities: {
        bounding: spec.capabilities,
        effective: spec.capabilities,
        inheritable: spec.capabilities,
        permitted: spec.capabilities,
        ambient: spec.capabilities,
      },
      rlimits: spec.rlimits.map(({ name, value }) => ({ type: `RLIMIT_${name.toUpperCase()}`, hard: value, soft: value })),
      noNewPrivileges: spec.noNewPrivileges,
    },
    root: { path: rootOf(spec, placement), readonly: spec.readOnlyRoot },
    hostname: spec.hostname,
    mounts: spec.mounts.flatMap((mount) => toOciMounts(mount, spec, placement)),
    ...hooksOf(placement),
    linux: {
      uidMappings: idMappings(spec.user.uid, placement.hostUid),
      gidMappings: idMappings(spec.user.gid, placement.hostGid),
      namespaces: spec.namespaces.map((type) => ({ type, ...entered(type, spec, placement) })),
      cgroupsPath: placement.cgroupsPath,
      resources: {
        memory: {
          limit: spec.limits.memoryBytes,
          // In OCI, swap is memory plus swap: equal numbers mean none (config-linux.md, "Memory").
          ...(placement.swapAccounting ? { swap: spec.limits.memoryBytes } : {}),
          ...(placement.socketLimit ? { kernelTCP: socketLimitBytes(spec.limits) } : {}),
        },
        cpu: { quota: (spec.limits.cpuMillis * CPU_PERIOD_US) / 1000, period: CPU_PERIOD_US },
        pids: { limit: hostTasks(spec) },
        // The runtime adds the six harmless nodes that it makes in /dev itself (config-linux.md, "Default Devices").
        devices: [{ allow: false, access: 'rwm' }],
      },
      maskedPaths: spec.maskedPaths,
      readonlyPaths: spec.readOnlyPaths,
      seccomp: toOciSeccomp(spec.seccomp, { arch: placement.arch, level: spec.level }),
    },
  };
}

function entered(type: string, spec: IsolationSpec, placement: Placement): { readonly path?: string } {
  if (type === 'network') return joined(spec, placement);
  return type === 'user' && placement.userNamespace !== undefined ? { path: placement.userNamespace } : {};
}

function hooksOf({ countsHook }: Placement): Pick<OciConfig, 'hooks'> {
  if (countsHook === undefined) return {};
  const { program, outside } = countsHook;
  return { hooks: { createContainer: [{ path: program, args: ['caisson-users', 'bound', `${outside}`, ...boundArgs()], timeout: HOOK_S }] } };
}

/** @throws CaissonError LAUNCH_FAILED rather than that a sandbox without a link passes for one that has it */
function joined({ network }: IsolationSpec, { netns }: Placement): { readonly path?: string } {
  if (network === 'none') return {};
  if (netns === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'there is no link to the gate' });
  return { path: netns };
}

/** @throws CaissonError LAUNCH_FAILED rather than that one image stands in for another */
function rootOf({ image }: IsolationSpec, { rootfs, imageRoot }: Placement): string {
  if (image === 'host') return rootfs;
  if (imageRoot === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: `there is no root for ${image}` });
  return imageRoot;
}

/**
 * Tasks that the sandbox may have on the host. gVisor's kernel is itself a process there: it needs threads of its own
 * and up to three tasks for one process inside. Inside, it holds the agent to `pids` by the rlimit nproc; out here the
 * cgroup holds gVisor.
 */
function hostTasks({ level, limits }: IsolationSpec): number {
  return level === 'gvisor' ? GVISOR_TASKS + GVISOR_TASKS_PER_PROCESS * limits.pids : limits.pids;
}

/** Root inside must exist for the runtime to set up mounts, but nothing runs as it and it owns nothing on the host. */
function idMappings(inside: number, host: number): readonly OciIdMapping[] {
  return [
    { containerID: 0, hostID: host, size: 1 },
    { containerID: inside, hostID: host + 1, size: 1 },
  ];
}
