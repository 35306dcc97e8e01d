import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { CaissonError, ExecError, Sandbox, Snapshots, Workspaces, type EgressRule } from '@caisson/sdk';
import { REAL, realCaisson } from './given.ts';

const real = realCaisson();
const code = (expected: string) => (error: unknown): boolean => error instanceof CaissonError && error.code === expected;

test('a command that fails is a result, with its two streams apart', REAL, async () => {
  await using box = await real().create();
  const result = await box.exec(['sh', '-c', 'echo out; echo err >&2; exit 3']);
  assert.deepEqual([result.ok, result.exit, result.stdout, result.stderr, result.truncated], [false, 3, 'out\n', 'err\n', false]);
  assert.match(result.reason, /exited with 3/);
  assert.ok(result.evidence.intent !== null && result.evidence.outcome !== null && result.durationMs >= 0);
});

test('with check a command that fails throws everything that is known of it', REAL, async () => {
  await using box = await real().create();
  await assert.rejects(box.sh('echo why >&2; exit 4', { check: true }), (error) => {
    assert.ok(error instanceof ExecError && error.code === 'EXEC_FAILED');
    assert.equal(error.result.exit, 4);
    assert.match(error.message, /exited with 4: why/);
    return true;
  });
});

test('a program that is not there is not success and not an exception', REAL, async () => {
  await using box = await real().create();
  const result = await box.exec(['no-such-program']);
  assert.deepEqual([result.ok, result.exit, result.ending.kind], [false, 127, 'not-started']);
});

test('stdin reaches the command from text, bytes and an async iterable, and then ends', REAL, async () => {
  await using box = await real().create();
  async function* parts(): AsyncGenerator<string> {
    yield 'one ';
    await delay(20);
    yield 'two';
  }
  const [text, bytes, stream] = await Promise.all([
    box.exec(['cat'], { stdin: 'text' }), box.exec(['cat'], { stdin: Buffer.from([0, 255, 10]) }), box.exec(['cat'], { stdin: parts() }),
  ]);
  assert.deepEqual([text.stdout, [...bytes.stdoutBytes], stream.stdout], ['text', [0, 255, 10], 'one two']);
});

test('a command that ends without reading its stdin has not failed for that', REAL, async () => {
  await using box = await real().create();
  const result = await box.exec(['true'], { stdin: Buffer.alloc(8 * 1024 * 1024) });
  assert.equal(result.ok, true);
});

test('more output than is kept is dropped and said, and the command still ends as it does', REAL, async () => {
  await using box = await real().create();
  const result = await box.exec(['sh', '-c', 'head -c 300000 /dev/zero; exit 5'], { maxBufferBytes: 1000 });
  assert.deepEqual([result.stdoutBytes.length, result.truncated, result.exit], [1000, true, 5]);
  const limited = await box.exec(['sh', '-c', 'head -c 300000 /dev/zero'], { outputBytes: 2000 });
  assert.deepEqual([limited.stdoutBytes.length, limited.truncated], [2000, true]);
});

test('aborting a wait kills the command, and throws the reason', REAL, async () => {
  await using box = await real().create();
  const abort = new AbortController();
  const reason = new Error('enough');
  const waiting = box.exec(['sleep', '30'], { signal: abort.signal });
  const refused = assert.rejects(waiting, (error) => error === reason);
  await delay(200);
  abort.abort(reason);
  await refused;
  const [info] = await box.execs();
  assert.ok(info !== undefined);
  assert.equal((await (await box.attach(info.id)).wait()).ending.kind, 'signaled');
});

test('aborting at the moment of the start leaves nothing running', REAL, async () => {
  await using box = await real().create();
  await Promise.all(Array.from({ length: 8 }, async (_, index) => {
    const abort = new AbortController();
    const waiting = assert.rejects(box.exec(['sleep', '30'], { signal: abort.signal }));
    await delay(index);
    abort.abort();
    await waiting;
  }));
  for (const { id } of await box.execs()) assert.notEqual((await (await box.attach(id)).wait({ signal: AbortSignal.timeout(10_000) })).ok, true);
  assert.deepEqual((await box.info()).running, []);
});

test('a source of stdin that fails, and an onOutput that throws, kill the command', REAL, async () => {
  await using box = await real().create();
  // The last one is of another call of the caller's: it says nothing of this connection.
  for (const reason of [new Error('enough'), new CaissonError({ code: 'CONNECTION_LOST', message: 'of another', hint: '' })]) {
    async function* failing(): AsyncGenerator<string> {
      yield 'some\n';
      throw reason;
    }
    const throwing = (): void => {
      throw reason;
    };
    await assert.rejects(box.exec(['sh', '-c', 'cat; sleep 300'], { stdin: failing() }), (error) => error === reason);
    await assert.rejects(box.exec(['sh', '-c', 'echo on; sleep 300'], { onOutput: throwing }), (error) => error === reason);
  }
  const execs = await box.execs();
  assert.equal(execs.length, 4);
  for (const { id } of execs) assert.equal((await (await box.attach(id)).wait({ signal: AbortSignal.timeout(10_000) })).ending.kind, 'signaled');
  const left = new Error('left');
  await assert.rejects(box.exec(['sh', '-c', 'echo on; sleep 300'], { killOnAbort: false, onOutput: () => Promise.reject(left) }), (error) => error === left);
  assert.equal((await box.info()).running.length, 1);
});

test('with killOnAbort false the command goes on, and can be attached to', REAL, async () => {
  await using box = await real().create();
  const abort = new AbortController();
  const command = ['sh', '-c', 'echo on; until test -e go; do sleep 0.05; done; echo done'];
  await assert.rejects(box.exec(command, { signal: abort.signal, killOnAbort: false, onOutput: () => abort.abort() }));
  const [info] = await box.execs();
  assert.equal(info?.state, 'running');
  const process = await box.attach(info.id);
  await box.files.write('go', '');
  assert.equal(await process.stdout.text(), 'on\ndone\n');
  assert.equal((await process.wait()).ok, true);
});

test('a process that was spawned is written to, read by lines, signalled and waited for', REAL, async () => {
  await using box = await real().create();
  const process = await box.spawn(['sh', '-c', 'while read -r line; do echo "got $line"; done; echo over >&2'], { stdin: true });
  await Promise.all([process.write('a\n'), process.write('b\nc'), process.endStdin()]);
  assert.deepEqual(await Array.fromAsync(process.stdout.lines()), ['got a', 'got b']);
  assert.equal(await process.stderr.text(), 'over\n');
  assert.equal((await process.wait()).ok, true);
  assert.equal(await process.kill(), false);
  const sleeping = await box.spawn(['sleep', '30']);
  assert.equal(await sleeping.kill('SIGTERM'), true);
  assert.deepEqual((await sleeping.wait()).ending, { kind: 'signaled', signal: 15 });
});

test('leaving the block of a process kills it', REAL, async () => {
  await using box = await real().create();
  const id = await (async () => {
    await using process = await box.spawn(['sleep', '30']);
    return process.id;
  })();
  assert.equal((await (await box.attach(id)).wait()).ending.kind, 'signaled');
});

test('another client that attaches writes after what was written', REAL, async () => {
  await using box = await real().create();
  const first = await box.spawn(['cat'], { stdin: true });
  await first.write('first ');
  const second = await (await Sandbox.connect(box.id, { connection: real().connection })).attach(first.id);
  await second.write('second');
  await second.endStdin();
  assert.equal(await first.stdout.text(), 'first second');
});

test('a terminal has the size that it was given, and the next one', REAL, async () => {
  await using box = await real().create();
  const process = await box.spawn(['sh', '-c', 'stty size; read -r line; stty size'], { tty: { cols: 90, rows: 20 } });
  const lines = process.stdout.lines();
  assert.equal((await lines.next()).value, '20 90\r');
  await process.resize(100, 30);
  await process.write('\n');
  assert.match((await Array.fromAsync(lines)).join('\n'), /30 100/);
});

test('the same key makes one sandbox and starts one command, however often they are asked for', REAL, async () => {
  const { connection } = real();
  const [a, b] = await Promise.all([Sandbox.create({}, { connection, idempotencyKey: 'one' }), Sandbox.create({}, { connection, idempotencyKey: 'one' })]);
  await using box = a;
  assert.equal(a.id, b.id);
  const runs = await Promise.all([1, 2, 3].map(() => box.exec(['sh', '-c', 'echo ran >> log; cat log'], { idempotencyKey: 'two' })));
  assert.deepEqual(new Set(runs.map(({ execId }) => execId)).size, 1);
  assert.deepEqual(runs.map(({ stdout }) => stdout), ['ran\n', 'ran\n', 'ran\n']);
});

test('a sandbox is found by its name, listed by its labels, renewed, measured, and closed twice', REAL, async () => {
  const { connection } = real();
  await using box = await Sandbox.create({ name: 'found', labels: { kind: 'sdk' } }, { connection });
  assert.equal((await Sandbox.connect('found', { connection })).id, box.id);
  assert.deepEqual((await Array.fromAsync(Sandbox.list({ state: 'running', labels: { kind: 'sdk' } }, { connection }))).map(({ id }) => id), [box.id]);
  assert.equal((await box.renew({ idleMs: 123_000 })).idleMs, 123_000);
  assert.ok(((await box.usage()).pids ?? 1) >= 1);
  await box.close();
  await box.close();
  assert.equal((await box.info()).state, 'closed');
  await assert.rejects(box.exec(['true']), code('SANDBOX_STATE'));
  await assert.rejects(Sandbox.connect('found', { connection }), code('SANDBOX_NOT_FOUND'));
});

test('a snapshot is kept once under a key, listed, exported and removed', REAL, async () => {
  const { connection } = real();
  await using box = await real().create();
  await box.files.write('page', 'text');
  const [one, again] = [await box.snapshot({ idempotencyKey: 'once' }), await box.snapshot({ idempotencyKey: 'once' })];
  assert.equal(one.id, again.id);
  assert.deepEqual((await Snapshots.list({ connection })).map(({ id }) => id), [one.id]);
  assert.equal((await Snapshots.get(one.id, { connection })).id, one.id);
  const { workspace } = await Workspaces.import(await Snapshots.export(one.id, { connection }), { name: 'taken-in', connection });
  assert.equal((await Workspaces.get('taken-in', { connection })).id, workspace.id);
  const archive = await Workspaces.export('taken-in', { connection });
  const closed = once(archive, 'close');
  archive.destroy();
  await closed;
  await Workspaces.remove('taken-in', { connection }); // nothing uses it any more
  await assert.rejects(Workspaces.get('taken-in', { connection }), code('WORKSPACE_NOT_FOUND'));
  for (const { id } of await Snapshots.list({ connection })) await Snapshots.remove(id, { connection });
  await assert.rejects(Snapshots.remove(one.id, { connection }), code('SNAPSHOT_NOT_FOUND'));
  const gone = AbortSignal.abort(new Error('enough'));
  await assert.rejects(Workspaces.list({ connection, signal: gone }), /enough/);
});

test('a snapshot, a fork and a restore have the files of their moment', REAL, async () => {
  await using box = await real().create();
  await box.files.write('a.txt', 'then');
  const snapshot = await box.snapshot({ label: 'then' });
  await box.files.write('a.txt', 'now');
  await using fork = await box.fork();
  await fork.files.write('a.txt', 'fork');
  assert.equal(await box.files.read('a.txt'), 'now');
  await box.restore(snapshot);
  assert.deepEqual([await box.files.read('a.txt'), await fork.files.read('a.txt')], ['then', 'fork']);
});

test('a paused sandbox runs nothing, its files can be read, and it goes on', REAL, async () => {
  await using box = await real().create();
  const ticking = await box.spawn(['sh', '-c', 'while :; do date +%s%N >> ticks; sleep 0.02; done']);
  for (const untilMs = performance.now() + 10_000; !(await box.files.exists('ticks')); await delay(20)) assert.ok(performance.now() < untilMs, 'it does not tick');
  assert.equal((await box.pause()).state, 'paused');
  const before = await box.files.read('ticks');
  await delay(200);
  assert.equal(await box.files.read('ticks'), before);
  await box.resume();
  for (const untilMs = performance.now() + 10_000; (await box.files.read('ticks')).length <= before.length; await delay(20)) assert.ok(performance.now() < untilMs, 'it does not go on');
  await ticking.kill('SIGKILL');
});

test('the rules of a network are told, replaced and added to, as texts or whole', REAL, async () => {
  const rule: EgressRule = { host: 'api.test', port: 80, protocol: 'http', http: { methods: ['GET'] } };
  await using box = await real().create({ network: { rules: ['a.test', rule] } });
  await box.sh('getent hosts b.test');
  const told = await box.network.get();
  assert.deepEqual([told.rules, told.connections], [[{ host: 'a.test' }, rule], []]);
  assert.deepEqual(told.refused.map(({ what, to, wouldAllow }) => [what, to, wouldAllow]), [['name', 'b.test', '--allow b.test']]);
  assert.deepEqual((await box.network.set(['b.test:22/tcp'])).rules, [{ host: 'b.test', port: 22, protocol: 'tcp' }]);
  assert.deepEqual((await box.network.allow('*.c.test', rule)).rules.map(({ host }) => host), ['b.test', '*.c.test', 'api.test']);
  await using fork = await box.fork();
  assert.deepEqual((await fork.network.get()).rules, (await box.network.get()).rules);
  assert.deepEqual((await box.network.set(told)).rules, told.rules);
  for (const text of ['https://a.test', 'a.test:0', 'a.test/udp', '', 'a b']) await assert.rejects(box.network.allow(text), { code: 'OPTIONS_INVALID' });
  await assert.rejects(box.network.allow('10.0.0.1'), { code: 'REQUEST_INVALID' });
  assert.deepEqual((await box.network.get()).rules, told.rules);
});

test('rules that are added to a sandbox that learns leave it learning', REAL, async () => {
  await using box = await real().create({ network: { rules: ['a.test'], learn: true } });
  assert.equal((await box.network.get()).learn, true);
  await box.network.allow('b.test');
  const { rules, learn } = await box.network.get();
  assert.deepEqual([rules, learn], [[{ host: 'a.test' }, { host: 'b.test' }], true]);
  await box.network.set(['c.test']);
  assert.equal((await box.network.allow('d.test')).learn, undefined);
});

test('NETWORK_ABSENT: a sandbox that was made without a network gets none', REAL, async () => {
  await using box = await real().create();
  await assert.rejects(box.network.get(), { code: 'NETWORK_ABSENT' });
  await assert.rejects(box.network.set([]), { code: 'NETWORK_ABSENT' });
});

test('WORKSPACE_EXISTS: an archive is not unpacked over a workspace that is there, and one that breaks off leaves none', REAL, async () => {
  const { connection } = real();
  await using source = await real().create({ workspace: 'own' });
  await source.files.write('kept', 'kept');
  const archive = Buffer.concat(await Array.fromAsync(await Workspaces.export('own', { connection })));
  await source.files.write('kept', 'changed');
  const names = async (): Promise<readonly unknown[]> => (await Workspaces.list({ connection })).map(({ name }) => name);
  for (const state of ['in use', 'free'] as const) {
    if (state === 'free') await source.close();
    await assert.rejects(Workspaces.import(archive, { name: 'own', connection }), code('WORKSPACE_EXISTS'), state);
  }
  await using again = await real().create({ workspace: 'own' });
  assert.equal(await again.files.read('kept'), 'changed');

  await assert.rejects(Workspaces.import(Buffer.from('no archive'), { name: 'broken', connection }), code('ARCHIVE_INVALID'));
  assert.equal((await names()).includes('broken'), false);
  async function* cut(): AsyncGenerator<Buffer> {
    yield archive.subarray(0, archive.length / 2);
    for (const untilMs = performance.now() + 10_000; !(await names()).includes('broken') && performance.now() < untilMs; ) await delay(20);
    throw new Error('the sender breaks off');
  }
  await assert.rejects(Workspaces.import(cut(), { name: 'broken', connection }));
  for (const untilMs = performance.now() + 10_000; (await names()).includes('broken'); await delay(20)) assert.ok(performance.now() < untilMs, 'half a workspace is left');

  const made = await Promise.allSettled([1, 2].map(() => Workspaces.import(archive, { name: 'broken', connection })));
  assert.deepEqual(made.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
  assert.ok(made.every((each) => each.status === 'fulfilled' || code('WORKSPACE_EXISTS')(each.reason)));
  await using whole = await real().create({ workspace: 'broken' });
  assert.equal(await whole.files.read('kept'), 'kept');
});

test('a workspace is exported while a sandbox that was restored uses it', REAL, async () => {
  const { connection } = real();
  await using box = await real().create({ workspace: 'restored' });
  await box.files.write('page', 'text');
  await box.restore(await box.snapshot());
  assert.equal((await Workspaces.get('restored', { connection })).attachedTo, box.id);
  assert.equal((await Workspaces.list({ connection })).find(({ name }) => name === 'restored')?.attachedTo, box.id);
  const archive = Buffer.concat(await Array.fromAsync(await Workspaces.export('restored', { connection })));
  assert.ok(archive.includes('page'));
  const inUse = (error: unknown): boolean => code('WORKSPACE_ATTACHED')(error) && (error as Error).message.includes(box.id);
  await assert.rejects(Workspaces.remove('restored', { connection }), inUse);
  await assert.rejects(real().create({ workspace: 'restored' }), inUse);
});
