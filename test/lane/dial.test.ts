import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:os';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import type { Exec, ExecReport, Lanes } from '@caisson/runtime';
import { leastOf } from '../least.ts';
import { buildDir, compile, INIT_SOURCES, withLanes } from './given.ts';

const MIB = 1024 * 1024;
const { errno } = constants;

interface Listening extends AsyncDisposable {
  readonly port: number;
  readonly sockets: Socket[];
}

/** A server on loopback whose connections are the test's. */
async function listen(onConnection: (socket: Socket) => void, host = '127.0.0.1'): Promise<Listening> {
  const sockets: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.push(socket.on('error', () => undefined));
    onConnection(socket);
  });
  server.listen({ port: 0, host });
  await once(server, 'listening');
  return {
    sockets,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Dialled {
  readonly exec: Exec;
  readonly bytes: Buffer[];
  ended: number;
}

function dial(lanes: Lanes, port: number, take: () => Promise<void> = async () => undefined): Dialled {
  const bytes: Buffer[] = [];
  const dialled: Dialled = {
    bytes,
    ended: 0,
    exec: lanes.dial(port, {
      onOutput: async (stream, part) => {
        assert.equal(stream, 'stdout');
        bytes.push(part);
        await take();
      },
      onOutputEnd: () => void (dialled.ended += 1),
    }),
  };
  return dialled;
}

async function soon(exec: Exec, waitMs = 5_000): Promise<ExecReport> {
  const report = await Promise.race([exec.done, delay(waitMs, null, { ref: false })]);
  assert.notEqual(report, null, 'the connection goes on');
  return report as ExecReport;
}

async function until(holds: () => boolean): Promise<void> {
  for (let waits = 0; !holds(); waits++) {
    assert.ok(waits < 1_000, `${String(holds)} within 5 s`);
    await delay(5);
  }
}

const exited = (stdout: number): ExecReport => ({ end: { kind: 'exited', code: 0 }, written: { stdout, stderr: 0 } });

suite('a connection that pid 1 makes', () => {
  const build = buildDir();
  let binary = '';
  before(async () => {
    binary = await compile(`${build.path}/init`, INIT_SOURCES, ['-O2', '-static']);
  });
  after(() => build[Symbol.dispose]());

  test('carries what is written before it is made, and ends when both halves have', async () => {
    await using host = withLanes(binary);
    await using server = await listen((socket) => void socket.pipe(socket));
    const { exec, bytes } = dial(host.lanes, server.port);
    await exec.writeStdin(Buffer.from('at once'));
    await exec.endStdin();
    assert.deepEqual(await soon(exec), exited(7));
    assert.equal(Buffer.concat(bytes).toString(), 'at once');
  });

  test('says when the peer has sent all, and still carries what the peer reads', async () => {
    await using host = withLanes(binary);
    const heard: Buffer[] = [];
    await using server = await listen((socket) => void socket.on('data', (part) => heard.push(part)).resume().end('bye'));
    const dialled = dial(host.lanes, server.port);
    await until(() => dialled.ended > 0);
    assert.equal(Buffer.concat(dialled.bytes).toString(), 'bye');
    await dialled.exec.writeStdin(Buffer.from('one more'));
    await dialled.exec.endStdin();
    assert.deepEqual(await soon(dialled.exec), exited(3));
    await until(() => Buffer.concat(heard).toString() === 'one more');
    assert.equal(dialled.ended, 1);
  });

  test('reaches a server that listens on ::1 alone', async (t) => {
    await using host = withLanes(binary);
    const server = await listen((socket) => void socket.end('six'), '::1').catch(() => null);
    if (server === null) return t.skip('this host has no IPv6 loopback');
    await using listening = server;
    const { exec, bytes } = dial(host.lanes, listening.port);
    await exec.endStdin();
    assert.deepEqual(await soon(exec), exited(3));
    assert.equal(Buffer.concat(bytes).toString(), 'six');
  });

  test('is refused with the reason of the kernel when nobody listens', async () => {
    await using host = withLanes(binary);
    const server = await listen(() => undefined);
    const { port } = server;
    await server[Symbol.asyncDispose]();
    assert.deepEqual(await soon(dial(host.lanes, port).exec), { end: { kind: 'not-started', stage: 'connect', errno: errno.ECONNREFUSED }, written: { stdout: 0, stderr: 0 } });
  });

  test('to a server that never reads holds no more than its window, and nobody else up', async () => {
    await using host = withLanes(binary);
    await using server = await listen(() => undefined);
    const { exec } = dial(host.lanes, server.port);
    let written = 0;
    const writing = (async () => {
      for (; written < 256 * MIB; written += MIB) await exec.writeStdin(Buffer.alloc(MIB));
    })();
    const other = host.lanes.spawn({ argv: ['true'], env: ['PATH=/usr/bin:/bin'], cwd: '/', stdin: false, outputBytes: 1 }, { onOutput: async () => undefined });
    assert.deepEqual((await soon(other)).end, { kind: 'exited', code: 0 });
    await delay(300);
    const stuckAt = written;
    assert.ok(stuckAt < 64 * MIB, `${stuckAt} bytes went nowhere`);
    exec.kill();
    assert.deepEqual((await soon(exec)).end, { kind: 'signaled', signal: constants.signals.SIGKILL });
    await writing;
  });

  test('to a peer that sends without end delivers no more than is taken', async () => {
    await using host = withLanes(binary);
    let sent = 0;
    await using server = await listen((socket) => {
      const send = (): void => { while (socket.write(Buffer.alloc(65_536))) sent += 65_536; };
      socket.on('drain', send);
      send();
    });
    const { exec, bytes } = dial(host.lanes, server.port, () => new Promise(() => undefined));
    const received = (): number => bytes.reduce((sum, { length }) => sum + length, 0);
    await until(() => received() > 500 * 1024);
    let seen = -1;
    for (; received() > seen; await delay(300)) seen = received(); // until nothing more comes
    // A piece counts as 256 bytes at least (LANE_FRAME_COST): how much is delivered depends on the pieces in which it came.
    assert.ok(received() <= 512 * 1024 && received() > 500 * 1024, `${received()}`);
    assert.ok(sent < 64 * MIB, `${sent}`);
    exec.kill();
    await soon(exec);
  });

  test('that the peer resets is over, with exit status 0', async () => {
    await using host = withLanes(binary);
    await using server = await listen((socket) => void setTimeout(() => socket.resetAndDestroy(), 50));
    const { exec } = dial(host.lanes, server.port);
    assert.deepEqual((await soon(exec)).end, { kind: 'exited', code: 0 });
  });

  test('that is killed before or after it is made says so', async () => {
    await using host = withLanes(binary);
    await using server = await listen((socket) => void socket.write('made'));
    const early = dial(host.lanes, server.port).exec;
    early.kill();
    const { end } = await soon(early);
    assert.ok(end.kind === 'signaled' || (end.kind === 'not-started' && end.errno === errno.ECANCELED), JSON.stringify(end));
    const late = dial(host.lanes, server.port);
    await until(() => server.sockets.length === 2);
    await until(() => late.bytes.length > 0); // its own end knows that it is made
    late.exec.signal(constants.signals.SIGTERM); // there is no process: nothing happens
    late.exec.resize(80, 24);
    late.exec.kill();
    assert.deepEqual((await soon(late.exec)).end, { kind: 'signaled', signal: constants.signals.SIGKILL });
  });

  test('of 64 side by side each carries its own bytes', async () => {
    await using host = withLanes(binary);
    await using server = await listen((socket) => void socket.pipe(socket));
    const texts = Array.from({ length: 64 }, (_, index) => Buffer.alloc(100_000 + index, `${index} `));
    await Promise.all(texts.map(async (text) => {
      const { exec, bytes } = dial(host.lanes, server.port);
      await exec.writeStdin(text);
      await exec.endStdin();
      assert.deepEqual(await soon(exec, 20_000), exited(text.length));
      assert.ok(Buffer.concat(bytes).equals(text));
    }));
  });

  test('that is never answered is given up after 5 seconds, and pid 1 does other things meanwhile', async () => {
    await using host = withLanes(binary);
    // A full queue of connections: Linux drops the next SYN and says nothing.
    const full = `
import socket, sys, time
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(0); keep = []
for _ in range(4):
  c = socket.socket(); c.setblocking(False); c.connect_ex(s.getsockname()); keep.append(c)
time.sleep(0.2); print(s.getsockname()[1], flush=True); sys.stdin.read()`;
    const said = Promise.withResolvers<number>();
    const holder = host.lanes.spawn({ argv: ['python3', '-c', full], env: ['PATH=/usr/bin:/bin'], cwd: '/', stdin: true, outputBytes: 100 }, { onOutput: async (_stream, bytes) => said.resolve(Number(bytes)) });
    const port = await said.promise;
    const tookMs = await leastOf(6_500, async () => {
      const start = performance.now();
      const { exec } = dial(host.lanes, port);
      await delay(50);
      const other = host.lanes.spawn({ argv: ['true'], env: ['PATH=/usr/bin:/bin'], cwd: '/', stdin: false, outputBytes: 1 }, { onOutput: async () => undefined });
      assert.deepEqual((await soon(other)).end, { kind: 'exited', code: 0 });
      assert.deepEqual((await soon(exec, 20_000)).end, { kind: 'not-started', stage: 'connect', errno: errno.ETIMEDOUT });
      return performance.now() - start;
    });
    assert.ok(tookMs > 4_900 && tookMs < 6_500, `${tookMs} ms`);
    holder.kill();
    await soon(holder);
  });
});
