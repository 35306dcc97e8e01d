import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ExecInfo, SandboxInfo } from '@caisson/contract/api';
import { WebSocket } from 'ws';
import { IS_ROOT, NEEDS_ROOT, type Caisson } from '../harness.ts';
import { sharedInstance } from '../limits/given.ts';
import { ask, everything, follow, type Said, type Told, type Where } from './given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const instance = sharedInstance();
const api = ({ paths }: Caisson): Where => ({ socketPath: paths.apiSocket });
const post = (where: Where, path: string, body: unknown = {}): Promise<Said> => ask(where, path, { method: 'POST', body });

/** A sandbox of its own for one test. */
async function sandbox(): Promise<AsyncDisposable & { readonly caisson: Caisson; readonly where: Where; readonly path: string }> {
  const caisson = await instance();
  const where = api(caisson);
  const made = await post(where, '/v1/sandboxes');
  assert.equal(made.status, 201, made.bytes.toString());
  const path = `/v1/sandboxes/${SandboxInfo.parse(made.json).id}`;
  return { caisson, where, path, [Symbol.asyncDispose]: async () => void (await ask(where, path, { method: 'DELETE' })) };
}

const output = (told: readonly Told[]): Buffer => Buffer.concat(told.filter(({ event }) => event === 'output').map(({ data }) => Buffer.from(data['data'] as string, 'base64')));

test('the socket of the API is that of control alone', { skip }, async () => {
  const { paths } = await instance();
  const { mode, uid } = statSync(paths.apiSocket);
  assert.deepEqual([mode & 0o777, uid === statSync(paths.controlSocket).uid], [0o600, true]);
});

test('a command is run and followed over HTTP: its streams apart, its exit and its record', { skip }, async () => {
  await using box = await sandbox();
  using stream = await follow(box.where, `${box.path}/execs`, { method: 'POST', body: { argv: ['sh', '-c', 'echo out; echo err >&2; exit 3'] } });
  const told = await everything(stream);
  assert.deepEqual(told.filter(({ event }) => event === 'output').map(({ data }) => [data['stream'], Buffer.from(data['data'] as string, 'base64').toString()].join(' ')).toSorted(), ['stderr err\n', 'stdout out\n']);
  const end = ExecInfo.parse(told.at(-1)?.data);
  assert.deepEqual([end.exit, end.state, typeof end.evidence.outcome?.hash], [3, 'ended', 'string']);
});

test('a follower that is cut off again and again has every byte of 4 MB exactly once', { skip, timeout: 60_000 }, async () => {
  await using box = await sandbox();
  const script = 'import sys\nfor i in range(65536): sys.stdout.write("%063d\\n" % i)';
  const made = await post(box.where, `${box.path}/execs`, { argv: ['python3', '-c', script], outputBytes: 8_388_608 });
  const exec = `${box.path}/execs/${ExecInfo.parse(made.json).id}`;
  const all: Buffer[] = [];
  let last: string | null = null;
  for (let over = false; !over; ) {
    using stream = await follow(box.where, `${exec}/output`, { headers: last === null ? {} : { 'last-event-id': last } });
    let left = 9;
    for await (const told of stream) {
      if (told.event === 'output') all.push(output([told]));
      last = told.id ?? last;
      over = told.event === 'end';
      if (over || --left === 0) break;
    }
  }
  const expected = Buffer.from(Array.from({ length: 65_536 }, (_, index) => `${String(index).padStart(63, '0')}\n`).join(''));
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  assert.deepEqual([Buffer.concat(all).length, digest(Buffer.concat(all))], [expected.length, digest(expected)]);
});

test('stdin is written in parts, and ends when its writer says so', { skip }, async () => {
  await using box = await sandbox();
  const { id } = ExecInfo.parse((await post(box.where, `${box.path}/execs`, { argv: ['sha256sum'], stdin: true })).json);
  const bytes = Buffer.alloc(3_000_000, 'caisson');
  const put = (query: string, body: Buffer): Promise<Said> => ask(box.where, `${box.path}/execs/${id}/stdin${query}`, { method: 'PUT', body });
  assert.equal((await put('?offset=0', bytes.subarray(0, 1_000_000))).json['taken'], 1_000_000);
  assert.equal((await put('?offset=500000&end=true', bytes.subarray(500_000))).json['taken'], 3_000_000);
  assert.equal((await ask(box.where, `${box.path}/execs/${id}?waitMs=20000`)).json['exit'], 0);
  using stream = await follow(box.where, `${box.path}/execs/${id}/output`);
  assert.equal(output(await everything(stream)).toString().slice(0, 64), createHash('sha256').update(bytes).digest('hex'));
});

test('a terminal is attached to, typed into and resized', { skip, timeout: 30_000 }, async () => {
  await using box = await sandbox();
  const { id } = ExecInfo.parse((await post(box.where, `${box.path}/execs`, { argv: ['sh'], tty: { cols: 80, rows: 24 } })).json);
  const client = new WebSocket(`ws+unix:${box.caisson.paths.apiSocket}:${box.path}/execs/${id}/attach`);
  let shown = '';
  let exit: unknown = null;
  client.on('message', (data: Buffer, isBinary) => {
    if (isBinary) shown += data.subarray(9).toString();
    else exit = (JSON.parse(data.toString()) as { exec?: { exit: unknown } }).exec?.exit;
  });
  await once(client, 'open');
  client.send('{"type":"resize","cols":101,"rows":33}');
  client.send(Buffer.from('stty size; exit 5\n'));
  await once(client, 'close');
  assert.match(shown, /33 101/);
  assert.equal(exit, 5);
});

test('a server in the sandbox is reached through its port', { skip, timeout: 30_000 }, async () => {
  await using box = await sandbox();
  const script = 'import socket\ns=socket.socket(); s.bind(("127.0.0.1",8000)); s.listen()\nprint("up",flush=True)\nwhile True:\n c,_=s.accept(); d=c.recv(100); c.sendall(d.upper()); c.close()';
  using server = await follow(box.where, `${box.path}/execs`, { method: 'POST', body: { argv: ['python3', '-c', script] } });
  for await (const { event } of server) if (event === 'output') break;
  const request = httpRequest({ ...box.where, path: `${box.path}/ports/8000/connect`, agent: false, headers: { connection: 'Upgrade', upgrade: 'caisson-tcp' } }).end();
  const [, socket] = (await once(request, 'upgrade')) as [unknown, Duplex];
  socket.write('hello');
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  assert.equal(Buffer.concat(chunks).toString(), 'HELLO');
  assert.equal((await ask(box.where, `${box.path}/ports/8001/connect`, { headers: { connection: 'Upgrade', upgrade: 'caisson-tcp' } })).json['code'], 'PORT_REFUSED');
});

test('files are written and read, a snapshot is taken, a fork has them and goes its own way', { skip, timeout: 30_000 }, async () => {
  await using box = await sandbox();
  const file = (path: string): string => `${path}/files/content?path=dir/x&parents=true`;
  assert.equal((await ask(box.where, file(box.path), { method: 'PUT', body: Buffer.from('first') })).status, 200);
  const snapshot = await post(box.where, `${box.path}/snapshots`, { label: 'one' });
  assert.deepEqual([snapshot.status, Object.keys(snapshot.json).sort()], [201, ['createdMs', 'id', 'label', 'memory', 'sizeBytes']]);
  const fork = `/v1/sandboxes/${SandboxInfo.parse((await post(box.where, `${box.path}/fork`)).json).id}`;
  await ask(box.where, file(fork), { method: 'PUT', body: Buffer.from('second') });
  const read = async (path: string): Promise<string> => (await ask(box.where, `${path}/files/content?path=/workspace/dir/x`)).bytes.toString();
  assert.deepEqual([await read(box.path), await read(fork)], ['first', 'second']);
  await ask(box.where, fork, { method: 'DELETE' });
});

test('a part of a file that is named by a link is one of the file, and the ETag is that of the file', { skip, timeout: 30_000 }, async () => {
  await using box = await sandbox();
  using stream = await follow(box.where, `${box.path}/execs`, { method: 'POST', body: { argv: ['sh', '-c', 'printf %050d 7 >long; printf ab >short; ln -s long l; ln -s short link-with-more-bytes-than-its-file'] } });
  await everything(stream);
  const part = (path: string, headers: Readonly<Record<string, string>>): Promise<Said> => ask(box.where, `${box.path}/files/content?path=${path}`, { headers });
  const read = async (path: string, range: string): Promise<unknown[]> => {
    const { status, headers, bytes } = await part(path, { range });
    return [status, headers['content-range'], status === 206 ? bytes.toString() : null];
  };
  const [named, short] = ['l', 'link-with-more-bytes-than-its-file'];
  assert.deepEqual(await read(named, 'bytes=-3'), [206, 'bytes 47-49/50', '007']);
  assert.deepEqual(await read(named, 'bytes=48-'), [206, 'bytes 48-49/50', '07']);
  assert.deepEqual(await read(short, 'bytes=1-20'), [206, 'bytes 1-1/2', 'b']);
  assert.deepEqual(await read(short, 'bytes=2-'), [416, 'bytes */2', null]);
  const { etag = '' } = (await part(named, {})).headers;
  assert.equal((await part(named, { 'if-none-match': etag })).status, 304);
  assert.equal((await part(named, { 'if-range': etag, range: 'bytes=0-0' })).status, 206);
});

test('IDEMPOTENCY_MISMATCH: a key that was used for another request is named as its caller chose it', { skip }, async () => {
  await using box = await sandbox();
  const asked = (path: string, body: unknown): Promise<Said> => ask(box.where, path, { method: 'POST', body, headers: { 'idempotency-key': 'mine' } });
  const made = (await asked('/v1/sandboxes', {})).json['id'];
  for (const [path, first, other] of [
    ['/v1/sandboxes', {}, { keepAlive: true }], [`${box.path}/snapshots`, {}, { label: 'b' }], [`${box.path}/execs`, { argv: ['true'] }, { argv: ['false'] }],
  ] as const) {
    await asked(path, first);
    const { status, json } = await asked(path, other);
    assert.deepEqual([status, json['code'], json['detail']], [422, 'IDEMPOTENCY_MISMATCH', 'the idempotency key mine was used for another request']);
  }
  await ask(box.where, `/v1/sandboxes/${String(made)}`, { method: 'DELETE' });
});

test('a name that is not UTF-8 is told by its bytes, and every route of files takes them', { skip, timeout: 30_000 }, async () => {
  await using box = await sandbox();
  const bytes = (name: string): string => Buffer.from(`/workspace/${name}`, 'latin1').toString('base64');
  const [bad, worse, folder] = [bytes('bad\xff'), bytes('worse\xfe'), bytes('dir\xff')];
  const at = (verb: string, path: string, more = ''): string => `${box.path}/files/${verb}?pathBase64=${encodeURIComponent(path)}${more}`;
  using watch = await follow(box.where, `${box.path}/files/watch?path=.`);
  const put = await ask(box.where, at('content', bad, '&exclusive=true'), { method: 'PUT', body: Buffer.from('one') });
  assert.deepEqual([put.status, put.json['pathBase64']], [200, bad], put.bytes.toString());
  for await (const { data } of watch) {
    if (data['pathBase64'] === undefined) continue; // the name that the bytes have until all of them are there
    assert.deepEqual(data, { kind: 'created', path: '/workspace/bad\ufffd', pathBase64: bad });
    break;
  }
  assert.equal((await ask(box.where, at('append', bad), { method: 'POST', body: Buffer.from(' two') })).json['sizeBytes'], 7);
  assert.equal((await ask(box.where, at('content', bad))).bytes.toString(), 'one two');
  assert.equal((await post(box.where, `${box.path}/files/chmod`, { pathBase64: bad, mode: 0o600 })).json['mode'], 0o600);
  assert.equal((await post(box.where, `${box.path}/files/move`, { fromBase64: bad, toBase64: worse })).json['pathBase64'], worse);
  assert.equal((await ask(box.where, at('stat', worse))).json['sizeBytes'], 7);
  assert.equal((await post(box.where, `${box.path}/files/mkdir`, { pathBase64: folder })).status, 200);
  assert.equal((await post(box.where, `${box.path}/files/move`, { fromBase64: worse, toBase64: bytes('dir\xff/x') })).status, 200);
  const listed = await ask(box.where, at('list', folder));
  assert.deepEqual((listed.json['files'] as { pathBase64: string }[]).map(({ pathBase64 }) => pathBase64), [bytes('dir\xff/x')]);
  const found = await post(box.where, `${box.path}/files/search`, { pathBase64: folder, content: 'two' });
  assert.equal((found.json['matches'] as { pathBase64: string }[])[0]?.pathBase64, bytes('dir\xff/x'));
  const diff = '--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one two\n\\ No newline at end of file\n+three\n\\ No newline at end of file\n';
  const patched = await post(box.where, `${box.path}/files/patch`, { pathBase64: folder, diff });
  assert.equal((patched.json['files'] as { pathBase64: string }[])[0]?.pathBase64, bytes('dir\xff/x'), patched.bytes.toString());
  const tar = await ask(box.where, at('archive', folder));
  const copied = await ask(box.where, at('archive', bytes('copy\xff')), { method: 'PUT', body: tar.bytes, headers: { 'content-type': 'application/x-tar' } });
  assert.deepEqual([copied.status, (await ask(box.where, at('content', bytes('copy\xff/x')))).bytes.toString()], [200, 'three'], copied.bytes.toString());
  assert.equal((await post(box.where, `${box.path}/files/remove`, { pathBase64: folder, recursive: true })).status, 204);
  assert.equal((await ask(box.where, at('stat', folder))).json['code'], 'FILE_NOT_FOUND');
});

test('control is killed in the middle of an exec: it goes on, and a new follower has every byte exactly once', { skip, timeout: 60_000 }, async () => {
  await using box = await sandbox();
  const script = 'for i in $(seq 1 40); do echo line $i; sleep 0.1; done';
  const told: Told[] = [];
  using stream = await follow(box.where, `${box.path}/execs`, { method: 'POST', body: { argv: ['sh', '-c', script] } });
  const control = (await box.caisson.status()).processes.find(({ name }) => name === 'control')?.pid ?? 0;
  for await (const each of stream) {
    told.push(each);
    if (told.length === 8) break;
  }
  process.kill(control, 'SIGKILL');
  const exec = String(told[0]?.data['id']);
  const last = told.findLast(({ id }) => id !== null)?.id ?? '0';
  while ((await ask(box.where, '/v1/health').catch(() => null))?.status !== 200) await delay(50);
  using again = await follow(box.where, `${box.path}/execs/${exec}/output`, { headers: { 'last-event-id': last } });
  const rest = await everything(again);
  assert.equal(output([...told, ...rest]).toString(), Array.from({ length: 40 }, (_, index) => `line ${index + 1}\n`).join(''));
  assert.equal(rest.at(-1)?.data['exit'], 0);
});

test('imports with one key are an import each, and an export that is asked for again is whole', { skip }, async () => {
  await using box = await sandbox();
  await ask(box.where, `${box.path}/files/content?path=page`, { method: 'PUT', body: Buffer.from('text') });
  const headers = { 'idempotency-key': 'one' };
  const archive = (await ask(box.where, `${box.path}/files/archive?path=/workspace`)).bytes;
  const made = await Promise.all([1, 2].map(() => ask(box.where, '/v1/workspaces/import', { method: 'POST', body: archive, headers })));
  assert.deepEqual(made.map(({ status }) => status), [201, 201], made.map(({ bytes }) => bytes.toString()).join());
  const found = made.map(({ json }) => json as { readonly workspace: { readonly id: string; readonly name: string }; readonly snapshot: { readonly id: string } });
  assert.equal(new Set(found.map(({ workspace }) => workspace.id)).size, 2);
  const exported = async (): Promise<Said> => ask(box.where, `/v1/snapshots/${found[0]?.snapshot.id ?? ''}/export`, { headers });
  for (const { status, bytes } of [await exported(), await exported()]) assert.deepEqual([status, bytes.includes('page')], [200, true], bytes.toString('latin1').slice(0, 200));
  for (const { workspace, snapshot } of found) {
    assert.equal((await ask(box.where, `/v1/workspaces/${workspace.name}`, { method: 'DELETE' })).status, 204);
    assert.equal((await ask(box.where, `/v1/snapshots/${snapshot.id}`, { method: 'DELETE' })).status, 204);
  }
});
