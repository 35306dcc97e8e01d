import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { spanOf } from '@caisson/daemon';
import { apiInMemory, ask, type Place } from './given.ts';

/** Sends bytes as they are and resolves with what comes back until the connection ends, or for as long as it may take. */
function send({ socketPath }: Pick<Place, 'socketPath'>, bytes: Buffer, { forMs = 40, end = true }: { readonly forMs?: number; readonly end?: boolean } = {}): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const chunks: Buffer[] = [];
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(Buffer.concat(chunks).toString('latin1'));
    };
    const timer = setTimeout(done, forMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', done).on('close', done);
    if (end) socket.end(bytes);
    else socket.write(bytes);
  });
}

/** Patience with a connection that the server closes when it has answered. */
const ANSWERED_MS = 10_000;

const VALID = [
  'GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"name":"a"}',
  'GET /v1/sandboxes/a/execs/exe-0000000000000000/attach HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  'PUT /v1/sandboxes/a/execs/e/stdin?offset=0 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'GET /v1/sandboxes/a/ports/80/connect HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: caisson-tcp\r\n\r\n',
];

const bytes = fc.uint8Array({ maxLength: 600 }).map((array) => Buffer.from(array));
const mutated = fc
  .record({ base: fc.constantFrom(...VALID), at: fc.nat(400), cut: fc.nat(20), put: fc.oneof(fc.constantFrom('\r\n', '\0', '%00', '%ff', '../', '\r\n\r\n', ': ', ' ', '\t', '9'.repeat(30), '{'), bytes.map((each) => each.toString('latin1'))) })
  .map(({ base, at, cut, put }) => Buffer.from(base.slice(0, at % base.length) + put + base.slice((at % base.length) + cut), 'latin1'));

test('whatever bytes arrive, the API goes on and leaves nothing open', { timeout: 60_000 }, async () => {
  await using place = await apiInMemory();
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(bytes, mutated), { minLength: 16, maxLength: 16 }), async (many) => {
      const answers = await Promise.all(many.map((each) => send(place, each)));
      for (const answer of answers) assert.ok(answer === '' || answer.startsWith('HTTP/1.1 '), answer.slice(0, 80));
      assert.equal((await ask(place, '/v1/health')).status, 200);
    }),
    { numRuns: 60 },
  );
  while (place.double.followers() > 0) await delay(5);
  assert.deepEqual(place.logged, []);
});

const json = fc.oneof(
  fc.json({ maxDepth: 5 }),
  fc.json({ maxDepth: 3 }).map((text) => `{"argv":["x"],"argv":${text}}`),
  fc.constantFrom('['.repeat(400_000), `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, '1e999999', '"\\ud800"', '{"constructor":{"prototype":{"x":1}}}', '{"__proto__":{"argv":["x"]}}', 'null', '[]', '""', '\u{feff}{}'),
);

test('whatever JSON arrives is answered with a code of the table or done', { timeout: 60_000 }, async () => {
  await using place = await apiInMemory();
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  await fc.assert(
    fc.asyncProperty(json, fc.constantFrom('/v1/sandboxes', '/v1/sandboxes/a/execs', '/v1/sandboxes/a/snapshots', '/v1/tokens', '/v1/sandboxes/a/files/move'), async (body, path) => {
      const { status, json: said } = await ask(place, path, { method: 'POST', body });
      assert.ok(status === 201 || ['REQUEST_INVALID', 'REQUEST_TOO_LARGE', 'NOT_OFFERED'].includes(String(said['code'])), `${status} ${JSON.stringify(said)}`);
    }),
    { numRuns: 300 },
  );
  assert.equal(({} as { x?: unknown }).x, undefined);
  assert.deepEqual(place.logged, []);
});

test('whatever text stands in a path or a query, it names a part and never another route', { timeout: 60_000 }, async () => {
  await using place = await apiInMemory();
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).filter((text) => text !== '.' && text !== '..'), async (text) => {
      const said = await ask(place, `/v1/sandboxes/${encodeURIComponent(text)}?x`);
      assert.ok(['REQUEST_INVALID'].includes(String(said.json['code'])), JSON.stringify(said.json));
      const named = await ask(place, `/v1/sandboxes/${encodeURIComponent(text)}`);
      assert.equal(named.json['code'], 'SANDBOX_NOT_FOUND');
    }),
    { numRuns: 100 },
  );
});

for (const target of ['/v1/sandboxes/%2e%2e/tokens', '/v1/sandboxes/..%2ftokens', '/v1/sandboxes/a%2fexecs', '//v1/health', '/v1//health', '/V1/health', '/v1/health%00', '/v1/health;x', 'http://evil/v1/health', '*']) {
  test(`the target ${target} is taken as it is written`, async () => {
    await using place = await apiInMemory();
    const answer = await send(place, Buffer.from(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`), { forMs: ANSWERED_MS });
    assert.match(answer, /^HTTP\/1\.1 (404|400) /);
  });
}

test('a request that is two requests to another parser is refused', async () => {
  await using place = await apiInMemory();
  for (const head of [
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', 'Content-Length: 5\r\nContent-Length: 6\r\n', 'Content-Length: +5\r\n', 'Transfer-Encoding: chunked, identity\r\n',
    'Transfer-Encoding: xchunked\r\n', 'Transfer-Encoding : chunked\r\n', 'X: a\nContent-Length: 5\r\n', 'Host: other\r\nContent-Length: -1\r\n',
  ]) {
    const answer = await send(place, Buffer.from(`POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${head}\r\n0\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n`), { forMs: ANSWERED_MS });
    assert.match(answer, /^HTTP\/1\.1 400 /, head);
    assert.ok(!answer.includes('{"ok":true}'), head);
  }
});

test('REQUEST_TOO_LARGE: a head that does not end is not read on', async () => {
  await using place = await apiInMemory();
  const answer = await send(place, Buffer.from(`GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(64 * 1024)}`), { forMs: ANSWERED_MS, end: false });
  assert.match(answer, /^HTTP\/1\.1 413 [\s\S]*"code":"REQUEST_TOO_LARGE"/);
});

test('REQUEST_TIMEOUT: a body that trickles in is not waited for', { timeout: 30_000 }, async () => {
  await using place = await apiInMemory();
  const socket = connect(place.socketPath);
  const chunks: Buffer[] = [];
  const closed = new Promise<void>((resolve) => socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => resolve()).on('close', () => resolve()));
  socket.write('POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n');
  const trickle = setInterval(() => socket.write(' '), 200);
  const start = performance.now();
  await closed;
  clearInterval(trickle);
  assert.ok(performance.now() - start < 15_000);
  assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 408 [\s\S]*"code":"REQUEST_TIMEOUT"/);
});

test('a head that trickles in is not waited for', { timeout: 30_000 }, async () => {
  await using place = await apiInMemory();
  const socket = connect(place.socketPath);
  const chunks: Buffer[] = [];
  const closed = new Promise<void>((resolve) => socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => resolve()).on('close', () => resolve()));
  socket.write('GET /v1/health HTTP/1.1\r\n');
  const trickle = setInterval(() => socket.write('X: y\r\n'), 200);
  await closed;
  clearInterval(trickle);
  assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 408 /);
});

test('a protocol that is not ours is not taken up, and the request is answered as it is', async () => {
  await using place = await apiInMemory();
  assert.equal((await ask(place, '/v1/health', { headers: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' } })).status, 200);
});

test('the socket is its owner\'s alone from the moment it is there', async () => {
  await using place = await apiInMemory();
  assert.equal(statSync(place.socketPath).mode & 0o777, 0o600);
});

test('a range that is given is within the file, or refused', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.tuple(fc.nat(50), fc.nat(50)).map(([from, to]) => `bytes=${from}-${to}`), fc.nat(50).map((last) => `bytes=-${last}`), fc.nat(50).map((from) => `bytes=${from}-`)), fc.nat(40), (header, size) => {
      try {
        const { first, last } = spanOf(header, size);
        assert.ok(first >= 0 && first <= last && last < size);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'RANGE_INVALID');
      }
    }),
  );
  assert.deepEqual([spanOf('bytes=0-', 10), spanOf('bytes=-3', 10), spanOf('bytes=2-99', 10), spanOf('bytes=-99', 10)], [{ first: 0, last: 9 }, { first: 7, last: 9 }, { first: 2, last: 9 }, { first: 0, last: 9 }]);
});
