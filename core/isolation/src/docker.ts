import { CaissonError, DENIALS_FOLDER, TRUST_FOLDER, type IsolationSpec, type Mount } from '@caisson/contract';
import type { TrustPlace } from './oci-mounts.ts';
import { CPU_PERIOD_US, socketLimitBytes } from './resources.ts';
import { toOciSeccomp } from './oci-seccomp.ts';

/** Where a sandbox lies for a Docker daemon. The launcher alone knows; nothing in a request or spec can name these paths. */
export interface DockerPlacement {
  /** Id of the image that holds the root: empty mount points, the synthetic /etc and pid 1. */
  readonly imageId: string;
  /** The synthetic /etc, and the folder whose files are laid over it: accounts with the sandbox's own id, and DOCKER_WRITES. */
  readonly etc: { readonly shared: string; readonly own: string };
  /** What holds the certificate that the sandbox alone trusts, where the spec has one. */
  readonly trust?: TrustPlace | undefined;
  /** The folder in which the gate says what it has refused to the sandbox, where the spec mounts it. */
  readonly denials?: string | undefined;
  /** A folder in which nothing ever is. */
  readonly empty: string;
  /** Uid and gid inside. The daemon maps the ids of all its containers alike, so no other sandbox of the daemon has this one. */
  readonly id: number;
  readonly cgroupParent: string;
  readonly swapAccounting: boolean;
  /** Whether socket buffers need a limit of their own, as under cgroup v1. */
  readonly socketLimit: boolean;
  /** Machine architecture as in `process.arch`. */
  readonly arch: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * A volume without a name, which goes with its container. Docker refuses the word read-only for one; an overlay without an
 * upper layer cannot be written anyway.
 */
interface DockerVolume {
  readonly Type: 'volume';
  readonly Target: string;
  readonly VolumeOptions: {
    /** Without it the daemon would copy what the image has at the target. */
    readonly NoCopy: true;
    readonly Labels: Readonly<Record<string, string>>;
    readonly DriverConfig: { readonly Name: 'local'; readonly Options: { readonly type: string; readonly device: string; readonly o: string } };
  };
}

/** Files of this sandbox alone, which go with it. */
interface DockerBind {
  readonly Type: 'bind';
  readonly Source: string;
  readonly Target: string;
  readonly ReadOnly: true;
}

/** The part of a container's creation that Caisson writes (Docker Engine API 1.41, ContainerCreate). */
export interface DockerContainer {
  readonly Image: string;
  readonly Hostname: string;
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Env: readonly string[];
  readonly WorkingDir: '/';
  readonly Tty: false;
  readonly OpenStdin: true;
  /** The daemon closes stdin with the stream that was attached, so that pid 1 ends with it. */
  readonly StdinOnce: true;
  readonly AttachStdin: true;
  readonly AttachStdout: true;
  readonly AttachStderr: true;
  readonly Labels: Readonly<Record<string, string>>;
  readonly HostConfig: {
    readonly Runtime: 'runc';
    readonly NetworkMode: 'none';
    readonly IpcMode: 'private';
    readonly CgroupnsMode: 'private';
    readonly CgroupParent: string;
    readonly Privileged: false;
    readonly ReadonlyRootfs: boolean;
    readonly CapDrop: readonly ['ALL'];
    readonly CapAdd: readonly string[];
    readonly SecurityOpt: readonly string[];
    readonly MaskedPaths: readonly string[];
    readonly ReadonlyPaths: readonly string[];
    readonly Sysctls: Readonly<Record<string, string>>;
    readonly Ulimits: readonly { readonly Name: string; readonly Hard: number; readonly Soft: number }[];
    readonly Memory: number;
    readonly MemorySwap?: number;
    readonly KernelMemoryTCP?: number;
    readonly CpuPeriod: number;
    readonly CpuQuota: number;
    readonly PidsLimit: number;
    readonly LogConfig: { readonly Type: 'none' };
    readonly RestartPolicy: { readonly Name: 'no' };
    readonly Tmpfs: Readonly<Record<string, string>>;
    readonly Mounts: readonly (DockerVolume | DockerBind)[];
  };
}

/**
 * Files of /etc that the daemon mounts in every container: it writes them with the resolvers, search domains and names that
 * the host has. Where something else is mounted at their places it does not.
 */
export const DOCKER_WRITES = ['hostname', 'hosts', 'resolv.conf'] as const;

/** What the kernel sets in every new network namespace, and Docker in none of its own. */
const SYSCTLS = { 'net.ipv4.ip_unprivileged_port_start': '1024', 'net.ipv4.ping_group_range': '1 0' } as const;

/** What Docker mounts in every container and no sandbox has: a read-only tmpfs of nothing covers each. */
const UNWANTED = ['/sys', '/dev/mqueue'];

/**
 * The spec at its place in a Docker daemon that maps ids.
 *
 * @throws CaissonError LAUNCH_FAILED for what Docker cannot mount
 */
export function toDocker(spec: IsolationSpec, placement: DockerPlacement): DockerContainer {
  const { limits } = spec;
  if (spec.image !== 'host') throw new CaissonError('LAUNCH_FAILED', { detail: `Docker has no root for ${spec.image}: it runs the image host alone` });
  const mounts = spec.mounts.map((mount) => toDockerMount(mount, placement));
  const covered = spec.mounts.some(({ kind }) => kind === 'pts') ? UNWANTED : [...UNWANTED, '/dev/pts'];
  return {
    Image: placement.imageId,
    Hostname: spec.hostname,
    User: `${placement.id}:${placement.id}`,
    // Bounds and the link are made in the namespaces of pid 1, which are there when pid 1 is: it waits, and then says what it sees.
    Entrypoint: ['/.caisson/init', '--wait'],
    Env: ['PATH=/usr/bin'],
    WorkingDir: '/',
    Tty: false,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Labels: placement.labels,
    HostConfig: {
      Runtime: 'runc',
      NetworkMode: 'none',
      IpcMode: 'private',
      CgroupnsMode: 'private',
      CgroupParent: placement.cgroupParent,
      Privileged: false,
      ReadonlyRootfs: spec.readOnlyRoot,
      CapDrop: ['ALL'],
      CapAdd: spec.capabilities,
      SecurityOpt: [
        ...(spec.noNewPrivileges ? ['no-new-privileges'] : []),
        `seccomp=${JSON.stringify(toOciSeccomp(spec.seccomp, { arch: placement.arch, level: spec.level }))}`,
      ],
      MaskedPaths: [...spec.maskedPaths, ...covered],
      ReadonlyPaths: spec.readOnlyPaths,
      Sysctls: SYSCTLS,
      Ulimits: spec.rlimits.map(({ name, value }) => ({ Name: name, Hard: value, Soft: value })),
      Memory: limits.memoryBytes,
      ...(placement.swapAccounting ? { MemorySwap: limits.memoryBytes } : {}),
      ...(placement.socketLimit ? { KernelMemoryTCP: socketLimitBytes(limits) } : {}),
      CpuPeriod: CPU_PERIOD_US,
      CpuQuota: (limits.cpuMillis * CPU_PERIOD_US) / 1000,
      PidsLimit: limits.pids,
      LogConfig: { Type: 'none' },
      RestartPolicy: { Name: 'no' },
      Tmpfs: Object.fromEntries(mounts.flatMap(({ tmpfs }) => (tmpfs === undefined ? [] : [tmpfs]))),
      Mounts: [...mounts.flatMap((told) => told.mounts ?? []), ...DOCKER_WRITES.map((name) => bind(`${placement.etc.own}/${name}`, `/etc/${name}`))],
    },
  };
}

/** A mount of the spec as Docker is told it; neither, where the daemon or the image has it anyway. */
interface Told {
  readonly tmpfs?: readonly [at: string, options: string];
  readonly mounts?: readonly (DockerVolume | DockerBind)[];
}

function bind(source: string, target: string): DockerBind {
  return { Type: 'bind', Source: source, Target: target, ReadOnly: true };
}

function toDockerMount(mount: Mount, placement: DockerPlacement): Told {
  const { empty, etc, labels, id } = placement;
  const volume = (target: string, type: string, options: readonly string[]): Told => ({
    mounts: [{
      Type: 'volume', Target: target,
      VolumeOptions: { NoCopy: true, Labels: labels, DriverConfig: { Name: 'local', Options: { type, device: type, o: options.join(',') } } },
    }],
  });
  switch (mount.kind) {
    case 'proc':
    case 'dev':
    case 'init':
      return {};
    case 'pts':
      return volume('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', `max=${mount.terminals}`]);
    // Overlays of this sandbox alone, for inodes of its own: see oci-mounts.ts.
    case 'usr':
      return volume('/usr', 'overlay', ['ro', 'nosuid', 'nodev', `lowerdir=/usr:${empty}`]);
    case 'etc':
      return volume('/etc', 'overlay', ['ro', 'nosuid', 'nodev', `lowerdir=${etc.own}:${etc.shared}`]);
    case 'trust':
      return trusted(placement);
    case 'denials':
      return { mounts: [bind(denialsOf(placement), DENIALS_FOLDER)] };
    case 'secrets':
      throw new CaissonError('LAUNCH_FAILED', { detail: 'Docker cannot mount the files of secrets: they are mounted where the launcher alone sees them' });
    case 'mirror':
      throw new CaissonError('LAUNCH_FAILED', { detail: 'Docker cannot mount a mirror of records: it lies where the launcher alone sees it' });
    case 'workspace':
      throw new CaissonError('LAUNCH_FAILED', { detail: 'Docker cannot mount a persistent workspace: it is mounted where the launcher alone sees it' });
    case 'tmpfs':
      return { tmpfs: [mount.at, [...tmpfsOptions(mount.at, id), `size=${mount.bytes}`, `nr_inodes=${mount.inodes}`].join(',')] };
    default:
      throw new CaissonError('LAUNCH_FAILED', { detail: `Docker cannot mount ${(mount as Mount).kind}` });
  }
}

/** @throws CaissonError LAUNCH_FAILED */
function denialsOf({ denials }: DockerPlacement): string {
  if (denials === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'there is no place where the gate could say what it refuses' });
  return denials;
}

/** @throws CaissonError LAUNCH_FAILED rather than that a sandbox is told to trust an authority that it knows nothing of */
function trusted({ trust }: DockerPlacement): Told {
  if (trust === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'the certificate that it trusts was not written' });
  return { mounts: [bind(trust.folder, TRUST_FOLDER), ...trust.lists.map(({ at, source }) => bind(source, at))] };
}

/** Unlike the runtimes of OCI, the daemon takes no word for writable and makes a tmpfs noexec unless it is told. */
function tmpfsOptions(at: '/dev/shm' | '/tmp' | '/workspace', id: number): readonly string[] {
  switch (at) {
    case '/dev/shm': return ['nosuid', 'noexec', 'nodev', 'mode=1777'];
    case '/tmp': return ['nosuid', 'exec', 'nodev', 'mode=1777'];
    case '/workspace': return ['nosuid', 'exec', 'nodev', 'mode=0700', `uid=${id}`, `gid=${id}`];
  }
}
