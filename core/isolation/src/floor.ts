import type { IsolationSpec, Limits, Mount } from '@caisson/contract';
import { filterViolations } from './floor-seccomp.ts';

/**
 * The floor is written out here and shares no list with `compile`: the launcher trusts neither the process that
 * compiled a spec nor the code that did.
 */
const NAMESPACES = ['cgroup', 'ipc', 'mount', 'network', 'pid', 'user', 'uts'];
const MOUNTS = ['proc', 'dev', 'tmpfs /dev/shm', 'usr', 'etc', 'init', 'tmpfs /tmp', 'tmpfs /workspace'];
/** Of the host's own files an image other than `host` may show none. */
const OF_HOST = ['usr', 'etc'];
/** Terminals that a sandbox may have open: two kernel threads beyond its limits for each. */
const TERMINALS_MAX = 16;
const MASKED = [
  '/proc/acpi', '/proc/bus', '/proc/cmdline', '/proc/fs', '/proc/config.gz', '/proc/interrupts', '/proc/iomem', '/proc/ioports', '/proc/kallsyms', '/proc/kcore',
  '/proc/key-users', '/proc/keys', '/proc/kmsg', '/proc/kpagecgroup', '/proc/kpagecount', '/proc/kpageflags', '/proc/modules',
  '/proc/pagetypeinfo', '/proc/sched_debug', '/proc/schedstat', '/proc/scsi', '/proc/slabinfo', '/proc/softirqs', '/proc/sysrq-trigger',
  '/proc/timer_list', '/proc/vmallocinfo', '/proc/zoneinfo', '/sys/firmware',
];
const READ_ONLY = ['/proc/driver', '/proc/irq', '/proc/sys'];
const RLIMITS: Readonly<Record<string, (limits: Limits) => number>> = {
  core: () => 1,
  fsize: ({ workspaceBytes, tmpBytes }) => Math.max(workspaceBytes, tmpBytes),
  memlock: () => 65_536,
  msgqueue: () => 0,
  nofile: ({ openFiles }) => openFiles,
  nproc: ({ pids }) => pids,
  sigpending: () => 256,
  stack: () => 8_388_608,
};

type Check = (spec: IsolationSpec) => readonly string[];

const checks: readonly Check[] = [identity, namespaces, privileges, filter, landlock, mounts, paths, rlimits, limits];

/**
 * Everything in which a spec is weaker than any sandbox may be, in words; empty for a spec that may be launched.
 * The launcher asks before each launch, whoever the spec comes from.
 */
export function belowFloor(spec: IsolationSpec): readonly string[] {
  return checks.flatMap((check) => check(spec));
}

function identity({ image, user: { uid, gid } }: IsolationSpec): readonly string[] {
  return [
    ...(uid >= 1 ? [] : ['it runs as root']),
    ...(gid >= 1 ? [] : ['it runs in the group of root']),
    ...(/^(host|sha256:[0-9a-f]{64})$/.test(image) ? [] : ['its image is not named by digest']),
  ];
}

function namespaces(spec: IsolationSpec): readonly string[] {
  return [
    ...lacking(NAMESPACES, spec.namespaces).map((name) => `the ${name} namespace is shared`),
    ...(['none', 'gate'].includes(spec.network) ? [] : ['its network is neither none nor the gate']),
  ];
}

function privileges(spec: IsolationSpec): readonly string[] {
  return [
    ...spec.capabilities.map((name) => `it holds the capability ${name}`),
    ...(spec.noNewPrivileges ? [] : ['it may gain privileges']),
  ];
}

function filter({ seccomp }: IsolationSpec): readonly string[] {
  return [
    ...(seccomp.defaultErrno >= 1 ? [] : ['the filter refuses without an error']),
    ...(seccomp.rules.length > 0 ? [] : ['the filter is empty']),
    ...filterViolations(seccomp),
  ];
}

function landlock(spec: IsolationSpec): readonly string[] {
  return spec.landlock || spec.level !== 'container' ? [] : ['Landlock is off on the kernel of the host'];
}

function labelOf(mount: Mount): string {
  if (mount.kind === 'workspace') return 'tmpfs /workspace'; // in its place, and sized by its own file system
  return mount.kind === 'tmpfs' ? `tmpfs ${mount.at}` : mount.kind;
}

function mounts(spec: IsolationSpec): readonly string[] {
  const found = spec.mounts.map(labelOf);
  // The order counts: a later mount hides what lies below it.
  const terminals = spec.mounts.flatMap((mount) => (mount.kind === 'pts' ? [mount.terminals] : []));
  const trusting = found.includes('trust') ? MOUNTS.toSpliced(MOUNTS.indexOf('init'), 0, 'trust') : MOUNTS;
  const told = found.includes('denials') ? trusting.toSpliced(trusting.indexOf('init'), 0, 'denials') : trusting;
  const having = found.includes('secrets') ? told.toSpliced(told.indexOf('init'), 0, 'secrets') : told;
  const seeing = found.includes('mirror') ? [...having, 'mirror'] : having; // above the workspace, or it would be hidden
  const wanted = (terminals.length === 0 ? seeing : seeing.toSpliced(2, 0, 'pts')).filter((label) => spec.image === 'host' || !OF_HOST.includes(label));
  const fixed = found.length === wanted.length && found.every((label, index) => label === wanted[index]);
  const room: Readonly<Record<string, number>> = {
    '/dev/shm': spec.limits.memoryBytes,
    '/tmp': spec.limits.tmpBytes,
    '/workspace': spec.limits.workspaceBytes,
  };
  return [
    ...(spec.readOnlyRoot ? [] : ['the root is writable']),
    ...(found.includes('trust') && spec.network !== 'gate' ? ['it trusts an authority of its own without a link to the gate'] : []),
    ...(found.includes('denials') && spec.network !== 'gate' ? ['it is told what a gate refuses to which it has no link'] : []),
    ...(fixed ? [] : [`the mounts are ${found.join(', ') || 'none'} and not ${wanted.join(', ')}`]),
    ...spec.mounts.flatMap((mount) => (mount.kind === 'secrets' && !mount.files.every(({ name }) => isFileName(name)) ? ['a secret of it has a name that is a path'] : [])),
    ...(terminals.every((count) => within(count, TERMINALS_MAX)) ? [] : ['its terminals are not few']),
    ...spec.mounts.flatMap((mount) => {
      if (mount.kind !== 'tmpfs') return [];
      const sized = within(mount.bytes, room[mount.at] ?? 0) && within(mount.inodes, spec.limits.inodes);
      return sized ? [] : [`${mount.at} is not held to its size`];
    }),
  ];
}

/** A name in one folder, and not the folder or the one above. */
function isFileName(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) && !/^\.{1,2}$/.test(name);
}

function paths(spec: IsolationSpec): readonly string[] {
  return [
    ...lacking(MASKED, spec.maskedPaths).map((path) => `${path} is not masked`),
    ...lacking(READ_ONLY, spec.readOnlyPaths).map((path) => `${path} is not read-only`),
  ];
}

function rlimits(spec: IsolationSpec): readonly string[] {
  return Object.entries(RLIMITS).flatMap(([name, most]) => {
    const values = spec.rlimits.filter((rlimit) => rlimit.name === name).map(({ value }) => value);
    // A core limit of 0 lets a crash start the core_pattern program of the host; 1 is the word for no core at all.
    const least = name === 'core' ? 1 : 0;
    const held = values.length === 1 && values.every((value) => value >= least && value <= most(spec.limits));
    return held ? [] : [`the rlimit ${name} is not one value of at most ${most(spec.limits)}`];
  });
}

function limits(spec: IsolationSpec): readonly string[] {
  const unlimited = Object.entries(spec.limits).filter(([name, value]) => !(value > 0 || (name === 'outputBytes' && value === 0)));
  return unlimited.map(([name]) => `the limit ${name} is not positive`);
}

function lacking(required: readonly string[], found: readonly string[]): readonly string[] {
  return required.filter((item) => !found.includes(item));
}

/** Above 0, because 0 means "without a limit" to tmpfs (tmpfs(5), size and nr_inodes). */
function within(value: number, most: number): boolean {
  return value > 0 && value <= most;
}
