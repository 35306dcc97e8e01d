import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError } from '@caisson/contract';
import fc from 'fast-check';
import { WebSocket } from 'ws';
import { leastOf } from '../least.ts';
import { apiInMemory, ask, everything, follow, type Place, type Told, type Where } from './given.ts';

async function started(place: Place): Promise<{ readonly exec: string; readonly path: string }> {
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const { json } = await ask(place, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['cat'], stdin: true } });
  const exec = String(json['id']);
  return { exec, path: `/v1/sandboxes/a/execs/${exec}` };
}

const bytesOf = (told: readonly Told[]): Buffer => Buffer.concat(told.filter(({ event }) => event === 'output').map(({ data }) => Buffer.from(String(data['data']), 'base64')));

test('an exec is started and followed in one request: started, its output with offsets, its end', async () => {
  await using place = await apiInMemory();
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  using stream = await follow(place, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['x'] } });
  assert.deepEqual([stream.status, stream.headers['content-type']], [200, 'text/event-stream; charset=utf-8']);
  const seen: unknown[] = [];
  for await (const { event, id, data } of stream) {
    seen.push(event === 'output' ? [event, id, data] : [event, id, data['state']]);
    if (event !== 'started') continue;
    place.double.output(String(data['id']), Buffer.from('out\n\n'));
    place.double.output(String(data['id']), Buffer.from([0xff, 0x0a]), 'stderr');
    place.double.end(String(data['id']), 3);
  }
  assert.deepEqual(seen, [
    ['started', null, 'running'],
    ['output', '5', { stream: 'stdout', offset: 0, data: Buffer.from('out\n\n').toString('base64') }],
    ['output', '7', { stream: 'stderr', offset: 5, data: '/wo=' }],
    ['end', null, 'ended'],
  ]);
});

test('a follower that is cut off anywhere goes on with Last-Event-ID and has every byte exactly once', async () => {
  await using place = await apiInMemory();
  const { exec, path } = await started(place);
  const all = Buffer.from(Array.from({ length: 5_000 }, (_, index) => index % 251));
  for (let at = 0; at < all.length; at += 100) place.double.output(exec, all.subarray(at, at + 100), at % 200 === 0 ? 'stdout' : 'stderr');
  place.double.end(exec);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 4 }), async (cuts) => {
      const told: Told[] = [];
      let last: string | null = null;
      for (const events of [...cuts, Infinity]) {
        using stream = await follow(place, `${path}/output?from=3`, { headers: last === null ? {} : { 'last-event-id': last } });
        let count = 0;
        for await (const each of stream) {
          told.push(each);
          last = each.id ?? last;
          if (++count >= events || each.event === 'end') break;
        }
        if (told.at(-1)?.event === 'end') break;
      }
      assert.deepEqual(bytesOf(told), all.subarray(3));
    }),
    { numRuns: 25 },
  );
});

test('REQUEST_INVALID: a Last-Event-ID that is none of ours', async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  assert.equal((await ask(place, `${path}/output`, { headers: { 'last-event-id': '-1' } })).json['code'], 'REQUEST_INVALID');
});

test('OUTPUT_GONE: output that is no longer kept is a problem, not a stream with a hole', async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  place.double.follow = () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new CaissonError('OUTPUT_GONE', { asked: 0, kept: 9 })) }) });
  const said = await ask(place, `${path}/output`);
  assert.deepEqual([said.status, said.json['code']], [410, 'OUTPUT_GONE']);
});

test('what fails in the middle of a stream is told as an event', async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  place.double.follow = async function* () {
    yield { type: 'output', stream: 'stdout', offset: 0, bytes: Buffer.from('a') };
    await delay(20);
    throw new CaissonError('SANDBOX_LOST', { detail: 'gone' });
  };
  using stream = await follow(place, `${path}/output`);
  assert.deepEqual((await everything(stream)).map(({ event, data }) => [event, data['code']]), [['output', undefined], ['problem', 'SANDBOX_LOST']]);
});

test('a follower that leaves ends its following and not the exec', async () => {
  await using place = await apiInMemory();
  const { exec, path } = await started(place);
  for (let round = 0; round < 10; round++) {
    const stream = await follow(place, `${path}/output`);
    while (place.double.followers() === 0) await delay(2);
    stream[Symbol.dispose]();
    while (place.double.followers() > 0) await delay(2);
  }
  assert.equal(place.double.execInfo('a', exec).state, 'running');
});

test('a follower that leaves while its command is being started is followed no more', async () => {
  await using place = await apiInMemory({ tcp: { host: '127.0.0.1', port: 0 }, streamsPerToken: 1 });
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const where = { host: '127.0.0.1', port: place.api.tcpPort ?? 0 };
  const headers = { authorization: `Bearer ${place.tokens.make({ name: 't', scopes: ['exec'] }).token}` };
  const { exec } = place.double;
  const [asked, start] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  place.double.exec = async (...args) => {
    asked.resolve();
    await start.promise;
    return exec(...args);
  };
  await cutAfter(where, '/v1/sandboxes/a/execs', { body: { argv: ['sleep'] }, headers, when: asked.promise });
  await seenByServer(place);
  start.resolve();
  while (place.double.execs('a').length === 0) await delay(2);
  place.double.exec = exec;
  const again = async (): Promise<number> => {
    using stream = await follow(where, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['next'] }, headers });
    return stream.status;
  };
  const statuses: number[] = [];
  for (const untilMs = performance.now() + 5_000; statuses.at(-1) !== 200 && performance.now() < untilMs; await delay(10)) statuses.push(await again());
  assert.equal(statuses.at(-1), 200, 'the stream of who left is still open');
});

test('an import whose caller leaves while it is put on record is not begun', async () => {
  const [asked, recorded] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let begun = 0;
  const images = { list: async () => [], get: async () => ({}), remove: async () => undefined, import: async () => ({ begun: ++begun }) };
  const record = async (): Promise<void> => {
    asked.resolve();
    await recorded.promise;
  };
  await using place = await apiInMemory({ rooms: { images, record } });
  await cutAfter(place, '/v1/images', { body: { source: '/var/image.tar' }, headers: {}, when: asked.promise });
  await seenByServer(place);
  recorded.resolve();
  await seenByServer(place);
  assert.equal(begun, 0);
});

/** Asks for events, and leaves before there is an answer. */
async function cutAfter(where: Where, path: string, { body, headers, when }: { readonly body: unknown; readonly headers: Readonly<Record<string, string>>; readonly when: Promise<void> }): Promise<void> {
  const request = httpRequest({ ...where, path, method: 'POST', agent: false, headers: { accept: 'text/event-stream', 'content-type': 'application/json', ...headers } });
  const gone = new Promise<void>((resolve) => request.on('error', () => undefined).on('close', resolve));
  request.end(JSON.stringify(body));
  await when;
  request.destroy();
  await gone;
}

/** The server is in this process: it has taken in what came before when it has answered what came after. */
async function seenByServer(place: Place): Promise<void> {
  for (let round = 0; round < 3; round++) await ask(place, '/v1/health');
}

test('a follower that does not read holds its source back and costs no memory', { timeout: 20_000 }, async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  let taken = 0;
  place.double.follow = async function* () {
    const bytes = Buffer.alloc(65_536, 1);
    for (; taken < 512 * 1024 * 1024; taken += bytes.length) yield { type: 'output', stream: 'stdout', offset: taken, bytes };
  };
  const socket = connect(place.socketPath);
  socket.write(`GET ${path}/output HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  socket.pause();
  let before = -1;
  while (before !== taken || taken === 0) {
    before = taken;
    await delay(200);
  }
  assert.ok(taken < 4 * 1024 * 1024, `${taken} bytes were taken for a client that reads nothing`);
  socket.destroy();
});

test('waiting for an exec answers at its end, or when the time is up with what it is then', async () => {
  await using place = await apiInMemory();
  const { exec, path } = await started(place);
  assert.equal((await ask(place, `${path}?waitMs=30`)).json['state'], 'running');
  const waiting = ask(place, `${path}?waitMs=10000`);
  await delay(30);
  place.double.end(exec, 7);
  assert.deepEqual([(await waiting).json['exit'], (await ask(place, path)).json['exit']], [7, 7]);
});

test('stdin that is sent again at the offset it was sent before arrives once', async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  const put = (query: string, body: Buffer): ReturnType<typeof ask> => ask(place, `${path}/stdin${query}`, { method: 'PUT', body });
  assert.deepEqual((await put('?offset=0', Buffer.from('hello '))).json, { taken: 6 });
  assert.deepEqual((await put('?offset=0', Buffer.from('hello wor'))).json, { taken: 9 });
  assert.deepEqual((await put('', Buffer.alloc(0))).json, { taken: 9 });
  assert.deepEqual((await put('?offset=9&end=true', Buffer.from('ld'))).json, { taken: 11 });
  assert.equal(place.double.asked.at(-1)?.detail, 'hello world');
});

test('signals by name and by number and the size of a terminal reach the exec', async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  for (const signal of ['SIGTERM', 2, 64]) assert.equal((await ask(place, `${path}/signal`, { method: 'POST', body: { signal } })).status, 204);
  assert.equal((await ask(place, `${path}/resize`, { method: 'POST', body: { cols: 100, rows: 30 } })).status, 204);
  assert.deepEqual(place.double.asked.slice(-4).map(({ detail }) => detail), [15, 2, 64, { cols: 100, rows: 30 }]);
});

test('the state of a sandbox is told on each change and until its end', async () => {
  await using place = await apiInMemory();
  await started(place);
  using stream = await follow(place, '/v1/sandboxes/a/events');
  const states: unknown[] = [];
  for await (const { event, data } of stream) {
    const { state } = data['sandbox'] as { state: string };
    states.push([event, state]);
    await ask(place, states.length === 1 ? '/v1/sandboxes/a/pause' : '/v1/sandboxes/a', { method: states.length === 1 ? 'POST' : 'DELETE' });
  }
  assert.deepEqual(states, [['state', 'running'], ['state', 'paused'], ['state', 'closed']]);
});

function attached({ socketPath }: Place, path: string): WebSocket {
  return new WebSocket(`ws+unix:${socketPath}:${path}/attach`);
}

test('an attached client has the output with offsets, writes stdin, resizes, signals and is told the end', async () => {
  await using place = await apiInMemory();
  const { exec, path } = await started(place);
  const client = attached(place, path);
  const frames: unknown[] = [];
  client.on('message', (data: Buffer, isBinary) => frames.push(isBinary ? [data.readUInt8(0), data.readBigUInt64BE(1), data.subarray(9).toString()] : (JSON.parse(data.toString()) as { type: string }).type));
  await once(client, 'open');
  for (const word of [Buffer.from('typed'), '{"type":"resize","cols":80,"rows":24}', '{"type":"signal","signal":"SIGINT"}', Buffer.from(' more'), '{"type":"end-stdin"}']) client.send(word);
  while (place.double.asked.at(-1)?.verb !== 'endStdin') await delay(5);
  assert.deepEqual(place.double.asked.slice(-3).map(({ verb, detail }) => [verb, detail]), [['resize', { cols: 80, rows: 24 }], ['signal', 2], ['endStdin', 'typed more']]);
  place.double.output(exec, Buffer.from('abc'));
  place.double.output(exec, Buffer.from('d'), 'stderr');
  place.double.end(exec);
  const [code] = await once(client, 'close');
  assert.deepEqual([frames, code], [[[1, 0n, 'abc'], [2, 3n, 'd'], 'end'], 1000]);
});

for (const [what, word] of [
  ['a text frame that is not JSON', '{'],
  ['an unknown word', '{"type":"exit"}'],
  ['a field that no word has', '{"type":"end-stdin","now":true}'],
  ['a size that no terminal has', '{"type":"resize","cols":0,"rows":1}'],
  ['a frame that is too large', Buffer.alloc(300 * 1024)],
] as const) {
  test(`${what} ends the attachment and nothing else`, async () => {
    await using place = await apiInMemory();
    const { exec, path } = await started(place);
    const client = attached(place, path);
    client.on('error', () => undefined);
    await once(client, 'open');
    client.send(word);
    await once(client, 'close');
    while (place.double.followers() > 0) await delay(2);
    assert.equal(place.double.execInfo('a', exec).state, 'running');
  });
}

test('an attachment to what is not there is refused as a request', async () => {
  await using place = await apiInMemory();
  await started(place);
  const client = attached(place, '/v1/sandboxes/a/execs/exe-0000000000000000');
  client.on('error', () => undefined);
  const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(response.statusCode, 404);
  client.terminate();
});

/** Asks for a connection to a port; resolves with it, or with the status of the refusal. */
function connectTo({ socketPath }: Place, path: string): Promise<Duplex | number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, agent: false, headers: { connection: 'Upgrade', upgrade: 'caisson-tcp' } });
    request.on('upgrade', (_response, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
    request.end();
  });
}

test('a port carries bytes both ways, each side can end its own direction, and PORT_REFUSED is an answer', async () => {
  await using place = await apiInMemory();
  await started(place);
  assert.equal(await connectTo(place, '/v1/sandboxes/a/ports/80/connect'), 502);
  for (const port of ['0', '65536', '08', 'x', '%2e']) assert.equal(await connectTo(place, `/v1/sandboxes/a/ports/${port}/connect`), 400, port);
  const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => socket.end(Buffer.concat(chunks)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  place.double.dialled = () => connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, index) => index % 256));
  const socket = await connectTo(place, '/v1/sandboxes/a/ports/80/connect');
  assert.ok(typeof socket !== 'number');
  socket.end(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  assert.deepEqual(Buffer.concat(chunks), sent);
  server.close();
});

test('PORT_REFUSED: what answers nowhere is refused before the connection becomes one', async () => {
  await using place = await apiInMemory();
  await started(place);
  assert.equal(await connectTo(place, '/v1/sandboxes/a/ports/81/connect'), 502);
});

test('DRAINING: a stopping Caisson tells followers and attached clients, finishes what is short and takes nothing new', async () => {
  await using place = await apiInMemory();
  const { path } = await started(place);
  using stream = await follow(place, `${path}/output`);
  const client = attached(place, path);
  const words: string[] = [];
  client.on('message', (data: Buffer) => words.push((JSON.parse(data.toString()) as { type: string }).type));
  const closed = once(client, 'close');
  await once(client, 'open');
  const gate = Promise.withResolvers<void>();
  place.double.usage = async () => {
    await gate.promise;
    return { cpuMs: 9, memoryBytes: null, memoryPeakBytes: null, pids: null, pidsPeak: null, oomKills: null };
  };
  const short = ask(place, '/v1/sandboxes/a/usage');
  const kept = connect(place.socketPath); // a connection from before that asks after
  await once(kept, 'connect');
  kept.write('GET /v1/sandboxes/a/usage HTTP/1.1\r\nHost: localhost\r\n');
  await delay(30);
  const drained = place.api.drain();
  await delay(10);
  kept.write('\r\n');
  const [late] = (await once(kept, 'data')) as [Buffer];
  assert.match(late.toString(), /^HTTP\/1\.1 503 [\s\S]*connection: close[\s\S]*"code":"DRAINING"/i);
  gate.resolve();
  assert.equal((await short).json['cpuMs'], 9);
  assert.deepEqual((await everything(stream)).map(({ event }) => event), ['drain']);
  assert.deepEqual([(await closed)[0], words], [1012, ['drain']]);
  await drained;
  await assert.rejects(ask(place, '/v1/health'), { code: /ENOENT|ECONNREFUSED/ });
});

test('a client that never reads cannot hold up a stop for longer than five seconds', { timeout: 45_000 }, async () => {
  const tookMs = await leastOf(6_000, async () => {
    await using place = await apiInMemory();
    const { path } = await started(place);
    place.double.follow = async function* () {
      for (let offset = 0; ; offset += 65_536) yield { type: 'output', stream: 'stdout', offset, bytes: Buffer.alloc(65_536) };
    };
    const socket = connect(place.socketPath);
    socket.write(`GET ${path}/output HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    socket.on('error', () => undefined).pause();
    await delay(300);
    const start = performance.now();
    await place.api.drain();
    socket.destroy();
    return performance.now() - start;
  });
  assert.ok(tookMs < 6_000, `${tookMs} ms`);
});
