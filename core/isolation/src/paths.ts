import type { Mechanism } from './mechanism.ts';

/** Replaced by nothing: an empty file or an empty read-only directory. */
const MASKED = [
  // Kernel addresses and memory.
  '/proc/iomem', '/proc/ioports', '/proc/kallsyms', '/proc/kcore', '/proc/kpagecgroup', '/proc/kpagecount', '/proc/kpageflags',
  '/proc/modules', '/proc/pagetypeinfo', '/proc/slabinfo', '/proc/vmallocinfo', '/proc/zoneinfo',
  // Key rings, which are not namespaced by mount.
  '/proc/key-users', '/proc/keys',
  // The kernel's log, its build and how it was booted.
  '/proc/bootconfig', '/proc/cmdline', '/proc/config.gz', '/proc/kmsg',
  // What every other process of the host is doing, to the tick: timing side channels.
  '/proc/buddyinfo', '/proc/diskstats', '/proc/interrupts', '/proc/latency_stats', '/proc/locks', '/proc/pressure', '/proc/sched_debug',
  '/proc/schedstat', '/proc/softirqs', '/proc/timer_list', '/proc/timer_stats',
  // The host's hardware, disks, file systems and consoles.
  '/proc/acpi', '/proc/asound', '/proc/bus', '/proc/fs', '/proc/consoles', '/proc/mtrr', '/proc/partitions', '/proc/scsi', '/proc/swaps', '/proc/tty', '/sys/firmware',
  // Switches that act on the whole host.
  '/proc/dynamic_debug', '/proc/sysrq-trigger',
];

/** Readable, never writable. */
const READ_ONLY = ['/proc/driver', '/proc/irq', '/proc/sys'];

/** Parts of /proc that no pid namespace makes private. A path that this kernel lacks is passed over by the runtime. */
export const paths: Mechanism<'maskedPaths' | 'readOnlyPaths'> = () => ({ maskedPaths: MASKED, readOnlyPaths: READ_ONLY });
