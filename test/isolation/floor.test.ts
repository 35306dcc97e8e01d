import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMIT_NAMES, NAMESPACES, type IsolationSpec, type Mount, type SeccompRule } from '@caisson/contract';
import { belowFloor } from '@caisson/isolation';
import { CERTIFICATE, specFor } from './given.ts';

const good = specFor();

function assertBelow(change: Partial<IsolationSpec>, violation: RegExp | string): void {
  const violations = belowFloor({ ...good, ...change });
  const found = violations.some((text) => (typeof violation === 'string' ? text === violation : violation.test(text)));
  assert.ok(found, `${String(violation)} is not among: ${violations.join('; ') || 'no violations'}`);
}

const withRule = (rule: Omit<SeccompRule, 'why'>): Partial<IsolationSpec> => ({
  seccomp: { ...good.seccomp, rules: [...good.seccomp.rules, { ...rule, why: 'what an attacker would add' }] },
});
const withMounts = (mounts: readonly Mount[]): Partial<IsolationSpec> => ({ mounts });
const tmpfs = (at: '/dev/shm' | '/tmp' | '/workspace', change: Partial<Extract<Mount, { kind: 'tmpfs' }>>): readonly Mount[] =>
  good.mounts.map((mount) => (mount.kind === 'tmpfs' && mount.at === at ? { ...mount, ...change } : mount));

test('the specs that are compiled for container and gvisor are not below the floor', () => {
  assert.deepEqual(belowFloor(good), []);
  assert.deepEqual(belowFloor(specFor({ level: 'gvisor' })), []);
});

for (const name of NAMESPACES) {
  test(`a shared ${name} namespace is below the floor`, () => {
    assertBelow({ namespaces: good.namespaces.filter((other) => other !== name) }, `the ${name} namespace is shared`);
  });
}

const FORBIDDEN = [
  'mount', 'umount2', 'move_mount', 'open_tree', 'fsopen', 'fsconfig', 'fsmount', 'fspick', 'mount_setattr', 'pivot_root', 'chroot', 'ptrace',
  'process_vm_readv', 'process_vm_writev', 'bpf', 'keyctl', 'add_key', 'request_key', 'unshare', 'setns', 'userfaultfd', 'io_uring_setup',
  'io_uring_enter', 'io_uring_register', 'perf_event_open', 'init_module', 'finit_module', 'delete_module', 'kexec_load', 'kexec_file_load',
  'reboot', 'swapon', 'swapoff', 'open_by_handle_at', 'name_to_handle_at', 'quotactl', 'acct', 'settimeofday', 'clock_settime', 'iopl',
  'ioperm', 'pidfd_getfd', 'kcmp', 'lookup_dcookie', 'nfsservctl', 'vhangup', 'clone3',
];
for (const name of FORBIDDEN) {
  test(`a filter that allows ${name} is below the floor, whatever its condition`, () => {
    assertBelow(withRule({ names: [name] }), `the filter allows ${name}`);
    assertBelow(withRule({ names: ['read', name], when: [{ argument: 0, operator: 'equal', value: 0 }] }), `the filter allows ${name}`);
    assert.deepEqual(belowFloor({ ...good, ...withRule({ names: [name], errno: 38 }) }), [], 'refusing it with another error is allowed');
  });
}

const NEW_FLAGS = { NEWTIME: 0x80, NEWNS: 0x20000, NEWCGROUP: 0x2000000, NEWUTS: 0x4000000, NEWIPC: 0x8000000, NEWUSER: 0x10000000, NEWPID: 0x20000000, NEWNET: 0x40000000 };
for (const [flag, bit] of Object.entries(NEW_FLAGS)) {
  test(`a filter that allows clone with CLONE_${flag} is below the floor`, () => {
    const open = 'the filter allows clone to make namespaces';
    const mask = 0x7e020080;
    assertBelow(withRule({ names: ['clone'], when: [{ argument: 0, operator: 'masked-equal', value: 0, mask: mask - bit }] }), open);
    assertBelow(withRule({ names: ['clone'], when: [{ argument: 0, operator: 'masked-equal', value: bit, mask }] }), open);
    assertBelow(withRule({ names: ['clone'], when: [{ argument: 0, operator: 'not-equal', value: bit }] }), open);
    assertBelow(withRule({ names: ['clone'], when: [{ argument: 1, operator: 'masked-equal', value: 0, mask }] }), open);
    assertBelow(withRule({ names: ['clone'] }), open);
  });
}

const HUGE_PAGES = { mmap: [3, 0x40000], memfd_create: [1, 4], shmget: [2, 0o4000] } as const;
for (const [name, [argument, flag]] of Object.entries(HUGE_PAGES)) {
  test(`a filter that allows ${name} huge pages is below the floor`, () => {
    const open = `the filter allows ${name} huge pages, which lie outside the memory limit`;
    assertBelow(withRule({ names: [name] }), open);
    assertBelow(withRule({ names: ['read', name] }), open);
    assertBelow(withRule({ names: [name], when: [{ argument, operator: 'masked-equal', value: 0, mask: 0x7fff_ffff - flag }] }), open);
    assertBelow(withRule({ names: [name], when: [{ argument, operator: 'masked-equal', value: flag, mask: flag }] }), open);
    assertBelow(withRule({ names: [name], when: [{ argument, operator: 'not-equal', value: flag }] }), open);
    assertBelow(withRule({ names: [name], when: [{ argument: argument - 1, operator: 'masked-equal', value: 0, mask: flag }] }), open);
    assert.deepEqual(belowFloor({ ...good, ...withRule({ names: [name], errno: 1 }) }), [], 'refusing it is allowed');
  });
}

const filters: readonly (readonly [string, Partial<IsolationSpec>, RegExp])[] = [
  ['any socket family', withRule({ names: ['socket'] }), /sockets of families/],
  ['AF_VSOCK', withRule({ names: ['socket'], when: [{ argument: 0, operator: 'equal', value: 40 }] }), /sockets of families/],
  ['every family but one', withRule({ names: ['socket'], when: [{ argument: 0, operator: 'not-equal', value: 40 }] }), /sockets of families/],
  ['what two conditions on one argument let through', withRule({ names: ['read'], when: [{ argument: 0, operator: 'equal', value: 1 }, { argument: 0, operator: 'equal', value: 2 }] }), /one argument of read twice/],
  ['what an empty mask lets through', withRule({ names: ['read'], when: [{ argument: 0, operator: 'masked-equal', value: 0 }] }), /masks read with nothing/],
  ['what an empty mask takes from nothing', withRule({ names: ['read'], when: [{ argument: 0, operator: 'masked-not-equal', value: 0 }] }), /masks read with nothing/],
  ['nothing, because it is not there', { seccomp: { defaultErrno: 1, rules: [] } }, /filter is empty/],
  ['what it does not name', { seccomp: { ...good.seccomp, defaultErrno: 0 } }, /refuses without an error/],
];
for (const [what, change, violation] of filters) {
  test(`a filter that allows ${what} is below the floor`, () => assertBelow(change, violation));
}

const others: readonly (readonly [string, Partial<IsolationSpec>, RegExp | string])[] = [
  ['a capability', { capabilities: ['CAP_NET_RAW'] }, 'it holds the capability CAP_NET_RAW'],
  ['a way to gain privileges', { noNewPrivileges: false }, 'it may gain privileges'],
  ['a writable root', { readOnlyRoot: false }, 'the root is writable'],
  ['no Landlock on the kernel of the host', { landlock: false }, /Landlock is off/],
  ['uid 0', { user: { uid: 0, gid: 1000 } }, 'it runs as root'],
  ['gid 0', { user: { uid: 1000, gid: 0 } }, 'it runs in the group of root'],
  ['no mounts', withMounts([]), /the mounts are none/],
  ['a mount more', withMounts([...good.mounts, { kind: 'proc' }]), /the mounts are/],
  ['two mounts in another order', withMounts(good.mounts.toReversed()), /the mounts are/],
  ['a second tmpfs in the place of another', withMounts(tmpfs('/tmp', { at: '/workspace' })), /the mounts are/],
];
for (const [what, change, violation] of others) {
  test(`${what} is below the floor`, () => assertBelow(change, violation));
}

test('few terminals after /dev are not below the floor; many, none or at another place are', () => {
  const [proc, dev, ...rest] = good.mounts as [Mount, Mount, ...Mount[]];
  const pts = (terminals: number): Mount => ({ kind: 'pts', terminals });
  for (const count of [1, 16]) assert.deepEqual(belowFloor({ ...good, mounts: [proc, dev, pts(count), ...rest] }), []);
  for (const count of [0, 17, 3_000]) assertBelow(withMounts([proc, dev, pts(count), ...rest]), 'its terminals are not few');
  assertBelow(withMounts([proc, pts(1), dev, ...rest]), /the mounts are/);
  assertBelow(withMounts([proc, dev, pts(1), pts(1), ...rest]), /the mounts are/);
});

test('what a gate refuses is told in one place, and to who has a link to it', () => {
  const spec = specFor({}, { network: true });
  assert.deepEqual(belowFloor(spec), [], 'control');
  assert.deepEqual(belowFloor({ ...spec, network: 'none' }), ['it is told what a gate refuses to which it has no link']);
  const at = spec.mounts.findIndex(({ kind }) => kind === 'denials');
  const rest = spec.mounts.toSpliced(at, 1);
  for (let place = 0; place <= rest.length; place++) {
    if (place !== at) assert.match(belowFloor({ ...spec, mounts: rest.toSpliced(place, 0, { kind: 'denials' }) }).join(), /the mounts are/, `${place}`);
  }
  assert.match(belowFloor({ ...spec, mounts: spec.mounts.toSpliced(at, 0, { kind: 'denials' }) }).join(), /the mounts are/);
});

test('an authority of the sandbox\'s own is not below the floor with a link to the gate; without one, twice or in another place it is', () => {
  const trust: Mount = { kind: 'trust', certificate: CERTIFICATE };
  for (const more of [{}, { terminals: true }, { image: `sha256:${'ab'.repeat(32)}` }] as const) {
    const spec = specFor({}, { network: true, certificate: CERTIFICATE, ...more });
    assert.deepEqual(belowFloor(spec), []);
    assert.deepEqual(belowFloor({ ...spec, network: 'none' }), ['it trusts an authority of its own without a link to the gate', 'it is told what a gate refuses to which it has no link']);
    const at = spec.mounts.findIndex(({ kind }) => kind === 'trust');
    const rest = spec.mounts.toSpliced(at, 1);
    for (let place = 0; place <= rest.length; place++) {
      if (place !== at) assert.match(belowFloor({ ...spec, mounts: rest.toSpliced(place, 0, trust) }).join(), /the mounts are/, `${place}`);
    }
    assert.match(belowFloor({ ...spec, mounts: spec.mounts.toSpliced(at, 0, trust) }).join(), /the mounts are/);
    assert.match(belowFloor({ ...spec, mounts: [...spec.mounts, trust] }).join(), /the mounts are/);
  }
});

test('files of secrets are not below the floor in their place; twice, in another place, or under a name that is a path they are', () => {
  const files = [{ name: 'id_ed25519', lease: 'lea-0123456789abcdef' }];
  const secrets: Mount = { kind: 'secrets', sandbox: good.id, files };
  for (const more of [{}, { terminals: true }, { network: true, certificate: CERTIFICATE }, { image: `sha256:${'ab'.repeat(32)}` }] as const) {
    const spec = specFor({}, { secrets: { sandbox: good.id, files }, ...more });
    assert.deepEqual(belowFloor(spec), []);
    const at = spec.mounts.findIndex(({ kind }) => kind === 'secrets');
    const rest = spec.mounts.toSpliced(at, 1);
    for (let place = 0; place <= rest.length; place++) {
      if (place !== at) assert.match(belowFloor({ ...spec, mounts: rest.toSpliced(place, 0, secrets) }).join(), /the mounts are/, `${place}`);
    }
    assert.match(belowFloor({ ...spec, mounts: spec.mounts.toSpliced(at, 0, secrets) }).join(), /the mounts are/);
    for (const name of ['..', '.', 'a/b', '', '/etc/passwd', 'a\n']) {
      assert.deepEqual(belowFloor({ ...spec, mounts: spec.mounts.with(at, { ...secrets, files: [{ name, lease: 'lea-0123456789abcdef' }] }) }), ['a secret of it has a name that is a path'], name);
    }
  }
});

for (const [index, mount] of good.mounts.entries()) {
  test(`a spec without mount ${index + 1}, ${mount.kind}, is below the floor`, () => {
    assertBelow(withMounts(good.mounts.filter((other) => other !== mount)), /the mounts are/);
  });
}

test('a tmpfs without a size, or of more than its limit, is below the floor', () => {
  for (const at of ['/dev/shm', '/tmp', '/workspace'] as const) {
    const violation = `${at} is not held to its size`;
    assertBelow(withMounts(tmpfs(at, { bytes: 0 })), violation);
    assertBelow(withMounts(tmpfs(at, { inodes: 0 })), violation);
    assertBelow(withMounts(tmpfs(at, { bytes: 2 ** 40 })), violation);
    assertBelow(withMounts(tmpfs(at, { inodes: good.limits.inodes + 1 })), violation);
  }
});

test('each masked path that gives away the host is below the floor when it is not masked', () => {
  for (const path of ['/proc/kcore', '/proc/keys', '/proc/kallsyms', '/proc/kmsg', '/proc/sysrq-trigger', '/proc/timer_list', '/proc/acpi', '/proc/scsi', '/sys/firmware', '/proc/sched_debug', '/proc/iomem', '/proc/modules']) {
    assertBelow({ maskedPaths: good.maskedPaths.filter((other) => other !== path) }, `${path} is not masked`);
  }
});

test('each path through which the kernel is set is below the floor when it is writable', () => {
  for (const path of ['/proc/driver', '/proc/irq', '/proc/sys']) {
    assertBelow({ readOnlyPaths: good.readOnlyPaths.filter((other) => other !== path) }, `${path} is not read-only`);
  }
});

test('an rlimit that is missing, raised or given twice is below the floor', () => {
  for (const rlimit of good.rlimits) {
    const rest = good.rlimits.filter((other) => other !== rlimit);
    const violation = new RegExp(`^the rlimit ${rlimit.name} is not one value of at most ${rlimit.value}$`);
    assertBelow({ rlimits: rest }, violation);
    assertBelow({ rlimits: [...rest, { ...rlimit, value: rlimit.value + 1 }] }, violation);
    assertBelow({ rlimits: [...good.rlimits, rlimit] }, violation);
  }
});

test('a limit of nothing, which kernels read as no limit, is below the floor', () => {
  for (const name of LIMIT_NAMES.filter((limit) => limit !== 'outputBytes')) {
    assertBelow({ limits: { ...good.limits, [name]: 0 } }, `the limit ${name} is not positive`);
    assertBelow({ limits: { ...good.limits, [name]: -1 } }, `the limit ${name} is not positive`);
  }
  assert.deepEqual(belowFloor({ ...good, limits: { ...good.limits, outputBytes: 0 } }), [], 'no output at all is a limit');
});

test('every violation is reported, not only the first', () => {
  const violations = belowFloor({ ...good, capabilities: ['CAP_SYS_ADMIN'], noNewPrivileges: false, namespaces: [], landlock: false });
  assert.equal(violations.length, 1 + 1 + NAMESPACES.length + 1);
});
