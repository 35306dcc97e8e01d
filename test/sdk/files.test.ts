import assert from 'node:assert/strict';
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { CaissonError } from '@caisson/sdk';
import { REAL, realCaisson } from './given.ts';

const real = realCaisson();
const code = (expected: string) => (error: unknown): boolean => error instanceof CaissonError && error.code === expected;

function freshDir(t: TestContext): string {
  const dir = mkdtempSync(`${tmpdir()}/caisson-sdk-files-`);
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test('a file is written whole, appended to, read in parts and as a stream, and replaced only as what it was', REAL, async () => {
  await using box = await real().create();
  const { files } = box;
  const first = await files.write('d/a.txt', 'héllo', { parents: true, mode: 0o600 });
  assert.deepEqual([first.path, first.sizeBytes, first.mode & 0o777], ['/workspace/d/a.txt', 6, 0o600]);
  await files.append('d/a.txt', Buffer.from(' world'));
  assert.equal(await files.read('/workspace/d/a.txt'), 'héllo world');
  assert.equal(await files.read('d/a.txt', { offset: 7, length: 3 }), 'wor');
  assert.equal((await files.readBytes('d/a.txt', { offset: 500 })).length, 0);
  await files.write('empty', '');
  assert.equal((await files.readBytes('empty', { length: 9 })).length, 0);
  const pieces = await Array.fromAsync(await files.readStream('d/a.txt', { offset: 7 }) as AsyncIterable<Buffer>);
  assert.equal(Buffer.concat(pieces).toString(), 'world');
  await assert.rejects(files.write('d/a.txt', 'x', { exclusive: true }), code('FILE_EXISTS'));
  await assert.rejects(files.write('d/a.txt', 'x', { expected: first }), code('FILE_CHANGED'));
  await files.write('d/a.txt', 'x', { expected: await files.stat('d/a.txt') });
  assert.equal(await files.read('d/a.txt'), 'x');
});

test('FILE_CHANGED: what a command changed under cover of the old size and time is not written over', REAL, async () => {
  await using box = await real().create();
  const { files } = box;
  await files.write('f', 'one');
  const expected = await files.stat('f');
  await box.sh('touch -r f stamp && printf two >f && touch -r stamp f', { check: true });
  const now = await files.stat('f');
  assert.deepEqual([now.sizeBytes, now.mtimeMs], [expected.sizeBytes, expected.mtimeMs]);
  await assert.rejects(files.write('f', 'new', { expected }), code('FILE_CHANGED'));
  assert.equal(await files.read('f'), 'two');
});

test('a name that is not UTF-8 is used as the bytes that a listing told', REAL, async () => {
  await using box = await real().create();
  const { files } = box;
  await box.sh(`printf one >"$(printf 'bad\\377')"`, { check: true });
  const [info] = await Array.fromAsync(files.list('.'));
  const path = Buffer.from(info?.pathBase64 ?? '', 'base64');
  assert.deepEqual(path, Buffer.from('/workspace/bad\xff', 'latin1'));
  await files.append(path, ' two');
  const other = Buffer.from('other\xfe', 'latin1');
  await files.move(path, other);
  assert.deepEqual([await files.exists(path), await files.read(other)], [false, 'one two']);
  await files.write(path, 'new', { exclusive: true });
  for (const each of [path, other]) await files.remove(each);
  assert.deepEqual(await Array.fromAsync(files.list('.')), []);
});

test('a file that comes as a stream and is larger than any buffer arrives as it is', REAL, async () => {
  await using box = await real().create();
  const block = Buffer.alloc(1024 * 1024, 'caisson ');
  async function* blocks(): AsyncGenerator<Buffer> {
    for (let index = 0; index < 24; index++) yield block;
  }
  assert.equal((await box.files.write('big', blocks())).sizeBytes, 24 * block.length);
  await assert.rejects(box.files.readBytes('big', { maxBufferBytes: 1000 }), code('FILE_TOO_LARGE'));
  let read = 0;
  for await (const chunk of (await box.files.readStream('big')) as AsyncIterable<Buffer>) read += chunk.length;
  assert.equal(read, 24 * block.length);
});

test('a source that fails in the middle fails the write with its own error, and nothing is written', REAL, async () => {
  await using box = await real().create();
  const mine = new Error('mine');
  async function* failing(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(100_000);
    throw mine;
  }
  await assert.rejects(box.files.write('part', failing()), (error) => error === mine);
  assert.equal(await box.files.exists('part'), false);
});

test('a workspace that is full says so in the middle of an upload', REAL, async () => {
  await using box = await real().create({ limits: { workspaceBytes: 32 * 1024 * 1024, inodes: 1000 } });
  async function* blocks(): AsyncGenerator<Buffer> {
    for (let index = 0; index < 64; index++) yield Buffer.alloc(1024 * 1024);
  }
  await assert.rejects(box.files.write('big', blocks()), code('FILE_NO_SPACE'));
});

test('a client that sends all of its upload before it reads hears why it was refused', REAL, async () => {
  await using box = await real().create({ limits: { workspaceBytes: 32 * 1024 * 1024, inodes: 1000 } });
  const socket = connect(real().caisson.paths.apiSocket);
  socket.pause();
  const bytes = Buffer.alloc(48 * 1024 * 1024);
  socket.write(`PUT /v1/sandboxes/${box.id}/files/content?path=big HTTP/1.1\r\nhost: caisson\r\ncontent-type: application/octet-stream\r\ncontent-length: ${bytes.length}\r\n\r\n`);
  await promisify(socket.end.bind(socket) as (chunk: Buffer, done: (error?: Error) => void) => void)(bytes);
  let answer = '';
  for await (const chunk of socket) {
    answer += String(chunk);
    if (answer.includes('FILE_NO_SPACE')) break;
  }
  assert.match(answer, /FILE_NO_SPACE/);
});

test('files are listed, moved, removed, given modes, searched and patched', REAL, async () => {
  await using box = await real().create();
  const { files } = box;
  await files.mkdir('src/deep', { parents: true });
  await files.write('src/a.py', 'print(1)\nprint(2)\n');
  await files.write('src/deep/b.txt', 'needle\n');
  const paths = (await Array.fromAsync(files.list('src', { recursive: true }))).map(({ path }) => path).toSorted();
  assert.deepEqual(paths, ['/workspace/src/a.py', '/workspace/src/deep', '/workspace/src/deep/b.txt']);
  await files.move('src/deep/b.txt', 'b.txt');
  assert.deepEqual([await files.exists('b.txt'), await files.exists('src/deep/b.txt')], [true, false]);
  assert.equal((await files.chmod('b.txt', 0o755)).mode & 0o777, 0o755);
  const found = await files.search('/workspace', { content: 'needle' });
  assert.deepEqual(found.matches.map(({ path, line, text }) => [path, line, text]), [['/workspace/b.txt', 1, 'needle']]);
  await files.patch('--- a/src/a.py\n+++ b/src/a.py\n@@ -1,2 +1,2 @@\n print(1)\n-print(2)\n+print(3)\n');
  assert.equal(await files.read('src/a.py'), 'print(1)\nprint(3)\n');
  await assert.rejects(files.remove('src'), CaissonError);
  await files.remove('src', { recursive: true });
  await assert.rejects(files.stat('src'), code('FILE_NOT_FOUND'));
  await assert.rejects(files.read('/etc/passwd'), code('FILE_OUTSIDE'));
});

test('a watch tells what changes, and ends when it is left', REAL, async () => {
  await using box = await real().create();
  const changes = box.files.watch('/workspace', { recursive: true });
  const first = changes.next();
  const writing = setInterval(() => void box.files.write('seen.txt', 'x').catch(() => undefined), 100);
  try {
    assert.match((await first).value?.path ?? '', /^\/workspace/);
  } finally {
    clearInterval(writing);
    await changes.return();
  }
});

test('a folder goes up and comes down as it was, with modes, links, long names and names that are not UTF-8', REAL, async (t) => {
  await using box = await real().create();
  const dir = freshDir(t);
  const long = `${'n'.repeat(120)}/${'m'.repeat(150)}.txt`;
  mkdirSync(`${dir}/up/${'n'.repeat(120)}`, { recursive: true });
  writeFileSync(`${dir}/up/${long}`, 'long');
  writeFileSync(`${dir}/up/run.sh`, '#!/bin/sh\n');
  chmodSync(`${dir}/up/run.sh`, 0o755);
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/up/`), Buffer.from([0xff, 0x41])]), 'raw');
  symlinkSync('run.sh', `${dir}/up/link`);
  const up = await box.files.upload(`${dir}/up`, 'copy');
  assert.equal((await box.sh('copy/run.sh && cat copy/link')).stdout, '#!/bin/sh\n');
  const down = await box.files.download('copy', `${dir}/down`);
  assert.deepEqual([up.skipped, down.skipped, down.bytes], [[], [], up.bytes]);
  assert.deepEqual(readdirSync(`${dir}/down`, { encoding: 'buffer' }).toSorted(Buffer.compare), readdirSync(`${dir}/up`, { encoding: 'buffer' }).toSorted(Buffer.compare));
  assert.deepEqual([readFileSync(`${dir}/down/${long}`, 'utf8'), readlinkSync(`${dir}/down/link`), lstatSync(`${dir}/down/run.sh`).mode & 0o777], ['long', 'run.sh', 0o755]);
  await assert.rejects(box.files.download('copy', `${dir}/down`), code('FILE_EXISTS'));
});

test('links that a sandbox makes to lead its owner elsewhere are not made here', REAL, async (t) => {
  await using box = await real().create();
  const dir = freshDir(t);
  await box.sh('mkdir -p d/e; ln -s /etc/passwd abs; ln -s ../../../etc up; ln -s d/../../x through; ln -s ../ok.txt d/fine; echo hi > ok.txt; ln -s e d/low; mkfifo pipe; chmod 4755 ok.txt', { check: true });
  const { skipped } = await box.files.download('/workspace', `${dir}/down`);
  assert.deepEqual(skipped.map(({ path }) => path).toSorted(), ['abs', 'through', 'up']);
  assert.deepEqual(readdirSync(`${dir}/down`).toSorted(), ['d', 'ok.txt']);
  assert.equal(readFileSync(`${dir}/down/d/fine`, 'utf8'), 'hi\n');
  assert.equal(lstatSync(`${dir}/down/ok.txt`).mode & 0o7000, 0);
});

test('a port of the sandbox is connected to, forwarded to this machine, and asked by HTTP', REAL, async () => {
  await using box = await real().create();
  await box.files.write('index.html', 'from inside');
  await using server = await box.spawn(['python3', '-m', 'http.server', '8000', '--bind', '127.0.0.1']);
  const response = await untilAnswered(() => box.ports.fetch(8000, '/index.html'));
  assert.deepEqual([response.status, await response.text(), response.headers.get('content-length')], [200, 'from inside', '11']);
  const local = await (async () => {
    await using forwarding = await box.ports.forward(8000);
    const answers = await Promise.all([1, 2, 3].map(async () => (await fetch(`http://127.0.0.1:${forwarding.localPort}/index.html`)).text()));
    assert.deepEqual(answers, ['from inside', 'from inside', 'from inside']);
    return forwarding.localPort;
  })();
  await assert.rejects(fetch(`http://127.0.0.1:${local}/`));
  await assert.rejects(box.ports.connect(9), code('PORT_REFUSED'));
  await assert.rejects(box.ports.connect(0), code('OPTIONS_INVALID'));
  await server.kill('SIGKILL');
});

test('a port of this machine is not one of the sandbox', REAL, async () => {
  await using box = await real().create();
  const server = createServer((_, response) => void response.end('host'));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  await assert.rejects(box.ports.fetch(address.port, '/'), code('PORT_REFUSED'));
  server.close();
});

async function untilAnswered(ask: () => Promise<Response>): Promise<Response> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (tries > 100 || !code('PORT_REFUSED')(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
