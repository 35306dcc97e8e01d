import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Neighbours, relay, Turn } from '@caisson/egress';

/** What a sandbox may pass in one turn of the event loop. */
const SHARE_BYTES = 262_144;
const CHUNK = Buffer.alloc(65_536, 'x');

interface Joined extends AsyncDisposable {
  /** The ends of relays as the gate has them: who is before the first and behind the second is played by the test. */
  pair(): Promise<{ readonly client: Socket; readonly upstream: Socket; readonly near: Socket; readonly far: Socket }>;
}

async function joined(): Promise<Joined> {
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets: Socket[] = [];
  const one = async (): Promise<readonly [Socket, Socket]> => {
    const out = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
    const [come] = (await once(server, 'connection')) as [Socket];
    for (const socket of [out, come]) sockets.push(socket.on('error', () => undefined));
    return [out, come];
  };
  return {
    async pair() {
      const [near, client] = await one();
      const [upstream, far] = await one();
      return { client, upstream, near, far };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Writes as fast as it is taken, until the socket is gone. */
function flood(socket: Socket): void {
  const more = (): void => {
    while (!socket.destroyed && socket.write(CHUNK));
  };
  socket.on('drain', more);
  more();
}

for (const count of [1, 4, 64]) {
  test(`${count} connections of a sandbox that take all they get pass its share in a turn of the event loop, and each gets on`, { timeout: 60_000 }, async () => {
    await using sockets = await joined();
    const turn = new Turn();
    const passed = Array.from({ length: count }, () => 0);
    let most = 0;
    let now = 0;
    let isOver = false;
    let turns = 0;
    for (let n = 0; n < count; n++) {
      const { client, upstream, near, far } = await sockets.pair();
      void relay({
        client, upstream, head: Buffer.alloc(0), turn,
        pass: (_, bytes) => {
          now += bytes;
          passed[n] = (passed[n] ?? 0) + bytes;
          return true;
        },
      });
      near.resume();
      flood(far);
    }
    const round = (): void => {
      most = Math.max(most, now);
      now = 0;
      turns += 1;
      if (!isOver) setImmediate(round);
    };
    await delay(200); // when all are in the row
    [now, most] = [0, 0];
    passed.fill(0);
    turns = 0;
    setImmediate(round);
    await delay(1_500);
    for (const untilMs = performance.now() + 20_000; turns < 1_000 && performance.now() < untilMs; ) await delay(50); // of a machine that stood still
    isOver = true;
    // A turn of the gate begins at another place than one of this test: what is counted here may be of two, and in each the
    // last pieces go beyond the share. Without turns one connection passes 2 MB, and 64 pass 71 MB.
    assert.ok(most <= 4 * SHARE_BYTES, `${most} bytes in one turn`);
    assert.ok(Math.min(...passed) > 0 && Math.max(...passed) <= 8 * Math.min(...passed), `from ${Math.min(...passed)} to ${Math.max(...passed)} bytes`);
  });
}

test('beside a sandbox that has something small to do one that takes all it gets leaves the processor free, and alone it does not wait', { timeout: 60_000 }, async () => {
  await using sockets = await joined();
  const neighbours = new Neighbours();
  const turn = new Turn(neighbours);
  const other = new Turn(neighbours);
  let passed = 0;
  const { client, upstream, near, far } = await sockets.pair();
  void relay({ client, upstream, head: Buffer.alloc(0), turn, pass: (_, bytes) => ((passed += bytes), true) });
  near.resume();
  flood(far);
  const rate = async (asking: boolean): Promise<number> => {
    const before = passed;
    const startMs = performance.now();
    for (const untilMs = startMs + 1_000; performance.now() < untilMs; await delay(50)) if (asking) other.ask();
    return (passed - before) / (performance.now() - startMs);
  };
  await delay(300);
  const alone = await rate(false);
  const beside = await rate(true);
  const again = (await delay(300), await rate(false));
  assert.ok(beside <= 65_536 * 1.5, `${beside} bytes in a millisecond`); // pieces in flight may be more than one
  assert.ok(Math.max(alone, again) > beside, `${alone}, then ${beside}, then ${again}`);
  turn.ask();
  assert.equal(neighbours.isAnotherAsking(turn), false, 'who asks is no neighbour of its own');
});

test('a connection whose ends are of unlike speed carries every byte, each half to its own end', { timeout: 60_000 }, async () => {
  await using sockets = await joined();
  const { client, upstream, near, far } = await sockets.pair();
  const over = relay({ client, upstream, head: Buffer.from('head'), pass: () => true, turn: new Turn() });
  const sent = createHash('sha256').update('head');
  const got = createHash('sha256');
  const reading = (async () => {
    let count = 0;
    for await (const chunk of far as AsyncIterable<Buffer>) {
      got.update(chunk);
      if (++count % 16 === 0) await delay(5);
    }
    far.end('answer');
  })();
  for (let n = 0; n < 200; n++) {
    const piece = Buffer.alloc(50_000, `${n} `);
    sent.update(piece);
    if (!near.write(piece)) await once(near, 'drain');
  }
  near.end();
  const said: Buffer[] = [];
  for await (const chunk of near as AsyncIterable<Buffer>) said.push(chunk);
  await Promise.all([reading, over]);
  assert.deepEqual([got.digest('hex'), Buffer.concat(said).toString()], [sent.digest('hex'), 'answer']);
});
