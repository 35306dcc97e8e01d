import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsolationSpec, LEVELS, LIMIT_NAMES, type ErrorCode, type HostFacts, type Level, type SomeLimits } from '@caisson/contract';
import { belowFloor, chooseRuntime, compile, toOci, type CompileInput, type RuntimeNeeds } from '@caisson/isolation';
import fc from 'fast-check';
import { allowed, CERTIFICATE, goodHost, placement, runtime, shippedPolicy, shippedSeccomp, specFor } from './given.ts';

const IMAGE = `sha256:${'ab'.repeat(32)}` as const;

const needs = (level: Level): RuntimeNeeds => ({ level, workspace: false, image: 'host', network: false, secrets: false, mirror: false });

type Case = readonly [code: ErrorCode, what: string, change: Partial<HostFacts>, message: RegExp, level?: Level];

const { cgroup } = goodHost;
const cases: readonly Case[] = [
  ['HOST_LACKS_CGROUP', 'no cgroup hierarchy', { cgroup: { mode: 'none', writable: false, controllers: [], swapAccounting: false } }, /no cgroup hierarchy is mounted; .*not writable; no memory, pids, cpu controller/],
  ['HOST_LACKS_CGROUP', 'a cgroup hierarchy that cannot be written', { cgroup: { ...cgroup, writable: false } }, /: the cgroup hierarchy is not writable$/],
  ['HOST_LACKS_CGROUP', 'no memory controller', { cgroup: { ...cgroup, controllers: ['cpu', 'pids'] } }, /no memory controller/],
  ['HOST_LACKS_CGROUP', 'no pids controller', { cgroup: { ...cgroup, controllers: ['cpu', 'memory'] } }, /no pids controller/],
  ['HOST_LACKS_CGROUP', 'no cpu controller', { cgroup: { ...cgroup, controllers: ['memory', 'pids', 'cpuset'] } }, /no cpu controller/],
  ['HOST_LACKS_CGROUP', 'cgroup v1 and nothing that counts CPU time', { cgroup: { ...cgroup, mode: 'v1' } }, /: no cpuacct controller$/],
  ['HOST_LACKS_CGROUP', 'a hybrid hierarchy and nothing that counts CPU time', { cgroup: { ...cgroup, mode: 'hybrid' } }, /: no cpuacct controller$/, 'gvisor'],
  ['HOST_LACKS_CGROUP', 'swap that is not accounted', { cgroup: { ...cgroup, swapAccounting: false }, swapBytes: 1 }, /swap is on and not accounted/],
  ['HOST_LACKS_USER_NAMESPACES', 'no user namespaces', { userNamespaces: 0 }, /user\.max_user_namespaces is 0/],
  ['HOST_LACKS_SECCOMP', 'no seccomp', { seccomp: false }, /no seccomp filter mode/],
  ['HOST_LACKS_SECCOMP', 'no seccomp, at level gvisor', { seccomp: false }, /no seccomp filter mode/, 'gvisor'],
  ['HOST_LACKS_LANDLOCK', 'no Landlock', { landlockAbi: 0 }, /no Landlock/],
  ['LEVEL_UNAVAILABLE', 'no runtime at all', { runtimes: [] }, /level container cannot be delivered/],
  ['LEVEL_UNAVAILABLE', 'no virtual machine monitor', {}, /level microvm cannot be delivered on this host: no virtual machine monitor/, 'microvm'],
  ['LEVEL_UNAVAILABLE', 'no runtime with a control channel', { runtimes: [runtime({ controlChannel: false })] }, /no runtime hands pid 1 a control channel/],
  ['LEVEL_UNAVAILABLE', 'gVisor, and nothing stronger either', { runtimes: [runtime()], missing: { ...goodHost.missing, gvisor: { what: 'no runsc', how: 'build it' } } }, /level gvisor .*: no runsc/, 'gvisor'],
];
for (const [code, what, change, message, level = 'container'] of cases) {
  test(`${code}: a host with ${what} is refused`, () => {
    const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed({ level }), host: { ...goodHost, ...change }, seccomp: shippedSeccomp });
    assert.ok('refused' in compiled);
    assert.equal(compiled.refused.code, code);
    assert.match(compiled.refused.message, message);
    assert.notEqual(compiled.refused.hint, '');
  });
}

test('a refused level says how to get it', () => {
  const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed({ level: 'microvm' }), host: goodHost, seccomp: shippedSeccomp });
  assert.ok('refused' in compiled);
  assert.equal(compiled.refused.hint, 'wait for the driver');
});

test('swap that is not accounted is no matter where there is none', () => {
  const host = { ...goodHost, cgroup: { ...cgroup, swapAccounting: false } };
  assert.ok(!('refused' in compile({ id: 'sbx-0123456789abcdef', decision: allowed(), host, seccomp: shippedSeccomp })));
});

test('gVisor needs no Landlock of the host and its pid 1 is asked for none', () => {
  const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed({ level: 'gvisor' }), host: { ...goodHost, landlockAbi: 0 }, seccomp: shippedSeccomp });
  assert.ok(!('refused' in compiled));
  assert.equal(compiled.landlock, false);
});

const anyLimits: fc.Arbitrary<SomeLimits> = fc.record(
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, fc.integer({ min: shippedPolicy.limits.default[name] >> 4 || 2, max: shippedPolicy.limits.maximum[name] })])),
  { requiredKeys: [] },
);

test('whatever limits are allowed, a compiled spec is valid and not below the floor', () => {
  fc.assert(fc.property(anyLimits, fc.constantFrom<Level>('container', 'gvisor'), (limits, level) => {
    const { inodes, ...others } = limits;
    const memoryBytes = Math.max(limits.memoryBytes ?? 0, 2 ** 25);
    const spec = specFor({ level, limits: { ...others, memoryBytes, ...(level === 'container' && inodes !== undefined ? { inodes } : {}) } });
    assert.deepEqual(belowFloor(spec), []);
    assert.equal(IsolationSpec.safeParse(spec).error, undefined);
    assert.deepEqual(IsolationSpec.parse(JSON.parse(JSON.stringify(spec))), spec);
  }));
});

const anyHost: fc.Arbitrary<HostFacts> = fc.record({
  kernel: fc.string(),
  arch: fc.constantFrom('x64', 'arm64'),
  rootless: fc.boolean(),
  cgroup: fc.record({
    mode: fc.constantFrom('v1', 'hybrid', 'v2', 'none'),
    writable: fc.boolean(),
    controllers: fc.subarray(['cpu', 'cpuacct', 'memory', 'pids', 'io']),
    swapAccounting: fc.boolean(),
  }),
  swapBytes: fc.nat(2),
  userNamespaces: fc.nat(2),
  seccomp: fc.boolean(),
  landlockAbi: fc.nat(2),
  runtimes: fc.array(fc.constantFrom(...goodHost.runtimes)),
  missing: fc.constant(goodHost.missing),
  noGate: fc.constant(null),
});

test('whatever the host lacks, a spec is either whole or refused', () => {
  fc.assert(fc.property(anyHost, fc.constantFrom(...LEVELS), (host, level) => {
    const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed({ level }), host, seccomp: shippedSeccomp });
    if ('refused' in compiled) return;
    assert.deepEqual(belowFloor(compiled), []);
    assert.ok(host.cgroup.mode !== 'none' && host.cgroup.writable && host.seccomp && host.userNamespaces > 0);
    assert.ok(['cpu', 'memory', 'pids'].every((name) => host.cgroup.controllers.includes(name)));
    assert.ok(host.cgroup.mode === 'v2' || host.cgroup.controllers.includes('cpuacct'));
    assert.ok(level !== 'container' || host.landlockAbi > 0);
    assert.ok(host.swapBytes === 0 || host.cgroup.swapAccounting);
    assert.notEqual(chooseRuntime(needs(level), host), null);
  }), { numRuns: 2000 });
});

test('the fastest runtime that fits is chosen, whatever its name and place in the list', () => {
  const slow = runtime({ name: 'crun', typicalLaunchMs: 30 });
  const fast = runtime({ name: 'zzz', typicalLaunchMs: 8 });
  const deaf = runtime({ name: 'deaf', typicalLaunchMs: 1, controlChannel: false });
  const stronger = runtime({ name: 'other', typicalLaunchMs: 2, guestKernel: 'own' });
  for (const runtimes of [[slow, fast, deaf, stronger], [stronger, deaf, fast, slow]]) {
    assert.equal(chooseRuntime(needs('container'), { ...goodHost, runtimes }), fast);
    assert.equal(chooseRuntime(needs('gvisor'), { ...goodHost, runtimes }), stronger);
    assert.equal(chooseRuntime(needs('microvm'), { ...goodHost, runtimes }), null);
  }
});

test('a runtime that cannot mount what is asked for is passed over, however fast it is', () => {
  const plain = runtime({ name: 'plain', typicalLaunchMs: 1, mountsWorkspaces: false, mountsImages: false });
  const able = runtime({ name: 'able', typicalLaunchMs: 90 });
  const host = { ...goodHost, runtimes: [plain, able] };
  assert.equal(chooseRuntime(needs('container'), host), plain);
  assert.equal(chooseRuntime({ ...needs('container'), workspace: true }, host), able);
  assert.equal(chooseRuntime({ ...needs('container'), image: IMAGE }, host), able);
});

const SECRETS: NonNullable<CompileInput['secrets']> = { sandbox: 'sbx-0123456789abcdef', files: [{ name: 'id_ed25519', lease: 'lea-0123456789abcdef' }] };

const UNMOUNTABLE: readonly (readonly [what: string, asked: Pick<CompileInput, 'image' | 'network' | 'workspace' | 'secrets'>, words: RegExp])[] = [
  ['a persistent workspace', { workspace: 'ws-0123456789abcdef' }, /a persistent workspace cannot be mounted by plain/],
  ['an image', { image: IMAGE }, /an image other than host cannot be mounted by plain/],
  ['both', { workspace: 'ws-0123456789abcdef', image: IMAGE }, /a persistent workspace or an image other than host cannot be mounted by plain/],
  ['a secret that is a file', { secrets: SECRETS }, /files of secrets cannot be mounted by plain/],
  ['a network', { network: true }, /^level container cannot be delivered on this host: a network cannot be had from plain/],
];
for (const [what, asked, words] of UNMOUNTABLE) {
  test(`LEVEL_UNAVAILABLE: ${what} where no runtime of the level has it, and what to install`, () => {
    const host = { ...goodHost, runtimes: [runtime({ name: 'plain', mountsWorkspaces: false, mountsImages: false, networks: false, mountsSecrets: false })] };
    const input = { id: 'sbx-0123456789abcdef', decision: allowed({ level: 'container' }), host, seccomp: shippedSeccomp };
    const compiled = compile({ ...input, ...asked });
    assert.ok('refused' in compiled);
    assert.equal(compiled.refused.code, 'LEVEL_UNAVAILABLE');
    assert.match(compiled.refused.message, words);
    assert.match(compiled.refused.hint, /apt-get install crun/);
    assert.ok(!('refused' in compile(input)), 'without it there is nothing to refuse');
  });
}

test('the certificate that a sandbox trusts is in its spec and in no other, over /etc and below all that can be written', () => {
  for (const image of ['host', IMAGE] as const) {
    const { mounts } = specFor({}, { image, network: true, certificate: CERTIFICATE });
    const at = mounts.findIndex(({ kind }) => kind === 'trust');
    assert.deepEqual(mounts[at], { kind: 'trust', certificate: CERTIFICATE });
    assert.deepEqual(mounts.slice(at + 1).map(({ kind }) => kind), ['denials', 'init', 'tmpfs', 'tmpfs']);
    assert.deepEqual(mounts.toSpliced(at, 1), specFor({}, { image, network: true }).mounts);
  }
});

test('files of secrets are in the spec by name and lease, in their one place, with a network or without', () => {
  for (const image of ['host', IMAGE] as const) {
    const { mounts } = specFor({}, { image, secrets: SECRETS });
    const at = mounts.findIndex(({ kind }) => kind === 'secrets');
    assert.deepEqual(mounts[at], { kind: 'secrets', ...SECRETS });
    assert.deepEqual(mounts.slice(at + 1).map(({ kind }) => kind), ['init', 'tmpfs', 'tmpfs']);
    assert.deepEqual(mounts.toSpliced(at, 1), specFor({}, { image }).mounts);
  }
});

test('LAUNCH_FAILED: a spec with files of secrets gets no config where they were not written', () => {
  const spec = specFor({}, { secrets: SECRETS });
  assert.throws(() => toOci(spec, placement), { code: 'LAUNCH_FAILED', message: /the files of its secrets were not written/ });
});

test('LAUNCH_FAILED: a spec that trusts an authority gets no config where its certificate was not written', () => {
  const spec = specFor({}, { network: true, certificate: CERTIFICATE });
  assert.throws(() => toOci(spec, { ...placement, netns: '/run/netns' }), { code: 'LAUNCH_FAILED', message: /the certificate that it trusts was not written/ });
});

test('LAUNCH_FAILED: a spec that is told what a gate refuses gets no config where there is no place for it', () => {
  assert.throws(() => toOci(specFor({}, { network: true }), { ...placement, netns: '/run/netns' }), { code: 'LAUNCH_FAILED', message: /no place where the gate could say/ });
});

test('LAUNCH_FAILED: a machine that the filter is not written for gets no config', () => {
  assert.throws(() => toOci(specFor(), { ...placement, arch: 'riscv64' }), { code: 'LAUNCH_FAILED', message: /no system call filter for riscv64/ });
});
