import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { IsolationSpec, Problem } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { compile } from '@caisson/isolation';
import { Caller, connectChannel } from '@caisson/wire';
import { endOf, startCli } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { allowed, shippedSeccomp } from '../isolation/given.ts';
import { sharedInstance } from '../limits/given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const instance = sharedInstance();

async function spec(): Promise<IsolationSpec> {
  const caisson = await instance();
  const { host } = await caisson.control();
  const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed(), host, seccomp: shippedSeccomp });
  assert.ok(!('refused' in compiled));
  return compiled;
}

/** Says one thing to the launcher as control would, and resolves to its answer, or to null when it hung up. */
async function askLauncher(message: unknown): Promise<{ readonly type: string; readonly problem?: Problem } | null> {
  const { promise, resolve } = Promise.withResolvers<{ readonly type: string; readonly problem?: Problem } | null>();
  using channel = await connectChannel((await instance()).paths.launcherSocket, { onMessage: (reply) => resolve(reply as { type: string }), onClose: () => resolve(null) });
  channel.send(message);
  return await promise;
}

async function underWay(): Promise<void> {
  const caisson = await instance();
  while ((await caisson.control()).calls.length === 0) await delay(20);
}

const WEAKER: readonly (readonly [what: string, weaker: Partial<IsolationSpec>, violation: RegExp])[] = [
  ['may gain privileges', { noNewPrivileges: false }, /it may gain privileges/],
  ['holds a capability', { capabilities: ['CAP_SYS_ADMIN'] }, /CAP_SYS_ADMIN/],
  ['can write its root', { readOnlyRoot: false }, /the root is writable/],
  ['shares the network', { namespaces: ['cgroup', 'ipc', 'mount', 'pid', 'user', 'uts'] }, /the network namespace is shared/],
  ['has no filter', { seccomp: { defaultErrno: 1, rules: [] } }, /the filter is empty/],
  ['sees the kernel\'s memory', { maskedPaths: [] }, /\/proc\/kcore is not masked/],
];

for (const [what, weaker, violation] of WEAKER) {
  test(`FLOOR_VIOLATED: the launcher refuses a sandbox that ${what}, whoever asks`, { skip }, async () => {
    const reply = await askLauncher({ type: 'launch', spec: { ...(await spec()), ...weaker } });
    assert.equal(reply?.problem?.code, 'FLOOR_VIOLATED');
    assert.match(reply?.problem?.message ?? '', violation);
  });
}

test('the spec that the floor tests weaken is one that the launcher launches', { skip }, async () => {
  assert.equal((await askLauncher({ type: 'launch', spec: await spec() }))?.type, 'launched');
});

test('FRAME_INVALID: a host path, an unknown verb and a field too many are not messages of the launcher', { skip }, async () => {
  const good = await spec();
  const mounts = [...good.mounts, { kind: 'bind', source: '/etc', at: '/mnt' }];
  for (const message of [{ type: 'launch', spec: { ...good, mounts } }, { type: 'exec', command: 'id' }, { type: 'close', force: true }, 'hello', null]) {
    assert.equal(await askLauncher(message), null, JSON.stringify(message));
  }
  assert.equal((await askLauncher({ type: 'close' }))?.problem?.code, 'FRAME_INVALID');
});

test('FRAME_INVALID: a verb that is not known is answered with the code', { skip }, async () => {
  const caisson = await instance();
  for (const socket of [caisson.paths.supervisorSocket, caisson.paths.scribeSocket]) {
    using caller = new Caller(socket);
    await assert.rejects(caller.call('truncate', {}), { code: 'FRAME_INVALID', message: /no verb truncate/ });
  }
});

/** Bytes that no process of Caisson sends: no frame, a frame too long, an unknown kind, JSON that is none or no message. */
const GARBAGE: readonly Buffer[] = [
  Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  Buffer.alloc(64, 0xff),
  frame(0, Buffer.from('{')),
  frame(0, Buffer.from('{}')),
  frame(0, Buffer.from('null')),
  frame(0, Buffer.from('[]')),
  frame(3, Buffer.alloc(1024)),
  frame(9, Buffer.alloc(1)),
];

function frame(kind: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt8(kind, 4);
  return Buffer.concat([header, payload]);
}

for (const role of ['control', 'launcher', 'scribe', 'supervisor'] as const) {
  test(`FRAME_INVALID: garbage at the socket of ${role} ends that connection and nothing else`, { skip }, async () => {
    const caisson = await instance();
    const earlier = await caisson.status();
    for (const bytes of GARBAGE) {
      const socket = connect(caisson.paths[`${role}Socket`]);
      socket.on('error', () => undefined);
      socket.end(bytes);
      socket.resume();
      await once(socket, 'close');
    }
    const { processes, pid } = await caisson.status();
    assert.equal(pid, earlier.pid);
    assert.deepEqual(processes, earlier.processes, 'no process was restarted');
    assert.equal((await caisson.run({ argv: ['true'] })).result.exit, 0);
  });
}

test('CANCELLED: Ctrl-C ends the call with 125, and the record says that it was cancelled', { skip }, async () => {
  const caisson = await instance();
  const child = startCli(caisson.env, ['run', '--', 'sleep', '60']);
  await underWay();
  child.kill('SIGINT');
  const { status, stderr } = await endOf(child);
  assert.equal(status, 125);
  assert.match(stderr, /^caisson: CANCELLED: the call was cancelled: interrupted$/m);
  while ((await caisson.control()).calls.length > 0) await delay(20);
  for await (const { entry } of readEntries(caisson.paths.evidence, { last: 1 })) {
    assert.equal(entry.kind, 'outcome');
    assert.equal((entry.body as { ending: { kind: string } }).ending.kind, 'cancelled');
  }
});

test('SANDBOX_LOST: a call whose daemon is killed is unknown: 123, never 0', { skip }, async () => {
  const caisson = await instance();
  const child = startCli(caisson.env, ['run', '--', 'sleep', '60']);
  await underWay();
  const control = (await caisson.status()).processes.find(({ name }) => name === 'control');
  process.kill(control?.pid ?? Number.NaN, 'SIGKILL');
  const { status, stderr } = await endOf(child);
  assert.equal(status, 123);
  assert.match(stderr, /^caisson: SANDBOX_LOST: .*\nhint: look at the outcome in .*audit tail/m);
});
