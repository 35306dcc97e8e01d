import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostFacts, IsolationSpec } from '@caisson/contract';
import { FakeDriver, type Hello, type Machine } from '@caisson/runtime';
import { attest } from '@caisson/sandbox';
import { goodHost, runtime, specFor } from '../isolation/given.ts';

const HOST: HostFacts = { ...goodHost, runtimes: [runtime({ name: 'fake' }), runtime({ name: 'own', guestKernel: 'own' }), runtime({ name: 'shared', userInside: 'own' })] };
const GVISOR = { kernel: '4.4.0-gvisor', landlockAbi: 0, namespaceOwner: -1, inotifyInstances: null, inotifyWatches: null, uidMap: '0 0 4294967295' };

type Seen = Pick<Machine, 'runtime' | 'user' | 'hello'>;

async function good(spec: IsolationSpec, hello: Partial<Hello> = {}, more: Partial<Seen> = {}): Promise<Seen> {
  const { runtime: name, user, hello: seen } = await new FakeDriver({}).launch(spec, { signal: new AbortController().signal });
  return { runtime: name, user, hello: { ...seen, kernel: HOST.kernel, ...hello }, ...more };
}

/** Each way in which a sandbox at container level can be weaker than its spec. */
const WEAKER: readonly (readonly [what: string, hello: Partial<Hello>, finding: RegExp])[] = [
  ['root', { uid: 0 }, /^the uid is 0, not 1000$/],
  ['another group', { gid: 0 }, /^the gid is 0, not 1000$/],
  ['a shared pid namespace', { pid: 4711 }, /^pid 1 is 4711, not 1$/],
  ['a capability', { capabilities: '200000' }, /capability sets is 200000, not 0$/],
  ['new privileges', { noNewPrivileges: false }, /^no_new_privs is false/],
  ['no filter', { seccomp: 0 }, /^the seccomp mode is 0, not 2$/],
  ['a writable root', { rootReadOnly: false }, /^a read-only root is false/],
  ['other processes', { otherProcesses: 3 }, /other processes is 3, not 0$/],
  ['a network interface', { interfaces: ['lo', 'eth0'] }, /interfaces is eth0,lo, not lo$/],
  ['the host name of the host', { hostname: 'server7' }, /^the host name is server7, not caisson$/],
  ['no Landlock', { landlockAbi: 0 }, /^Landlock is not in force$/],
  ['no user namespace', { uidMap: '0 0 4294967295' }, /^no user namespace is in force$/],
  ['some uids that are themselves', { uidMap: '0 100000 1000 1000 1000 1' }, /^no user namespace is in force$/],
  ['counts that root shares', { namespaceOwner: 65_534 }, /^what the kernel counts by user is counted for another owner, and without a bound$/],
  ['too many instances for what root shares', { namespaceOwner: 65_534, inotifyInstances: 17, inotifyWatches: 8192 }, /without a bound$/],
  ['too many watches for what root shares', { namespaceOwner: -1, inotifyInstances: 16, inotifyWatches: 8193 }, /without a bound$/],
  ['no bounds to be seen', { namespaceOwner: -1, inotifyInstances: null, inotifyWatches: null }, /without a bound$/],
  ['no map to be seen', { uidMap: '' }, /^no user namespace is in force$/],
];

for (const [what, weaker, finding] of WEAKER) {
  test(`a sandbox with ${what} is found to be weaker than its spec`, async () => {
    const spec = specFor();
    const { delivered, findings } = attest(spec, await good(spec, weaker), HOST);
    assert.equal(delivered, null);
    assert.equal(findings.length, 1);
    assert.match(findings[0] ?? '', finding);
  });
}

test('a sandbox is as strong where another owns its user namespace, when what is counted for that one is bounded', async () => {
  const bounded = { namespaceOwner: 65_534, inotifyInstances: 16, inotifyWatches: 8192 };
  assert.deepEqual(attest(specFor(), await good(specFor(), bounded), HOST).findings, []);
});

test('a sandbox that has a link to the gate and shows none is not the one that was asked for', async () => {
  const spec: IsolationSpec = { ...specFor(), network: 'gate' };
  assert.match(attest(spec, await good(spec, { interfaces: ['lo'] }), HOST).findings.join(), /interfaces is lo, not eth0,lo$/);
  assert.deepEqual(attest(spec, await good(spec, { interfaces: ['lo', 'eth0'] }), HOST).findings, []);
});

test('a sandbox that keeps its spec is attested at the level that was measured', async () => {
  const container = specFor();
  assert.deepEqual(attest(container, await good(container), HOST), { delivered: 'container', findings: [] });
  const gvisor = specFor({ level: 'gvisor' });
  assert.deepEqual(attest(gvisor, await good(gvisor, GVISOR, { runtime: 'own' }), HOST), { delivered: 'gvisor', findings: [] });
});

test('level gvisor on the kernel of the host is found, whatever the runtime calls itself', async () => {
  const spec = specFor({ level: 'gvisor' });
  const { delivered, findings } = attest(spec, await good(spec, {}, { runtime: 'own' }), HOST);
  assert.equal(delivered, null);
  assert.match(findings.join(), /which is not the sandbox's own/);
});

test('a runtime of another level, or one that the host does not have, is found', async () => {
  const spec = specFor();
  for (const name of ['own', 'unheard-of']) {
    assert.match(attest(spec, await good(spec, {}, { runtime: name }), HOST).findings.join(), new RegExp(`runtime ${name} does not deliver level container`));
  }
});

test('every weakness is named at once', async () => {
  const spec = specFor();
  const { findings } = attest(spec, await good(spec, { uid: 0, seccomp: 0, landlockAbi: 0 }), HOST);
  assert.equal(findings.length, 3);
});

test('on a runtime whose sandboxes share a map, pid 1 must be who the driver says, whatever the spec says', async () => {
  const spec = specFor();
  const asked = { runtime: 'shared', user: { uid: 20_007, gid: 20_007 } };
  assert.deepEqual(attest(spec, await good(spec, { uid: 20_007, gid: 20_007 }, asked), HOST).findings, []);
  assert.match(attest(spec, await good(spec, { uid: 1000, gid: 20_007 }, asked), HOST).findings.join(), /^the uid is 1000, not 20007$/);
  for (const id of [0, 65_534, -1, Number.NaN]) {
    const { findings } = attest(spec, await good(spec, { uid: id, gid: id }, { runtime: 'shared', user: { uid: id, gid: id } }), HOST);
    assert.match(findings.join(), /is not an unprivileged user/);
  }
});

test('on every other runtime a driver that sets up another user than that of the spec is found', async () => {
  const spec = specFor();
  const { findings } = attest(spec, await good(spec, { uid: 1001, gid: 1000 }, { user: { uid: 1001, gid: 1000 } }), HOST);
  assert.deepEqual(findings, ['the user is 1001:1000, not 1000:1000']);
});
