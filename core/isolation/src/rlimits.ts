import { KIB, MIB } from '@caisson/contract';
import type { Mechanism } from './mechanism.ts';

/** Per-process limits (getrlimit(2)). They stop what cgroups do not count: descriptors, locked memory, queued signals. */
export const rlimits: Mechanism<'rlimits'> = ({ decision: { limits } }) => ({
  rlimits: [
    // core(5): a limit of 0 stops a core file but not a core_pattern that pipes to a program of the host, run as its
    // root; the kernel takes a limit of 1 as the word for neither. The filter keeps programs from lowering it to 0.
    { name: 'core', value: 1 },
    { name: 'fsize', value: Math.max(limits.workspaceBytes, limits.tmpBytes) },
    { name: 'memlock', value: 64 * KIB }, // what a key agent needs; more would pin host memory
    { name: 'msgqueue', value: 0 }, // POSIX message queues are not in the filter either
    { name: 'nofile', value: limits.openFiles },
    { name: 'nproc', value: limits.pids }, // a second wall behind the pids cgroup
    { name: 'sigpending', value: 256 }, // queued signals and POSIX timers live in kernel memory, and count for all of a sandbox's processes together
    { name: 'stack', value: 8 * MIB }, // the usual value: thread libraries take it as their default stack
  ],
});
