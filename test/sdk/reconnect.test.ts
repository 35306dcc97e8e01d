import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { CaissonError, Sandbox } from '@caisson/sdk';
import { answering, breakingWay, REAL, realCaisson } from './given.ts';

const real = realCaisson();

/** Numbers that look random and are the same in every run. */
function numbers(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('however often the connection breaks, and wherever, a command runs once and each byte of its output arrives once', REAL, async () => {
  await using box = await real().create();
  const script = 'echo ran >> runs; i=0; while [ $i -lt 60 ]; do head -c 4096 /dev/urandom | tee -a out; i=$((i+1)); done; head -c 1000 /dev/urandom | tee err >&2';
  for (const seed of [1, 2, 3]) {
    const random = numbers(seed);
    await using way = await breakingWay(real().caisson.paths.apiSocket, () => 200 + random(60_000));
    const far = await Sandbox.connect(box.id, { connection: { ...way.connection, reconnectMs: 20_000 } });
    await box.exec(['rm', '-f', 'runs', 'out', 'err']);
    const result = await far.sh(script);
    assert.equal(result.exit, 0);
    assert.ok(way.broken() >= 3, `it broke ${way.broken()} times`);
    assert.equal(await box.files.read('runs'), 'ran\n');
    assert.equal(sha256(result.stdoutBytes), sha256(await box.files.readBytes('out')));
    assert.equal(sha256(result.stderrBytes), sha256(await box.files.readBytes('err')));
  }
});

test('stdin that is written over a connection that breaks arrives once, in order and whole', REAL, async () => {
  await using box = await real().create();
  const random = numbers(7);
  await using way = await breakingWay(real().caisson.paths.apiSocket, () => 500 + random(4_000));
  const far = await Sandbox.connect(box.id, { connection: { ...way.connection, reconnectMs: 20_000 } });
  const input = Buffer.from(Array.from({ length: 20_000 }, (_, index) => `${index}\n`).join(''));
  const process = await far.spawn(['sha256sum'], { stdin: true });
  for (let at = 0; at < input.length; at += 3_000) await process.write(input.subarray(at, at + 3_000));
  await process.endStdin();
  assert.match(await process.stdout.text(), new RegExp(`^${sha256(input)}`));
  assert.ok(way.broken() > 0);
});

test('a sandbox that is created over a connection that breaks is one sandbox', REAL, async () => {
  const random = numbers(11);
  await using way = await breakingWay(real().caisson.paths.apiSocket, () => 1 + random(2_000));
  const box = await Sandbox.create({ labels: { made: 'once' } }, { connection: way.connection });
  assert.deepEqual((await Array.fromAsync(Sandbox.list({ labels: { made: 'once' } }, { connection: real().connection }))).map(({ id }) => id), [box.id]);
  await (await Sandbox.connect(box.id, { connection: real().connection })).close();
});

test('stdin and a create outlive a control that is away for three seconds', REAL, async () => {
  await using box = await real().create();
  const { caisson, connection } = real();
  await using way = await breakingWay(caisson.paths.apiSocket, () => Infinity);
  const far = await Sandbox.connect(box.id, { connection: way.connection });
  const process = await far.spawn(['cat'], { stdin: true });
  await process.write('one ');
  let back = way.away(3_000);
  assert.deepEqual((await Promise.all([process.info(), process.write('two ')]))[0].state, 'running');
  await back;
  async function* parts(): AsyncGenerator<string> {
    yield 'three ';
    back = way.away(3_000);
    yield 'four';
  }
  assert.equal((await far.exec(['cat'], { stdin: parts() })).stdout, 'three four');
  await back;
  back = way.away(3_000);
  await process.endStdin();
  assert.equal(await process.stdout.text(), 'one two ');
  await back;
  // The answer of the create breaks off, and from then on nothing answers: it may have been made.
  let budget = 1;
  await using other = await breakingWay(caisson.paths.apiSocket, () => budget);
  const creating = Sandbox.create({ labels: { made: 'away' } }, { connection: other.connection });
  for (const untilMs = performance.now() + 20_000; other.broken() === 0; await delay(5)) assert.ok(performance.now() < untilMs, 'nothing was asked');
  back = other.away(3_000);
  budget = Infinity;
  const [made] = await Promise.all([creating, back]);
  assert.deepEqual((await Array.fromAsync(Sandbox.list({ labels: { made: 'away' } }, { connection }))).map(({ id }) => id), [made.id]);
  await made.close();
});

test('when control is killed in the middle of a command, the command goes on and its reader gets every byte once', REAL, async () => {
  await using box = await real().create();
  const waiting = box.sh('i=0; while [ $i -lt 300 ]; do echo line $i | tee -a out; i=$((i+1)); sleep 0.01; done');
  for (const untilMs = Date.now() + 60_000; !(await box.files.exists('out')); await delay(10)) assert.ok(Date.now() < untilMs, 'it does not begin');
  const control = (await real().caisson.status()).processes.find(({ name }) => name === 'control');
  assert.ok(control?.pid !== undefined && control.pid !== null && readFileSync(`/proc/${control.pid}/cmdline`, 'utf8').includes('control'));
  process.kill(control.pid, 'SIGKILL');
  const result = await waiting;
  assert.equal(result.exit, 0);
  assert.equal(result.stdout, Array.from({ length: 300 }, (_, index) => `line ${index}\n`).join(''));
  assert.equal(await box.files.read('out'), result.stdout);
});

test('DAEMON_UNREACHABLE: nothing answers, and the hint says how to start it', async () => {
  const started = performance.now();
  await assert.rejects(Sandbox.create({}, { connection: { socket: '/nowhere/api.sock' } }), (error) => {
    assert.ok(error instanceof CaissonError && error.code === 'DAEMON_UNREACHABLE' && error.status === null);
    assert.match(error.message, /\/nowhere\/api\.sock/);
    assert.match(error.hint, /\.\/caisson up/);
    return true;
  });
  assert.ok(performance.now() - started < 5_000);
});

test('a follower whose connection never comes back gives up after its reconnectMs', async () => {
  const info = { id: 'exe-0000000000000000', sandbox: 'sbx-0000000000000000', state: 'running' };
  await using place = await answering((request, response) => {
    if (request.method !== 'POST') return void response.destroy();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: started\ndata: ${JSON.stringify(info)}\n\n`);
    setTimeout(() => response.destroy(), 50);
  }, 400);
  await assert.rejects(place.box.exec(['true']), (error) => error instanceof CaissonError && error.code === 'CONNECTION_LOST' && error.hint.includes(info.id));
});

test('a request that may not be made twice is not: a connection that breaks in its answer is said', async () => {
  let asked = 0;
  await using place = await answering((request, response) => {
    request.resume().on('end', () => (asked++, response.destroy()));
  });
  await assert.rejects(place.box.files.append('a', 'b'), (error) => error instanceof CaissonError && error.code === 'CONNECTION_LOST');
  assert.equal(asked, 1);
});

test('a connection that times out after the request was sent is lost, and what may not be repeated is not', async () => {
  const sockets: Socket[] = [];
  const opened = (message: unknown): void => void sockets.push((message as { readonly socket: Socket }).socket);
  subscribe('net.client.socket', opened);
  try {
    for (const code of ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH']) {
      const asked: string[] = [];
      await using place = await answering((request, response) => {
        request.resume().on('end', () => {
          if (asked.push(request.url ?? '') > 1) return void response.end('{}');
          // What the kernel reports of a connection that was made: the system call is not that of connecting.
          for (const socket of sockets.splice(0)) socket.destroy(Object.assign(new Error(`read ${code}`), { code, syscall: 'read' }));
        });
      });
      await assert.rejects(place.box.files.append('a', 'b'), (error) => error instanceof CaissonError && error.code === 'CONNECTION_LOST', code);
      assert.equal(asked.length, 1, code);
      asked.length = 0;
      await place.box.files.stat('a');
      assert.equal(asked.length, 2, code);
    }
  } finally {
    unsubscribe('net.client.socket', opened);
  }
});

test('bytes that are missing in a stream of output are an error, never left out', async () => {
  const event = (offset: number, text: string): string => `event: output\ndata: ${JSON.stringify({ stream: 'stdout', offset, data: Buffer.from(text).toString('base64') })}\n\n`;
  await using place = await answering((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`event: started\ndata: {"id":"exe-1","sandbox":"sbx-1"}\n\n${event(0, 'abc')}${event(4, 'e')}`);
  });
  await assert.rejects(place.box.exec(['true']), (error) => error instanceof CaissonError && error.code === 'ANSWER_INVALID' && /3 to 4 is missing/.test(error.message));
});
