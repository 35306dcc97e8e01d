import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostFacts, IsolationSpec } from '@caisson/contract';
import { FakeDriver, type Hello, type Machine } from '@caisson/runtime';
import { attest } from '@caisson/sandbox';
import { goodHost, runtime, specFor } from '../isolation/given.ts';

const HOST: HostFacts = { ...goodHost, runtimes: [runtime({ name: 'fake' }), runtime({ name: 'own', guestKernel: 'own' })] };
const GVISOR = { kernel: '4.4.0-gvisor', landlockAbi: 0, uidMap: '0 0 4294967295' };

async function goodHello(spec: IsolationSpec): Promise<Hello> {
  const machine: Machine = await new FakeDriver({}).launch(spec, { signal: new AbortController().signal });
  return { ...machine.hello, kernel: HOST.kernel };
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
  ['a network interface', { interfaces: ['lo', 'eth0'] }, /interfaces is lo,eth0, not lo$/],
  ['the host name of the host', { hostname: 'server7' }, /^the host name is server7, not caisson$/],
  ['no Landlock', { landlockAbi: 0 }, /^Landlock is not in force$/],
  ['no user namespace', { uidMap: '0 0 4294967295' }, /^no user namespace is in force$/],
];

for (const [what, weaker, finding] of WEAKER) {
  test(`a sandbox with ${what} is found to be weaker than its spec`, async () => {
    const spec = specFor();
    const { delivered, findings } = attest(spec, { ...(await goodHello(spec)), ...weaker }, HOST, 'fake');
    assert.equal(delivered, null);
    assert.equal(findings.length, 1);
    assert.match(findings[0] ?? '', finding);
  });
}

test('a sandbox that keeps its spec is attested at the level that was measured', async () => {
  const container = specFor();
  assert.deepEqual(attest(container, await goodHello(container), HOST, 'fake'), { delivered: 'container', findings: [] });
  const gvisor = specFor({ level: 'gvisor' });
  assert.deepEqual(attest(gvisor, { ...(await goodHello(gvisor)), ...GVISOR }, HOST, 'own'), { delivered: 'gvisor', findings: [] });
});

test('level gvisor on the kernel of the host is found, whatever the runtime calls itself', async () => {
  const spec = specFor({ level: 'gvisor' });
  const { delivered, findings } = attest(spec, { ...(await goodHello(spec)) }, HOST, 'own');
  assert.equal(delivered, null);
  assert.match(findings.join(), /which is not the sandbox's own/);
});

test('a runtime of another level, or one that the host does not have, is found', async () => {
  const spec = specFor();
  for (const name of ['own', 'unheard-of']) {
    assert.match(attest(spec, await goodHello(spec), HOST, name).findings.join(), new RegExp(`runtime ${name} does not deliver level container`));
  }
});

test('every weakness is named at once', async () => {
  const spec = specFor();
  const { findings } = attest(spec, { ...(await goodHello(spec)), uid: 0, seccomp: 0, landlockAbi: 0 }, HOST, 'fake');
  assert.equal(findings.length, 3);
});
