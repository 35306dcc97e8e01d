import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode, HostFacts } from '@caisson/contract';
import { compile } from '@caisson/isolation';
import { allowed, goodHost, shippedPolicy, shippedSeccomp } from '../isolation/given.ts';
import { openFake } from '../sandbox/given.ts';

const { cgroup } = goodHost;

/** Hosts that lack one thing each. */
const LACKS: readonly (readonly [code: ErrorCode, what: string, host: Partial<HostFacts>, message: RegExp])[] = [
  ['HOST_LACKS_CGROUP', 'no cgroup hierarchy', { cgroup: { ...cgroup, mode: 'none', controllers: [] } }, /no cgroup hierarchy is mounted/],
  ['HOST_LACKS_CGROUP', 'a cgroup hierarchy that cannot be written', { cgroup: { ...cgroup, writable: false } }, /not writable/],
  ['HOST_LACKS_CGROUP', 'no pids controller', { cgroup: { ...cgroup, controllers: ['cpu', 'memory'] } }, /no pids controller/],
  ['HOST_LACKS_CGROUP', 'swap that is not accounted', { cgroup: { ...cgroup, swapAccounting: false }, swapBytes: 4096 }, /swap is on and not accounted/],
  ['HOST_LACKS_USER_NAMESPACES', 'no user namespaces', { userNamespaces: 0 }, /user\.max_user_namespaces is 0/],
  ['HOST_LACKS_SECCOMP', 'no seccomp', { seccomp: false }, /no seccomp filter mode/],
  ['HOST_LACKS_LANDLOCK', 'no Landlock', { landlockAbi: 0 }, /no Landlock/],
];

for (const [code, what, lack, message] of LACKS) {
  test(`${code}: a host with ${what} starts nothing`, async () => {
    const host = { ...goodHost, ...lack };
    const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed(), host, seccomp: shippedSeccomp });
    assert.ok('refused' in compiled);
    assert.equal(compiled.refused.code, code);
    assert.match(compiled.refused.message, message);
    const { result, steps } = await openFake({ argv: ['true'] }, { rooms: { host: async () => host } });
    assert.equal(result.ending.kind === 'refused' && result.ending.code, code);
    assert.equal(result.exit, 125);
    assert.deepEqual(steps, ['append intent', 'append outcome']);
  });
}

test('a host without Landlock is good enough for a kernel of the sandbox\'s own', () => {
  const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed({ level: 'gvisor' }), host: { ...goodHost, landlockAbi: 0 }, seccomp: shippedSeccomp });
  assert.ok(!('refused' in compiled));
});

test('ATTESTATION_FAILED: a sandbox weaker than its spec runs nothing, and its weakness is named', async () => {
  const { result, steps } = await openFake({ argv: ['true'] }, { script: { hello: { noNewPrivileges: false, capabilities: '1' } } });
  assert.deepEqual(result.ending, {
    kind: 'failed',
    code: 'ATTESTATION_FAILED',
    detail: 'the sandbox is weaker than its spec: the union of all capability sets is 1, not 0; no_new_privs is false, not true',
  });
  assert.equal(result.level.delivered, null);
  assert.ok(!steps.includes('spawn'));
});

test('INTERNAL: a defect is the call\'s ending and on record, never an exit status of the command', async () => {
  const { result, log } = await openFake({ argv: ['true'] }, { rooms: { host: () => Promise.reject(new TypeError('facts.cgroup is undefined')) } });
  assert.deepEqual(result.ending, { kind: 'failed', code: 'INTERNAL', detail: 'internal error: facts.cgroup is undefined' });
  assert.equal(log.only('outcome')['exit'], 125);
});

test('NETWORK_UNAVAILABLE: a host without a gate starts nothing that asks for a network, and everything else', async () => {
  const host = { ...goodHost, noGate: { what: 'nft was not found', how: 'apt-get install nftables' } };
  const { result, steps } = await openFake({ argv: ['true'], network: { rules: [{ host: 'api.example.com' }] } }, { rooms: { host: async () => host } });
  assert.equal(result.ending.kind === 'refused' && result.ending.code, 'NETWORK_UNAVAILABLE');
  assert.match(result.reason, /nft was not found/);
  assert.deepEqual(steps, ['append intent', 'append outcome']);
  assert.ok(!('refused' in compile({ id: 'sbx-0123456789abcdef', decision: allowed(), host, seccomp: shippedSeccomp })));
});

test('EGRESS_EXCEEDS_POLICY: a destination that the policy refuses is refused when it is asked for, and not only when it is tried', async () => {
  const policy = { value: { ...shippedPolicy, network: { allow: [{ host: '*.example.com' }], deny: [{ host: 'bad.example.com' }] } }, sha256: 'a'.repeat(64) };
  for (const [host, why] of [['api.example.org', /no rule of the policy allows it/], ['bad.example.com', /the policy denies it/]] as const) {
    const { result, steps } = await openFake({ argv: ['true'], network: { rules: [{ host }] } }, { rooms: { policy } });
    assert.equal(result.ending.kind === 'refused' && result.ending.code, 'EGRESS_EXCEEDS_POLICY');
    assert.match(result.reason, why);
    assert.deepEqual(steps, ['append intent', 'append outcome']);
  }
});
