import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Level } from '@caisson/contract';
import { Sandbox } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { callApi, type Answered } from './call-api.ts';
import { ground } from './given.ts';

const { caisson, connection, levels, sandbox } = ground();

const LEVELS: readonly Level[] = ['container', 'gvisor'];

/** One promise at each level; a level that is not delivered here is skipped by name. */
function atEachLevel(claim: string, body: (level: Level) => Promise<void>): void {
  for (const level of LEVELS) {
    test(`${claim} (${level})`, { skip: IS_ROOT ? false : NEEDS_ROOT }, async (t) => {
      if (!(await levels()).includes(level)) return t.skip(`level ${level} is not delivered here`);
      await body(level);
    });
  }
}

atEachLevel('files, variables and processes of a sandbox stay from one command to the next', async (level) => {
  await using box = await sandbox({ level, env: { GIVEN: 'box' } });
  await box.sh('echo kept > file; sleep 600 & echo $! > pid');
  const { stdout, exit } = await box.sh('cat file; kill -0 $(cat pid) && echo alive; echo $GIVEN $OWN; pwd', { env: { OWN: 'exec' }, cwd: '/workspace' });
  assert.deepEqual([exit, stdout], [0, 'kept\nalive\nbox exec\n/workspace\n']);
});

atEachLevel('stdout and stderr come apart, and an exit status as it is', async (level) => {
  await using box = await sandbox({ level });
  const result = await box.sh('echo out; echo err >&2; exit 7');
  assert.deepEqual([result.stdout, result.stderr, result.exit, result.ok], ['out\n', 'err\n', 7, false]);
});

atEachLevel('stdin is passed on, whatever its size, and ends', async (level) => {
  await using box = await sandbox({ level });
  const bytes = Buffer.alloc(3_000_001, 'caisson ');
  const { stdout } = await box.exec(['sh', '-c', 'wc -c; echo over'], { stdin: bytes });
  assert.equal(stdout, '3000001\nover\n');
});

atEachLevel('many commands run side by side, each with its own output', async (level) => {
  await using box = await sandbox({ level, limits: { pids: 200 } });
  const results = await Promise.all(Array.from({ length: 20 }, (_, n) => box.sh(`sleep 0.1; echo ${n}`)));
  assert.deepEqual(results.map(({ stdout }) => stdout), results.map((_, n) => `${n}\n`));
});

atEachLevel('a command that runs out of time is killed with its children, and the sandbox goes on', async (level) => {
  await using box = await sandbox({ level });
  await box.sh('echo here > proof');
  const result = await box.sh('sleep 300 & sleep 300', { timeoutMs: 300 });
  assert.deepEqual([result.ending, result.exit], [{ kind: 'timed-out', limit: 'wall', limitMs: 300 }, 124]); // its own limit, not the sandbox's
  const { stdout } = await box.sh('cat proof; ps -e -o comm= 2>/dev/null | grep -c sleep');
  assert.equal(stdout, 'here\n0\n');
});

atEachLevel('a signal reaches the whole group of a command', async (level) => {
  await using box = await sandbox({ level });
  const process = await box.spawn(['sh', '-c', 'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 0.05; done']);
  for await (const line of process.stdout) if (line.includes('ready')) break;
  await process.kill('SIGTERM');
  assert.equal((await process.wait()).exit, 3);
});

atEachLevel('output beyond the cap is dropped and said, and the command is not slowed by a reader that is away', async (level) => {
  await using box = await sandbox({ level, limits: { outputBytes: 100_000 } });
  const result = await box.sh('head -c 5000000 /dev/zero | tr "\\0" x; echo end >&2');
  assert.deepEqual([result.stdout.length, result.truncated, result.stderr, result.exit], [100_000, true, 'end\n', 0]);
});

atEachLevel('memory that is used up ends the command and says so; a sandbox that survives it goes on', async (level) => {
  await using box = await sandbox({ level, limits: { memoryBytes: 128 * 2 ** 20 } });
  const result = await box.exec(['python3', '-c', 'x = bytearray(10**9)']);
  assert.ok(result.ending.kind === 'out-of-memory' || (level === 'gvisor' && result.exit !== 0), result.reason);
});

atEachLevel('a paused sandbox stands still, its time limits with it, and goes on where it was', async (level) => {
  await using box = await sandbox({ level });
  const process = await box.spawn(['sh', '-c', 'i=0; while [ $i -lt 20 ]; do echo $i; i=$((i+1)); sleep 0.05; done'], { timeoutMs: 30_000 });
  await delay(150);
  await box.pause();
  const before = (await box.usage()).cpuMs;
  await delay(600);
  const used = ((await box.usage()).cpuMs ?? 0) - (before ?? 0);
  assert.ok(used <= (level === 'gvisor' ? 60 : 0), `${used} ms`); // gVisor's own kernel is not stopped
  await box.resume();
  assert.equal((await process.wait()).exit, 0);
  const lines: string[] = [];
  for await (const line of process.stdout) lines.push(line.trim());
  assert.deepEqual(lines.filter((line) => line !== ''), Array.from({ length: 20 }, (_, n) => String(n)));
});

atEachLevel('a port of the sandbox is reached from the host side, half by half', async (level) => {
  await using box = await sandbox({ level });
  const server = await box.spawn(['python3', '-c', 'import socket\ns = socket.socket(); s.bind(("127.0.0.1", 8080)); s.listen(1); print("up", flush=True)\nc, _ = s.accept(); n = 0\nwhile (b := c.recv(65536)): n += len(b)\nc.sendall(b"%d" % n); c.close()']);
  for await (const line of server.stdout) if (line.includes('up')) break;
  const connected = await box.ports.connect(8080);
  connected.write(Buffer.alloc(1_000_000));
  connected.end();
  const reply: Buffer[] = [];
  for await (const chunk of connected) reply.push(chunk as Buffer);
  assert.equal(Buffer.concat(reply).toString(), '1000000');
});

test('PORT_REFUSED: a port at which nobody listens', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using box = await sandbox();
  await assert.rejects(box.ports.connect(9), { code: 'PORT_REFUSED' });
});

test('a sandbox that nobody closes is closed when its time is over', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const box = await sandbox({ ttlMs: 400 });
  const until = Date.now() + 10_000;
  while (Date.now() < until && (await box.info()).state !== 'closed') await delay(50);
  const info = await box.info();
  assert.equal(info.state, 'closed');
  assert.match(info.reason, /time to live/);
});

test('WORKSPACE_SIZE: a workspace that is there has its size', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await (await sandbox({ workspace: 'sized', limits: { workspaceBytes: 64 * 2 ** 20 } })).close();
  await assert.rejects(sandbox({ workspace: 'sized', limits: { workspaceBytes: 128 * 2 ** 20 } }), { code: 'WORKSPACE_SIZE' });
});

test('WORKSPACE_SIZE: a limit that a workspace or a snapshot does not hold is refused, and not passed over', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using large = await sandbox({ workspace: 'large', limits: { workspaceBytes: 256 * 2 ** 20, inodes: 20_000 } });
  const from = (await large.snapshot()).id;
  for (const limits of [{ workspaceBytes: 32 * 2 ** 20 }, { inodes: 100 }]) {
    await assert.rejects(sandbox({ from, limits }), { code: 'WORKSPACE_SIZE' });
    await assert.rejects(large.fork({ limits }), { code: 'WORKSPACE_SIZE' });
  }
  await using same = await sandbox({ from, limits: { workspaceBytes: 256 * 2 ** 20, inodes: 20_000 } });
  assert.equal((await same.info()).limits.inodes, 20_000);
  await large.close();
  await assert.rejects(sandbox({ workspace: 'large', limits: { inodes: 100 } }), { code: 'WORKSPACE_SIZE' });
  await (await sandbox({ workspace: 'large' })).close();
});

test('SNAPSHOT_NOT_FOUND: a sandbox goes on when what it should be restored to is not there', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using box = await sandbox();
  await box.sh('echo kept > file');
  await assert.rejects(box.restore('lay-0000000000000000'), { code: 'SNAPSHOT_NOT_FOUND' });
  assert.equal((await box.sh('cat file')).stdout, 'kept\n');
});

test('SNAPSHOT_DIFFERS: a snapshot of a workspace of another size is refused before anything ends', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using small = await sandbox({ limits: { workspaceBytes: 32 * 2 ** 20 } });
  await using large = await sandbox({ limits: { workspaceBytes: 64 * 2 ** 20 } });
  const snapshot = await small.snapshot();
  await assert.rejects(large.restore(snapshot), { code: 'SNAPSHOT_DIFFERS' });
  await using tight = await sandbox({ limits: { workspaceBytes: 64 * 2 ** 20, inodes: 5_000 } });
  await assert.rejects(tight.restore(await large.snapshot()), { code: 'SNAPSHOT_DIFFERS', message: / 5000/ }, 'it would have more files than it may');
  assert.equal((await large.sh('echo still here')).stdout, 'still here\n');
});

test('WORKSPACE_EXISTS: a workspace that is there does not start from a snapshot', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const named = await sandbox({ workspace: 'there', limits: { workspaceBytes: 32 * 2 ** 20 } });
  const { id } = await named.snapshot();
  await named.close();
  await assert.rejects(sandbox({ workspace: 'there', from: id }), { code: 'WORKSPACE_EXISTS' });
});

test('a named workspace outlives its sandbox, and one sandbox at a time has it', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const first = await sandbox({ workspace: 'mine' });
  await first.sh('echo kept > file');
  await assert.rejects(sandbox({ workspace: 'mine' }), { code: 'WORKSPACE_ATTACHED' });
  await first.close();
  await using second = await sandbox({ workspace: 'mine', level: 'container' });
  assert.equal((await second.sh('cat file')).stdout, 'kept\n');
});

test('a sandbox is found by its name and in the list', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using box = await sandbox({ name: 'found', labels: { for: 'test' } });
  const again = await Sandbox.connect('found', { connection: await connection() });
  assert.equal(again.id, box.id);
  const listed: string[] = [];
  for await (const info of Sandbox.list({ labels: { for: 'test' } }, { connection: await connection() })) listed.push(info.id);
  assert.deepEqual(listed, [box.id]);
});

test('a command for which no process is left says which limit that is', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using box = await sandbox({ limits: { pids: 8 } });
  const hoard = await box.spawn(['python3', '-c', 'import os, time\ntry:\n  while os.fork(): pass\nexcept OSError: print("full", flush=True)\ntime.sleep(60)']);
  for await (const line of hoard.stdout) if (line.includes('full')) break;
  const { exit, reason } = await box.exec(['true']);
  assert.deepEqual([exit, /no more than 8 processes/.test(reason)], [125, true], reason);
  await hoard.kill('SIGKILL');
});

test('a fork is as its original in all that is not said, and has what is', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using box = await sandbox({ labels: { team: 'a' }, keepAlive: true, ttlMs: 120_000, limits: { memoryBytes: 128 * 2 ** 20 }, env: { GIVEN: '1' } });
  await using same = await box.fork();
  await using other = await box.fork({ labels: { team: 'b' }, idleMs: 50_000 });
  const [first, second, third] = await Promise.all([box.info(), same.info(), other.info()]);
  assert.deepEqual([second.labels, second.idleMs, second.limits], [first.labels, null, first.limits]);
  assert.ok(Math.abs(second.expiresMs - second.createdMs - 120_000) < 1_000);
  assert.deepEqual([third.labels, third.idleMs], [{ team: 'b' }, 50_000]);
});

test('the changes of a sandbox that started empty are all that it has', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using box = await sandbox();
  await box.sh('mkdir -p a/b; echo 1 > a/b/c; ln -s a l');
  const { changes, truncated } = await box.changes();
  assert.deepEqual([changes.map(({ kind, type, path }) => `${kind} ${type} ${path}`), truncated], [['added directory a', 'added directory a/b', 'added file a/b/c', 'added symlink l'], false]);
});

test('the same key gives the first exec, and the first fork, when the sandbox has been paused or closed since', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const { apiSocket } = (await caisson()).paths;
  await using box = await sandbox({ labels: { team: 'a' }, env: { GIVEN: '1' }, limits: { memoryBytes: 128 * 2 ** 20 } });
  const ask = (what: string, body: unknown, key: string): Promise<Answered> => callApi(apiSocket, 'POST', `/v1/sandboxes/${box.id}/${what}`, body, { 'idempotency-key': key });
  const asked = (key: string): Promise<readonly Answered[]> => Promise.all([ask('execs', { argv: ['sh', '-c', 'echo ran >> log'] }, key), ask('fork', { labels: { team: 'b' } }, key)]);
  const idsOf = (answers: readonly Answered[]): unknown => answers.map(({ status, body }) => [status, body['id'] ?? body['code']]);
  const first = await asked('once');
  assert.deepEqual(first.map(({ status }) => status), [201, 201], JSON.stringify(first));
  const [, fork] = first;
  await using forked = await Sandbox.connect(String(fork?.body['id']), { connection: await connection() });
  const other = async (): Promise<unknown> => idsOf([await ask('execs', { argv: ['true'] }, 'once'), await ask('fork', {}, 'once')]);
  const mismatch = [[422, 'IDEMPOTENCY_MISMATCH'], [422, 'IDEMPOTENCY_MISMATCH']];
  for (const state of ['paused', 'closed'] as const) {
    if (state === 'paused') await box.pause();
    else await box.close();
    assert.deepEqual(idsOf(await asked('once')), idsOf(first), state);
    assert.deepEqual(await other(), mismatch, state);
    assert.deepEqual((await ask('execs', { argv: ['true'] }, `other ${state}`)).body['code'], 'SANDBOX_STATE');
  }
  assert.equal((await ask('fork', {}, 'another')).body['code'], 'SANDBOX_STATE');
  assert.equal((await forked.info()).labels['team'], 'b');
});
