import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecInfo, SandboxInfo } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { cli, endOf, startCli, type Said } from './given.ts';
import { roadTo } from './road.ts';

const said = ({ status, stdout, stderr }: Said): string => `${status}\n${stdout.toString()}\n${stderr}`;
const json = ({ stdout }: Said): unknown => JSON.parse(stdout.toString());

describe('sandboxes that stay, by the command line', { skip: IS_ROOT ? false : NEEDS_ROOT }, () => {
  let caisson: Caisson;
  before(async () => {
    caisson = await startCaisson();
  });
  after(() => caisson[Symbol.asyncDispose]());
  const run = (...args: readonly string[]): Promise<Said> => cli(caisson.env, args);
  const ok = async (...args: readonly string[]): Promise<string> => {
    const end = await run(...args);
    assert.equal(end.status, 0, said(end));
    return end.stdout.toString();
  };
  const made = async (...flags: readonly string[]): Promise<string> => {
    const id = (await ok('create', ...flags)).trim();
    assert.match(id, /^sbx-[0-9a-z]{16}$/);
    return id;
  };

  test('create prints an id, ls lists it, and rm ends it', async () => {
    const id = await made('--name', 'first', '--memory', '128Mi', '--ttl', '10m', '--label', 'team=blue', '--env', 'COLOUR=red');
    const listed = (json(await run('ls', '--json', '--label', 'team=blue')) as { sandboxes: SandboxInfo[] });
    assert.deepEqual(listed.sandboxes.map(({ id: each, name, state, limits }) => [each, name, state, limits.memoryBytes]), [[id, 'first', 'running', 134_217_728]]);
    assert.match(await ok('ls'), new RegExp(`${id}  first  running  container  host`));
    assert.equal((await ok('exec', 'first', '--', 'printenv', 'COLOUR')), 'red\n');
    assert.equal(await ok('rm', 'first'), `${id}\n`);
    assert.doesNotMatch(await ok('ls'), new RegExp(id));
    assert.match(await ok('ls', '-a'), new RegExp(`${id}.*closed`));
  });

  test('exec ends with the status of its command, keeps streams apart and takes stdin', async () => {
    const id = await made();
    const mixed = await run('exec', id, '--', 'sh', '-c', 'echo out; echo err >&2; exit 7');
    assert.deepEqual([mixed.status, mixed.stdout.toString(), mixed.stderr], [7, 'out\n', 'err\n']);
    const big = Buffer.alloc(3_000_000, 'x');
    const summed = await cli(caisson.env, ['exec', '-i', id, '--', 'wc', '-c'], big);
    assert.deepEqual([summed.status, summed.stdout.toString()], [0, '3000000\n'], said(summed));
    assert.equal((await run('exec', id, '--', '/no/such')).status, 127);
    assert.equal((await run('exec', '--timeout', '300ms', id, '--', 'sleep', '9')).status, 124);
    assert.equal((await run('exec', id, '--', 'sh', '-c', 'kill -9 $$')).status, 137);
    const told = (json(await run('exec', '--json', '--cwd', '/tmp', '--env', 'A=b c', id, '--', 'sh', '-c', 'pwd; echo "$A"')) as ExecInfo & { stdout: string });
    assert.deepEqual([told.exit, told.stdout], [0, '/tmp\nb c\n']);
    await ok('rm', id);
  });

  test('a process goes on in a fork with memory, and in a sandbox made from a snapshot with memory', async (t) => {
    if (!(await caisson.levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
    const id = await made('--level', 'gvisor');
    await ok('exec', '-d', id, '--', 'sh', '-c', 'i=0; while :; do i=$((i + 1)); echo $i > count; sleep 0.05; done');
    await ok('exec', id, '--', 'sh', '-c', 'until test "$(cat count 2>/dev/null)" -gt 5; do sleep 0.05; done');
    const snapshot = (json(await run('snapshot', '--memory', '--json', id)) as { readonly id: string; readonly memory: boolean });
    assert.equal(snapshot.memory, true);
    const forked = (await ok('fork', '--with-memory', id)).trim();
    const again = await made('--level', 'gvisor', '--from', snapshot.id, '--with-memory');
    for (const each of [forked, again]) {
      assert.equal(await ok('exec', each, '--', 'sh', '-c', 'a=$(cat count); until test "$(cat count)" -gt "$a"; do sleep 0.05; done; echo goes on'), 'goes on\n');
    }
    await ok('rm', id, forked, again);
  });

  test('a command that was detached goes on, and logs shows what it wrote', async () => {
    const id = await made();
    const exec = (await ok('exec', '-d', id, '--', 'sh', '-c', 'echo one; until test -e go; do sleep 0.1; done; echo two')).trim();
    for (const untilMs = performance.now() + 20_000; (await ok('logs', id, exec)) !== 'one\n'; ) assert.ok(performance.now() < untilMs, 'what it wrote is shown');
    await ok('exec', id, '--', 'touch', 'go');
    assert.equal(await ok('logs', '-f', id, exec), 'one\ntwo\n');
    assert.equal(await ok('logs', '--from', '4', id, exec), 'two\n');
    const lines = (await ok('logs', '--json', id, exec)).trim().split('\n').map((line) => JSON.parse(line) as { base64?: string; end?: ExecInfo });
    assert.equal(Buffer.concat(lines.map(({ base64 = '' }) => Buffer.from(base64, 'base64'))).toString(), 'one\ntwo\n');
    assert.equal(lines.at(-1)?.end?.exit, 0);
    await ok('rm', id);
  });

  test('logs of a running command shows all of it, however slowly it comes', { timeout: 60_000 }, async () => {
    const id = await made();
    const exec = (await ok('exec', '-d', id, '--', 'sh', '-c', 'seq 1 20000; echo sleeps >&2; sleep 60')).trim();
    while (!(await run('logs', id, exec)).stderr.includes('sleeps')) await delay(20);
    const expected = Array.from({ length: 20_000 }, (_, at) => `${at + 1}\n`).join('');
    await using road = await roadTo(caisson.paths.apiSocket, join(caisson.dir, 'slow.sock'), (way) => (way === 'back' ? delay(400) : undefined));
    const slow = { ...caisson.env, CAISSON_API_SOCKET: road.socket };
    const all = await cli(slow, ['logs', id, exec]);
    assert.deepEqual([all.status, all.stdout.toString() === expected, all.stderr], [0, true, 'sleeps\n'], `${all.stdout.length} bytes of ${expected.length} came`);
    const rest = await cli(slow, ['logs', '--json', '--from', '7', id, exec]);
    const shown = rest.stdout.toString().trim().split('\n').map((line) => JSON.parse(line) as { readonly stream: string; readonly offset: number; readonly base64: string });
    let next = 7;
    for (const { offset, base64 } of shown) {
      assert.equal(offset, next);
      next += Buffer.from(base64, 'base64').length;
    }
    assert.equal(Buffer.concat(shown.filter(({ stream }) => stream === 'stdout').map(({ base64 }) => Buffer.from(base64, 'base64'))).toString(), expected.slice(7));
    let pieces = 0;
    await using cut = await roadTo(caisson.paths.apiSocket, join(caisson.dir, 'cut.sock'), (way, request) => {
      if (way === 'back' && request.endsWith('/recording') && ++pieces === 2) throw new Error('cut');
    });
    const broken = await cli({ ...caisson.env, CAISSON_API_SOCKET: cut.socket }, ['logs', id, exec]);
    assert.deepEqual([broken.status, /CONNECTION_LOST/.test(broken.stderr)], [1, true], `a part is not told as all: ${broken.stderr}`);
    await ok('rm', id);
  });

  test('a SIGTERM to exec is one to its command, and the second signal kills it', async () => {
    const id = await made();
    const child = startCli(caisson.env, ['exec', id, '--', 'sh', '-c', 'trap "echo caught" TERM; echo ready; while :; do sleep 0.05; done']);
    const end = endOf(child);
    await new Promise<void>((done) => child.stdout?.once('data', () => done()));
    const caught = new Promise<void>((done) => child.stdout?.on('data', (chunk: Buffer) => chunk.includes('caught') && done()));
    child.kill('SIGTERM');
    await caught;
    child.kill('SIGTERM');
    const { status, stdout } = await end;
    assert.deepEqual([status, stdout.toString()], [137, 'ready\ncaught\n']);
    await ok('rm', id);
  });

  test('exec -t gives a terminal, also where there is none here', async () => {
    const id = await made();
    assert.equal(await ok('exec', '-t', id, '--', 'sh', '-c', 'stty size; test -t 1 && echo terminal'), '24 80\r\nterminal\r\n');
    await ok('rm', id);
  });

  test('what is paused does nothing until it is resumed', async () => {
    const id = await made();
    const exec = (await ok('exec', '-d', id, '--', 'sh', '-c', 'for i in 1 2 3 4 5; do sleep 0.1; echo $i; done')).trim();
    assert.equal((json(await run('pause', '--json', id)) as SandboxInfo).state, 'paused');
    const frozen = await ok('logs', id, exec);
    await new Promise((done) => setTimeout(done, 700));
    assert.equal(await ok('logs', id, exec), frozen);
    assert.equal((json(await run('resume', '--json', id)) as SandboxInfo).state, 'running');
    assert.equal(await ok('logs', '-f', id, exec), '1\n2\n3\n4\n5\n');
    await ok('rm', id);
  });

  test('snapshot, diff, restore and fork give the files of then', async () => {
    const id = await made();
    await ok('exec', id, '--', 'sh', '-c', 'echo one > kept; echo gone > old');
    const kept = (await ok('snapshot', '--label', 'before', id)).trim();
    assert.match(kept, /^lay-/);
    assert.match(await ok('snapshots'), new RegExp(`${kept} .* before`));
    await ok('exec', id, '--', 'sh', '-c', 'echo two >> kept; rm old; mkdir new; echo x > new/file');
    assert.deepEqual((await ok('diff', id, kept)).split('\n').toSorted(), ['', 'A new/', 'A new/file  2 bytes', 'D old  5 bytes', 'M kept  8 bytes']);
    const forked = (await ok('fork', kept)).trim();
    assert.equal(await ok('exec', forked, '--', 'sh', '-c', 'cat kept old; ls'), 'one\ngone\nkept\nold\n');
    const twin = (await ok('fork', id, '--name', 'twin')).trim();
    assert.equal(await ok('exec', 'twin', '--', 'cat', 'kept', 'new/file'), 'one\ntwo\nx\n');
    await ok('restore', id, kept);
    assert.equal(await ok('exec', id, '--', 'sh', '-c', 'cat kept; ls'), 'one\nkept\nold\n');
    assert.equal((json(await run('diff', '--json', id, kept)) as { changes: unknown[] }).changes.length, 0);
    await ok('rm', id, forked, twin);
    await ok('snapshots', '--rm', kept);
    assert.doesNotMatch(await ok('snapshots'), new RegExp(kept));
  });

  test('what cannot be done is said with its code, and with a status that no command has where one was to run', async () => {
    const missing = await run('exec', 'nobody', '--', 'true');
    assert.deepEqual([missing.status, /^caisson: SANDBOX_NOT_FOUND: .*nobody.*\nhint: ./.test(missing.stderr)], [125, true], said(missing));
    assert.equal((await run('pause', 'nobody')).status, 1);
    assert.equal((await run('rm')).status, 2);
    const [id, rest] = [await made('--name', 'spared'), await run('rm', 'nobody', 'spared')];
    assert.deepEqual([rest.status, rest.stdout.toString()], [1, `${id}\n`]);
    const taken = [await made('--name', 'taken'), await run('create', '--name', 'taken')] as const;
    assert.match(taken[1].stderr, /SANDBOX_NAME_TAKEN/);
    await ok('rm', taken[0]);
  });

  test('execs are listed and signalled, and a sandbox is given more time', async () => {
    const id = await made('--ttl', '2m');
    const exec = (await ok('exec', '-d', id, '--', 'sleep', '60')).trim();
    assert.match(await ok('ps', id), new RegExp(`${exec} +running +- +\\d+s +- +sleep`));
    await ok('kill', '-s', 'KILL', id, exec);
    assert.equal((json(await run('logs', '-f', '--json', id, exec)) as { end: ExecInfo }).end.exit, 137);
    assert.equal((await run('kill', id, exec)).status, 1, 'it has ended');
    const { expiresMs } = json(await run('renew', '--json', '--ttl', '20m', id)) as SandboxInfo;
    assert.ok(expiresMs > Date.now() + 1_000_000);
    assert.equal((await run('renew', id)).status, 2);
    await ok('rm', id);
  });

  test('run --image runs one command and leaves no sandbox', async () => {
    const end = await run('run', '--image', 'host', '--env', 'A=b', '--', 'sh', '-c', 'echo $A; exit 3');
    assert.deepEqual([end.status, end.stdout.toString()], [3, 'b\n'], said(end));
    assert.match((await run('run', '--image', 'nothing', '--', 'true')).stderr, /IMAGE_NOT_FOUND/);
    assert.doesNotMatch(await ok('ls'), /running/);
  });

  test('with --json an error is an object too', async () => {
    for (const args of [['pause', '--json', 'nobody'], ['ps', 'nobody', '--json']]) {
      const end = await run(...args);
      assert.deepEqual([end.status, (json(end) as { problem: { code: string } }).problem.code, end.stderr], [1, 'SANDBOX_NOT_FOUND', '']);
    }
    assert.equal((json(await run('up', '--detach', '--json')) as { problem: { code: string } }).problem.code, 'DAEMON_RUNNING');
  });

  test('help tells the limits that hold', async () => {
    const { limits } = json(await run('create', '--json', '--name', 'limited')) as SandboxInfo;
    const help = await ok('create', '--help');
    assert.match(help, new RegExp(`default ${limits.outputBytes / 2 ** 20}Mi`));
    assert.equal(limits.wallMs, 3_600_000);
    assert.doesNotMatch(help, /default 60s/);
    await ok('rm', 'limited');
  });

  test('status counts what is live', async () => {
    await ok('rm', '--all');
    const id = await made();
    assert.match(await ok('status'), /^sandboxes {2}1 running/m);
    await ok('rm', '--all');
    assert.match(await ok('status'), /^sandboxes {2}none/m);
    assert.match(await ok('ls', '-a'), new RegExp(id));
  });
});

test('DAEMON_UNREACHABLE is what every command but create says when nothing is up', async () => {
  const end = await cli({ ...process.env, CAISSON_DIR: '/tmp/caisson-nothing-here' }, ['ls']);
  assert.equal(end.status, 1);
  assert.match(end.stderr, /^caisson: DAEMON_UNREACHABLE: /);
  assert.equal(end.stdout.length, 0);
});
