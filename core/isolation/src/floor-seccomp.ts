import type { Seccomp, SeccompRule } from '@caisson/contract';

/** Calls that no sandbox gets, whatever its arguments: each has led or leads out of one. */
const FORBIDDEN: ReadonlySet<string> = new Set([
  // Mounts and roots.
  'chroot', 'fsconfig', 'fsmount', 'fsopen', 'fspick', 'mount', 'mount_setattr', 'move_mount', 'open_tree', 'pivot_root', 'umount', 'umount2',
  // Other namespaces.
  'setns', 'unshare',
  // Other processes' memory and descriptors.
  'kcmp', 'pidfd_getfd', 'process_madvise', 'process_mrelease', 'process_vm_readv', 'process_vm_writev', 'ptrace',
  // Files without a path.
  'lookup_dcookie', 'name_to_handle_at', 'open_by_handle_at',
  // Kernel interfaces whose defects have been the way out, again and again.
  'add_key', 'bpf', 'io_uring_enter', 'io_uring_register', 'io_uring_setup', 'keyctl', 'modify_ldt', 'perf_event_open', 'request_key',
  'userfaultfd', 'vmsplice',
  // The machine itself.
  'acct', 'adjtimex', 'clock_adjtime', 'clock_settime', 'create_module', 'delete_module', 'finit_module', 'init_module', 'ioperm', 'iopl',
  'kexec_file_load', 'kexec_load', 'nfsservctl', 'quotactl', 'quotactl_fd', 'reboot', 'settimeofday', 'stime', 'swapoff', 'swapon', 'syslog',
  'vhangup',
  // Its flags lie in memory, where a filter cannot see them.
  'clone3',
  // A filter of one's own can have the kernel of the host log every call.
  'seccomp',
]);

/** Calls that are dangerous with some arguments: a rule that looks at none of them allows those too. */
const CONDITIONAL: ReadonlySet<string> = new Set(['prctl', 'prlimit64', 'setrlimit', 'personality']);

/** Where a call says that it wants huge pages, which no memory limit counts: MAP_HUGETLB, MFD_HUGETLB and SHM_HUGETLB. */
const HUGE_PAGES: ReadonlyMap<string, { readonly argument: number; readonly flag: number }> = new Map([
  ['mmap', { argument: 3, flag: 0x40000 }], ['memfd_create', { argument: 1, flag: 4 }], ['shmget', { argument: 2, flag: 0o4000 }],
]);

/** CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of linux/sched.h. */
const CLONE_NEW = 0x7e020080;

/** AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK. AF_VSOCK, for one, reaches the hypervisor whatever the network namespace. */
const SOCKET_FAMILIES: readonly number[] = [1, 2, 10, 16];

/** What is wrong with a system call filter, in words; empty for a filter that is not below the floor. */
export function filterViolations({ rules }: Seccomp): readonly string[] {
  return rules.flatMap((rule) => [...shapeViolations(rule), ...(rule.errno === undefined ? allowViolations(rule) : [])]);
}

function shapeViolations({ names, when = [] }: SeccompRule): readonly string[] {
  const subject = names.join(', ');
  const distinct = new Set(when.map(({ argument }) => argument)).size;
  return [
    // Runtimes disagree on two conditions for one argument: runc reads them as alternatives.
    ...(distinct < when.length ? [`the filter compares one argument of ${subject} twice`] : []),
    ...(when.some(({ operator, mask }) => operator.startsWith('masked-') && !mask) ? [`the filter masks ${subject} with nothing`] : []),
  ];
}

function allowViolations(rule: SeccompRule): readonly string[] {
  const forbidden = rule.names.filter((name) => FORBIDDEN.has(name)).map((name) => `the filter allows ${name}`);
  const cloneIsOpen = rule.names.includes('clone') && !refusesNewNamespaces(rule);
  const unconditional = rule.names.filter((name) => CONDITIONAL.has(name) && (rule.when ?? []).length === 0);
  const socketIsOpen = rule.names.includes('socket') && !namesFamily(rule);
  const huge = rule.names.filter((name) => allowsHugePages(name, rule));
  return [
    ...forbidden,
    ...unconditional.map((name) => `the filter allows ${name} whatever its arguments`),
    ...(cloneIsOpen ? ['the filter allows clone to make namespaces'] : []),
    ...huge.map((name) => `the filter allows ${name} huge pages, which lie outside the memory limit`),
    ...(socketIsOpen ? ['the filter allows sockets of families that no namespace confines'] : []),
  ];
}

function refusesNewNamespaces(rule: SeccompRule): boolean {
  return leavesOut(rule, 0, CLONE_NEW);
}

function allowsHugePages(name: string, rule: SeccompRule): boolean {
  const huge = HUGE_PAGES.get(name);
  return huge !== undefined && !leavesOut(rule, huge.argument, huge.flag);
}

/** Whether a rule matches only where none of these bits of the argument is set. */
function leavesOut({ when = [] }: SeccompRule, index: number, bits: number): boolean {
  return when.some(({ argument, operator, value, mask = 0 }) =>
    argument === index && operator === 'masked-equal' && (mask & bits) === bits && (value & bits) === 0);
}

function namesFamily({ when = [] }: SeccompRule): boolean {
  return when.some(({ argument, operator, value }) => argument === 0 && operator === 'equal' && SOCKET_FAMILIES.includes(value));
}
