import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Files, WorkspacesRoom } from '@caisson/daemon';
import { WebSocket } from 'ws';
import { apiInMemory, ask, everything, follow, type Place, type Where } from './given.ts';

const TCP = { host: '127.0.0.1', port: 0 };
const tcpOf = (place: Place): Where => ({ host: '127.0.0.1', port: place.api.tcpPort ?? 0 });

async function execPath(place: Place): Promise<string> {
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const { json } = await ask(place, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['cat'], stdin: true } });
  return `/v1/sandboxes/a/execs/${String(json['id'])}`;
}

const HANDSHAKE = 'Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';

/** A WebSocket spoken by hand, which reads nothing after its handshake. */
async function deaf(place: Place, path: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: place.api.tcpPort ?? 0 });
  socket.on('error', () => undefined);
  const { token } = place.tokens.make({ name: 't', scopes: ['exec'] });
  socket.write(`GET ${path}/attach HTTP/1.1\r\n${HANDSHAKE}Authorization: Bearer ${token}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
  await once(socket, 'readable');
  return socket;
}

/** So many frames without content, masked as a client must. */
const frames = (opcode: number, count: number): Buffer => Buffer.alloc(6 * count, Buffer.of(0x80 | opcode, 0x80, 0, 0, 0, 0));

test('a client that pings and reads nothing is not held an answer for each', { timeout: 60_000 }, async () => {
  await using place = await apiInMemory({ tcp: TCP });
  const socket = await deaf(place, await execPath(place));
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 40 && !socket.destroyed; n++) {
    socket.write(frames(0x9, 20_000));
    await delay(5);
  }
  for (let waited = 0; waited < 200 && socket.writableLength > 0; waited++) await delay(10);
  const moreMiB = Math.round((process.memoryUsage().heapUsed - before) / 2 ** 20);
  socket.destroy();
  assert.ok(moreMiB < 100, `${moreMiB} MiB are held`);
});

test('stdin that nobody takes stops being read, however little is in each message', { timeout: 60_000 }, async () => {
  await using place = await apiInMemory({ tcp: TCP });
  place.double.stdin = () => new Promise(() => undefined);
  const socket = await deaf(place, await execPath(place));
  const one = Buffer.of(0x82, 0x81, 0, 0, 0, 0, 0x78); // a message of one byte, which is never taken
  socket.write(Buffer.concat([one, frames(0x2, 1_000_000)]));
  for (let waited = 0; waited < 100 && socket.writableLength > 0; waited++) await delay(20);
  const unread = socket.writableLength;
  socket.destroy();
  assert.ok(unread > 0, 'a million messages were taken in');
});

test('a client whose stdin is not taken is held back, and not cut', { timeout: 30_000 }, async () => {
  await using place = await apiInMemory({ pingMs: 100 });
  const path = await execPath(place);
  const [taken, { stdin }] = [Promise.withResolvers<void>(), place.double];
  place.double.stdin = async (...args) => {
    await taken.promise;
    return stdin(...args);
  };
  const client = new WebSocket(`ws+unix:${place.socketPath}:${path}/attach`);
  const [state, closed] = [{ pings: 0, ended: false }, new Promise<number>((resolve) => client.on('error', () => undefined).on('close', resolve))];
  client.on('ping', () => state.pings++);
  void closed.then(() => (state.ended = true));
  await once(client, 'open');
  const all = Array.from({ length: 600 }, (_, at) => `${String(at).padStart(1_023, '.')}\n`);
  for (const text of all) client.send(Buffer.from(text));
  client.send('{"type":"end-stdin"}');
  const before = state.pings;
  while (state.pings < before + 5 && !state.ended) await delay(20);
  assert.equal(state.ended, false, 'it is cut');
  taken.resolve();
  while (place.double.asked.at(-1)?.verb !== 'endStdin' && !state.ended) await delay(5);
  assert.equal(place.double.asked.at(-1)?.detail, all.join(''));
  place.double.end(path.split('/').at(-1) ?? '');
  assert.equal(await closed, 1000);
});

test('a client that answers no ping is gone, and is cut', { timeout: 30_000 }, async () => {
  await using place = await apiInMemory({ tcp: TCP, pingMs: 100 });
  const socket = await deaf(place, await execPath(place));
  socket.resume();
  await once(socket, 'close');
  while (place.double.followers() > 0) await delay(5);
});

test('what goes wrong inside while a connection is made is told to the log, and over TCP to nobody else', async () => {
  await using place = await apiInMemory({ tcp: TCP });
  const path = await execPath(place);
  place.double.execInfo = () => {
    throw new Error('boom in /var/lib');
  };
  const authorization = `Bearer ${place.tokens.make({ name: 't', scopes: ['exec'] }).token}`;
  const answered = async (to: Socket): Promise<string> => {
    to.write(`GET ${path}/attach HTTP/1.1\r\n${HANDSHAKE}Authorization: ${authorization}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
    const chunks: Buffer[] = [];
    for await (const chunk of to) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  };
  const [operator, other] = [await answered(connect(place.socketPath)), await answered(connect({ host: '127.0.0.1', port: place.api.tcpPort ?? 0 }))];
  assert.match(operator, /^HTTP\/1\.1 500 [^]*"code":"INTERNAL"[^]*boom/);
  assert.match(other, /^HTTP\/1\.1 500 [^]*"code":"INTERNAL"/);
  assert.doesNotMatch(other, /boom|var.lib/);
  assert.equal(place.logged.filter((line) => line.includes('boom') && line.includes('{exec}/attach')).length, 2, place.logged.join());
});

test('REQUEST_INVALID: a path that is no text does not become a connection, and ends nothing else', async () => {
  await using place = await apiInMemory();
  const socket = connect(place.socketPath);
  socket.write(`GET /v1/sandboxes/%ff/execs/x/attach HTTP/1.1\r\n${HANDSHAKE}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 400 [^]*"code":"REQUEST_INVALID"[^]*percent-encoded/);
});

test('what goes wrong inside in the middle of a stream is told to the log, and over TCP to nobody else', async () => {
  await using place = await apiInMemory({ tcp: TCP });
  const path = await execPath(place);
  place.double.follow = async function* () {
    yield { type: 'output', stream: 'stdout', offset: 0, bytes: Buffer.from('a') };
    await delay(20);
    throw new Error('boom in /var/lib');
  };
  const authorization = `Bearer ${place.tokens.make({ name: 't', scopes: ['exec'] }).token}`;
  const events = async (where: Where): Promise<string> => {
    using stream = await follow(where, `${path}/output`, { headers: { authorization } });
    return JSON.stringify((await everything(stream)).at(-1));
  };
  const words = async (address: string): Promise<string> => {
    const client = new WebSocket(address, { headers: { authorization } });
    const said: string[] = [];
    client.on('message', (data: Buffer) => said.push(data.toString()));
    await once(client, 'close');
    return said.at(-1) ?? '';
  };
  const operator = [await events(place), await words(`ws+unix:${place.socketPath}:${path}/attach`)];
  const others = [await events(tcpOf(place)), await words(`ws://127.0.0.1:${place.api.tcpPort ?? 0}${path}/attach`)];
  for (const said of [...operator, ...others]) assert.match(said, /"problem".*"INTERNAL"/);
  for (const said of operator) assert.match(said, /boom/);
  for (const said of others) assert.doesNotMatch(said, /boom|var.lib/);
  assert.equal(place.logged.filter((line) => line.includes('boom')).length, 4, place.logged.join());
});

test('a handshake that fails leaves no stream behind', { timeout: 30_000 }, async () => {
  await using place = await apiInMemory({ tcp: TCP, streamsPerToken: 2 });
  const path = await execPath(place);
  const authorization = `Bearer ${place.tokens.make({ name: 't', scopes: ['exec'] }).token}`;
  for (let n = 0; n < 4; n++) {
    const socket = connect({ host: '127.0.0.1', port: place.api.tcpPort ?? 0 });
    socket.write(`GET ${path}/attach HTTP/1.1\r\n${HANDSHAKE}Authorization: ${authorization}\r\nSec-WebSocket-Key: short\r\n\r\n`);
    socket.resume();
    await once(socket, 'close');
  }
  await delay(20);
  using stream = await follow(tcpOf(place), `${path}/output`, { headers: { authorization } });
  assert.equal(stream.status, 200);
});

test('RATE_LIMITED: what is not sent for want of a stream is let go: the file and the sandbox of an export', { timeout: 30_000 }, async () => {
  const bodies: Readable[] = [];
  const opened = (): Readable => {
    bodies.push(Readable.from([Buffer.from('content')]));
    return bodies.at(-1) ?? Readable.from([]);
  };
  const info = { path: '/workspace/f', type: 'file', sizeBytes: 7, mode: 0o644, mtimeMs: 1 } as const;
  const files = { open: async () => ({ stat: async () => info, read: async () => ({ info, body: opened() }), pack: opened, [Symbol.asyncDispose]: async () => undefined }) as unknown as Files };
  const workspaces = { export: async () => opened() } as unknown as WorkspacesRoom;
  await using place = await apiInMemory({ tcp: TCP, streamsPerToken: 1, rooms: { files, workspaces } });
  const path = await execPath(place);
  const headers = { authorization: `Bearer ${place.tokens.make({ name: 't', scopes: ['exec', 'files:read', 'workspaces'] }).token}` };
  using stream = await follow(tcpOf(place), `${path}/output`, { headers });
  assert.equal(stream.status, 200);
  for (const target of ['/v1/sandboxes/a/files/content?path=f', '/v1/sandboxes/a/files/archive?path=f', '/v1/snapshots/lay-0000000000000000/export']) {
    assert.equal((await ask(tcpOf(place), target, { headers })).json['code'], 'RATE_LIMITED');
  }
  assert.deepEqual(bodies.map(({ destroyed }) => destroyed), [true, true, true]);
});

test('names and lines that an agent made long make an answer short, and not large', { timeout: 60_000 }, async () => {
  const long = '\u0001'.repeat(4000);
  const info = (n: number) => ({ path: `/workspace/${n}`, type: 'symlink', sizeBytes: 7, mode: 0o777, mtimeMs: 1, target: long }) as const;
  const files = {
    open: async () => ({
      async *list() {
        for (let n = 0; n < 5000; n++) yield info(n);
      },
      async *search() {
        for (let n = 0; n < 5000; n++) yield { path: `/workspace/${n}`, line: 1, column: 1, text: long };
      },
      [Symbol.asyncDispose]: async () => undefined,
    }) as unknown as Files,
  };
  await using place = await apiInMemory({ rooms: { files } });
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const seen: unknown[] = [];
  for (let more: string | null = ''; more !== null; ) {
    const { bytes, json } = await ask(place, `/v1/sandboxes/a/files/list?path=.&limit=10000${more}`);
    assert.ok(bytes.length < 16 * 2 ** 20, `${bytes.length} bytes`);
    seen.push(...(json['files'] as { path: string }[]).map(({ path }) => path));
    more = typeof json['next'] === 'string' ? `&cursor=${json['next']}` : null;
  }
  assert.deepEqual(seen, Array.from({ length: 5000 }, (_, n) => `/workspace/${n}`));
  const found = await ask(place, '/v1/sandboxes/a/files/search', { method: 'POST', body: { path: '.', content: 'x', limit: 10_000 } });
  assert.ok(found.bytes.length < 16 * 2 ** 20);
  assert.equal(found.json['truncated'], true);
});
