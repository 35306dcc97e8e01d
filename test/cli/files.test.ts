import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { plain, writeLayout } from '../images/given.ts';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { cli, endOf, startCli, type Said } from './given.ts';
import { roadTo } from './road.ts';

const said = ({ status, stdout, stderr }: Said): string => `${status}\n${stdout.toString()}\n${stderr}`;

describe('files, ports and what the operator has, by the command line', { skip: IS_ROOT ? false : NEEDS_ROOT }, () => {
  let caisson: Caisson;
  let here = '';
  before(async () => {
    caisson = await startCaisson();
    here = mkdtempSync(`${tmpdir()}/caisson-cli-`);
    const made = await cli(caisson.env, ['create', '--name', 'box']);
    assert.equal(made.status, 0, said(made));
  });
  after(async () => {
    await caisson[Symbol.asyncDispose]();
    rmSync(here, { recursive: true });
  });
  const ok = async (args: readonly string[], stdin: Buffer | string = ''): Promise<string> => {
    const end = await cli(caisson.env, args, stdin);
    assert.equal(end.status, 0, said(end));
    return end.stdout.toString('latin1');
  };

  test('cp takes files and folders in and out, byte for byte', async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7) % 256));
    mkdirSync(join(here, 'in/deep'), { recursive: true });
    writeFileSync(join(here, 'in/deep/file'), bytes, { mode: 0o755 });
    symlinkSync('deep/file', join(here, 'in/link'));
    await ok(['cp', join(here, 'in'), 'box:there']);
    await ok(['cp', join(here, 'in/deep/file'), 'box:']);
    assert.equal(await ok(['exec', 'box', '--', 'sh', '-c', 'cmp file there/link && stat -c %a file']), '755\n');
    await ok(['cp', 'box:there', join(here, 'out')]);
    assert.deepEqual(readFileSync(join(here, 'out/link')), bytes);
    await ok(['cp', 'box:file', join(here, 'copy')]);
    assert.deepEqual(readFileSync(join(here, 'copy')), bytes);
    const both = await cli(caisson.env, ['cp', 'a', 'b']);
    assert.deepEqual([both.status, /USAGE/.test(both.stderr)], [2, true]);
  });

  test('files reads, writes, lists, moves, finds and removes from outside', async () => {
    await ok(['files', 'box', 'write', 'notes/day/one', '-p'], 'first line\nneedle here\n');
    assert.equal(await ok(['files', 'box', 'cat', 'notes/day/one']), 'first line\nneedle here\n');
    assert.match(await ok(['files', 'box', 'ls', 'notes', '-r']), /file +644 +23 bytes .*notes\/day\/one/);
    assert.match(await ok(['files', 'box', 'grep', 'needle']), /notes\/day\/one:2:needle here/);
    assert.match(await ok(['files', 'box', 'find', 'on?', 'notes']), /notes\/day\/one/);
    await ok(['files', 'box', 'mv', 'notes/day/one', 'two']);
    await ok(['files', 'box', 'mkdir', '-p', 'x/y']);
    await ok(['files', 'box', 'rm', '-r', 'notes']);
    assert.equal((await cli(caisson.env, ['files', 'box', 'stat', 'notes'])).status, 1);
    assert.equal(JSON.parse(await ok(['files', 'box', 'stat', 'two', '--json'])).sizeBytes, 23);
    const watching = startCli(caisson.env, ['files', 'box', 'watch']);
    const end = endOf(watching);
    const seen = new Promise<void>((done) => watching.stdout?.on('data', (chunk: Buffer) => chunk.includes('seen') && done()));
    const writing = setInterval(() => void cli(caisson.env, ['exec', 'box', '--', 'touch', 'seen']), 500);
    await seen;
    clearInterval(writing);
    watching.kill('SIGINT');
    assert.equal((await end).status, 0);
  });

  test('a name that would drive the terminal is shown as text', async () => {
    const kept = (await ok(['snapshot', 'box'])).trim();
    await ok(['exec', 'box', '--', 'sh', '-c', 'mkdir bad; touch "bad/$(printf "\\033]0;owned\\007")"']);
    for (const args of [['files', 'box', 'ls', 'bad'], ['diff', 'box', kept]]) {
      const shown = await ok(args);
      assert.equal(/[\u001b\u0007]/.test(shown), false, shown);
      assert.match(shown, /\\x1b\]0;owned\\x07/);
    }
  });

  test('forward reaches a port of the sandbox, and top shows what it uses', async () => {
    await ok(['exec', '-d', 'box', '--', 'python3', '-c', "import http.server; open('/tmp/i','w').write('served'); http.server.test(http.server.SimpleHTTPRequestHandler, port=8000, bind='127.0.0.1')", '--cwd', '/tmp']);
    const forwarding = startCli(caisson.env, ['forward', 'box', '8000']);
    const end = endOf(forwarding);
    const address = await new Promise<string>((done) => forwarding.stdout?.once('data', (chunk: Buffer) => done(chunk.toString().trim())));
    let status = 0;
    for (const untilMs = performance.now() + 30_000; status !== 200 && performance.now() < untilMs; ) {
      status = await fetch(`http://${address}/`).then((answer) => answer.status, () => 0);
      if (status !== 200) await new Promise((done) => setTimeout(done, 100));
    }
    assert.equal(status, 200);
    forwarding.kill('SIGTERM');
    assert.equal((await end).status, 0);
    assert.match(await ok(['top']), /sbx-\S+ +box +\d+\.\ds +[\d.]+ MiB/);
  });

  test('a token is shown once, listed without itself, and revoked; images are listed', async () => {
    const token = (await ok(['token', 'create', 'robot', '--scope', 'exec', '--scope', 'files:read', '--expires', '1h'])).trim();
    const listed = await ok(['token', 'ls']);
    assert.match(listed, /robot +in 59m +exec files:read/);
    assert.equal(listed.includes(token), false);
    const { tokens } = JSON.parse(await ok(['token', 'ls', '--json'])) as { tokens: { id: string }[] };
    await ok(['token', 'rm', tokens[0]?.id ?? '']);
    assert.doesNotMatch(await ok(['token', 'ls']), /robot/);
    assert.equal(await ok(['image', 'ls', '--json']), '{"images":[]}\n');
    const missing = await cli(caisson.env, ['image', 'rm', 'nothing']);
    assert.match(missing.stderr, /IMAGE_NOT_FOUND/, said(missing));
  });

  test('an image is imported by a path relative to here, as the help says', async () => {
    assert.match(await ok(['image', 'import', '--help']), /<?source>? +PATH of an OCI layout, or of an archive/);
    const layout = join(here, 'layout');
    mkdirSync(layout);
    const digest = writeLayout(layout, { layers: [plain([{ name: 'a', body: 'here' }])] });
    execFileSync('tar', ['-C', layout, '-cf', join(here, 'layout.tar'), '.']);
    for (const source of ['layout', './layout', 'layout.tar', `./layout@${digest}`, join(here, 'layout')]) {
      const end = await endOf(spawn(process.execPath, [`${HOME}/apps/cli/src/main.ts`, 'image', 'import', source], { cwd: here, env: caisson.env, stdio: ['ignore', 'pipe', 'pipe'] }));
      assert.deepEqual([end.status, end.stdout.toString()], [0, `${digest}\n`], `${source}: ${said(end)}`);
    }
    const missing = await cli(caisson.env, ['image', 'import', './no-such']);
    assert.match(missing.stderr, /IMAGE_UNAVAILABLE: .*no such file/, said(missing));
    await ok(['image', 'rm', digest]);
  });

  test('forward to port 0 is USAGE, and nothing listens', async () => {
    for (const ports of ['0', '0:8080', '65536', '80:65536']) {
      const end = await cli(caisson.env, ['forward', 'box', ports]);
      assert.deepEqual([end.status, /USAGE: forward: /.test(end.stderr)], [2, true], said(end));
    }
  });

  test('CONNECTION_LOST is what a request is told whose answer broke off, and DAEMON_UNREACHABLE only one that was not sent', async () => {
    const socket = join(caisson.dir, 'cut.sock');
    const env = { ...caisson.env, CAISSON_API_SOCKET: socket };
    const away = await cli(env, ['token', 'create', 'none', '--scope', 'exec']);
    assert.match(away.stderr, /DAEMON_UNREACHABLE/, said(away));
    await using road = await roadTo(caisson.paths.apiSocket, socket, (way, request) => {
      if (way === 'back' && request === 'POST /v1/tokens') throw new Error('cut');
    });
    const cut = await cli({ ...env, CAISSON_API_SOCKET: road.socket }, ['token', 'create', 'half', '--scope', 'exec']);
    assert.equal(cut.status, 1, said(cut));
    assert.match(cut.stderr, /CONNECTION_LOST: .*\nhint: look whether the request took effect/);
    const { tokens } = JSON.parse(await ok(['token', 'ls', '--json'])) as { readonly tokens: readonly { readonly id: string; readonly name: string }[] };
    assert.deepEqual(tokens.map(({ name }) => name), ['half'], 'it took effect');
    await ok(['token', 'rm', ...tokens.map(({ id }) => id)]);
  });

  test('approvals watch goes on until Ctrl-C, also when Caisson goes away and comes back', { timeout: 60_000 }, async () => {
    const socket = join(caisson.dir, 'watch.sock');
    let answered = 0;
    const open = (): Promise<AsyncDisposable> => roadTo(caisson.paths.apiSocket, socket, (way, request) => void (way === 'back' && request === 'GET /v1/approvals' && answered++));
    const until = async (holds: () => boolean): Promise<void> => {
      while (!holds()) await delay(20);
    };
    let road = await open();
    const watching = startCli({ ...caisson.env, CAISSON_API_SOCKET: socket }, ['approvals', 'watch']);
    let noted = '';
    watching.stderr?.on('data', (chunk: Buffer) => (noted += chunk.toString()));
    const end = endOf(watching);
    try {
      await until(() => answered > 0);
      await road[Symbol.asyncDispose]();
      await Promise.race([until(() => noted.includes('asking again')), end.then((ended) => assert.fail(`it ended: ${said(ended)}`))]);
      answered = 0;
      road = await open();
      await until(() => answered > 1);
      watching.kill('SIGINT');
      const ended = await end;
      assert.equal(ended.status, 0, said(ended));
      assert.equal(noted.match(/asking again/g)?.length, 1, 'it is told once');
    } finally {
      watching.kill('SIGKILL');
      await road[Symbol.asyncDispose]();
    }
  });

  test('ids and names are completed where one is wanted', async () => {
    const script = `source <(./caisson completion bash)
COMP_WORDS=(./caisson exec bo); COMP_CWORD=2; _caisson ./caisson bo exec; echo "\${COMPREPLY[@]}"
COMP_WORDS=(./caisson exec --det); COMP_CWORD=2; _caisson ./caisson --det exec; echo "\${COMPREPLY[@]}"`;
    const end = await endOf(spawn('bash', ['-c', script], { cwd: HOME, env: caisson.env, stdio: ['ignore', 'pipe', 'pipe'] }));
    assert.equal(end.stdout.toString(), 'box\n--detach\n', said(end));
  });

  test('each place is completed with what may stand there', async () => {
    const kept = (await ok(['snapshot', 'box'])).trim();
    const exec = (await ok(['exec', '-d', 'box', '--', 'true'])).trim();
    const asked: readonly (readonly [string, string])[] = [
      ['restore box lay', kept], ['snapshots --rm lay', kept], ['logs box exe', exec], ['kill -s TERM box exe', exec], ['attach box exe', exec],
      ['files box chm', 'chmod'], ['create --level gv', 'gvisor'], ['create --name b', ''], ['changes bo', ''], ['workspaces ex', 'export'],
    ];
    for (const [line, expected] of asked) {
      const words = ['./caisson', ...line.split(' ')];
      const script = `source <(./caisson completion bash); COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _caisson ./caisson ${words.at(-1)} ${words.at(-2)}; echo "\${COMPREPLY[@]}"`;
      const end = await endOf(spawn('bash', ['-c', script], { cwd: HOME, env: caisson.env, stdio: ['ignore', 'pipe', 'pipe'] }));
      assert.ok(expected === '' ? end.stdout.toString() === '\n' : end.stdout.toString().trim().split(' ').includes(expected), `${line}: ${said(end)}`);
    }
  });

  test('files appends, sets modes, patches, and packs and unpacks archives', async () => {
    await ok(['files', 'box', 'write', 'm/text', '-p'], 'one\n');
    await ok(['files', 'box', 'append', 'm/text'], 'two\n');
    assert.match(await ok(['files', 'box', 'chmod', '700', 'm/text']), /file +700 +8 bytes/);
    await ok(['files', 'box', 'patch', 'm'], '--- a/text\n+++ b/text\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n');
    const { stdout } = await cli(caisson.env, ['files', 'box', 'archive', 'm']);
    await ok(['files', 'box', 'mkdir', 'copy']);
    await ok(['files', 'box', 'unpack', 'copy'], stdout);
    assert.equal(await ok(['exec', 'box', '--', 'sh', '-c', 'cat copy/text; stat -c %a copy/text']), 'one\n2\n700\n');
  });

  test('a workspace is listed, exported in use and out of use, imported and removed', async () => {
    await ok(['create', '--name', 'writer', '--workspace', 'notes']);
    await ok(['files', 'writer', 'write', 'page'], 'text');
    const inUse = await cli(caisson.env, ['workspaces', 'export', 'notes']);
    assert.equal(inUse.status, 0, said(inUse));
    await ok(['rm', 'writer']);
    const { status, stdout } = await cli(caisson.env, ['workspaces', 'export', 'notes']);
    assert.deepEqual([status, stdout.equals(inUse.stdout)], [0, true]);
    assert.match(await ok(['workspaces', 'import', 'other'], stdout), /^wsp-/);
    assert.match(await ok(['workspaces']), /notes[^]*other/);
    await ok(['create', '--name', 'reader', '--workspace', 'other']);
    assert.equal(await ok(['files', 'reader', 'cat', 'page']), 'text');
    await ok(['rm', 'reader']);
    await ok(['workspaces', 'rm', 'notes', 'other']);
    assert.doesNotMatch(await ok(['workspaces']), /notes|other/);
  });

  test('a workspace that was imported without a name is there afterwards', async () => {
    await ok(['create', '--name', 'source']);
    await ok(['files', 'source', 'write', 'page'], 'text');
    const { stdout } = await cli(caisson.env, ['files', 'source', 'archive']);
    await ok(['rm', 'source']);
    const made = await cli(caisson.env, ['workspaces', 'import'], stdout);
    assert.equal(made.status, 0, said(made));
    const id = made.stdout.toString().trim();
    const [, name = ''] = /it is called (import-[0-9a-z]+)/.exec(made.stderr) ?? [];
    assert.notEqual(name, '', said(made));
    const { workspaces } = JSON.parse(await ok(['workspaces', '--json'])) as { workspaces: { id: string; name: string; attachedTo: string | null }[] };
    const found = workspaces.find((each) => each.id === id);
    assert.deepEqual([found?.name, found?.attachedTo], [name, null]);
    assert.equal((await cli(caisson.env, ['workspaces', 'export', id])).status, 0);
    await ok(['create', '--name', 'user', '--workspace', name]);
    assert.equal(await ok(['files', 'user', 'cat', 'page']), 'text');
    await ok(['rm', 'user']);
    await ok(['workspaces', 'rm', id]);
  });
});
