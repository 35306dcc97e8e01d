import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Channel, connectChannel, encodeFrame, PAYLOAD_MAX } from '@caisson/wire';
import { listen, socketPath, soon } from './given.ts';

interface Served {
  readonly path: string;
  readonly messages: unknown[];
  readonly bytes: string[];
  readonly closed: Promise<Error | undefined>;
  readonly channel: Promise<Channel>;
}

/** One end that remembers what it was told. */
async function serve(t: TestContext): Promise<Served> {
  const path = socketPath(t);
  const messages: unknown[] = [];
  const bytes: string[] = [];
  const closed = Promise.withResolvers<Error | undefined>();
  const channel = Promise.withResolvers<Channel>();
  await listen(t, path, (socket) => channel.resolve(new Channel(socket, {
    onMessage: (message) => messages.push(message),
    onBytes: (kind, stream, payload) => bytes.push(`${kind} ${stream} ${payload.toString()}`),
    onClose: (error) => closed.resolve(error),
  })));
  return { path, messages, bytes, closed: closed.promise, channel: channel.promise };
}

function raw(t: TestContext, path: string): Socket {
  const socket = connect(path);
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

suite('a channel', () => {
  test('passes messages and bytes on in order', async (t) => {
    const served = await serve(t);
    using channel = await connectChannel(served.path, { onMessage: () => undefined });
    channel.send({ text: 'ü\0', none: null });
    await channel.sendBytes('stdin', 4_294_967_295, Buffer.from('in'));
    await channel.sendBytes('stdin', 1, Buffer.alloc(0));
    channel.send([1]);
    channel.end();
    assert.equal(await soon(served.closed, 'the close'), undefined);
    assert.deepEqual(served.messages, [{ text: 'ü\0', none: null }, [1]]);
    assert.deepEqual(served.bytes, ['stdin 4294967295 in', 'stdin 1 ']);
  });

  test('sends what it is told in one breath in one piece, and loses none of it when it is closed at once', async (t) => {
    const path = socketPath(t);
    const pieces: string[] = [];
    const ended = Promise.withResolvers<void>();
    await listen(t, path, (socket) => void socket.on('data', (piece) => pieces.push(piece.toString('latin1'))).on('end', ended.resolve));
    const frames = (...texts: readonly string[]): string => Buffer.concat(texts.map((text) => encodeFrame('message', 0, Buffer.from(text)))).toString('latin1');
    const channel = await connectChannel(path, { onMessage: () => undefined });
    channel.send(1);
    channel.send(2);
    await delay(50);
    assert.deepEqual(pieces, [frames('1', '2')]);
    channel.send(3);
    channel[Symbol.dispose]();
    await soon(ended.promise, 'the end');
    assert.equal(pieces.join(''), frames('1', '2', '3'));
  });

  test('given up on a message leaves what came with that message to whoever carries the socket on', async (t) => {
    const path = socketPath(t);
    const given = Promise.withResolvers<Socket>();
    await listen(t, path, (socket) => {
      const channel: Channel = new Channel(socket, { onMessage: () => given.resolve(channel.release()), onClose: () => assert.fail('told of a socket that was given up') });
    });
    const peer = raw(t, path);
    peer.write(Buffer.concat([encodeFrame('message', 0, Buffer.from('"ready"')), Buffer.from('no frame at all')])); // one write, one piece
    const socket = await soon(given.promise, 'the message');
    t.after(() => socket.destroy());
    const first = new Promise<Buffer>((resolve) => socket.once('data', resolve));
    socket.resume();
    assert.equal((await soon(first, 'what came with it')).toString(), 'no frame at all');
  });

  const BAD: readonly (readonly [string, Buffer])[] = [
    ['a message that is not JSON', encodeFrame('message', 0, Buffer.from('{"a":'))],
    ['an empty message', encodeFrame('message', 0, Buffer.alloc(0))],
    ['a frame that is too long', Buffer.from('010040000000000000', 'hex')],
    ['a frame of an unknown kind', Buffer.from('000000000900000000', 'hex')],
  ];
  for (const [what, bytes] of BAD) {
    test(`closes with FRAME_INVALID after ${what}, and hears nothing after it`, async (t) => {
      const served = await serve(t);
      raw(t, served.path).write(Buffer.concat([encodeFrame('message', 0, Buffer.from('1')), bytes, encodeFrame('message', 0, Buffer.from('2'))]));
      const error = await soon(served.closed, 'the close');
      assert.equal((error as { code?: string } | undefined)?.code, 'FRAME_INVALID');
      assert.deepEqual(served.messages, [1]);
    });
  }

  test('closes when what hears it throws, and says why', async (t) => {
    const path = socketPath(t);
    const closed = Promise.withResolvers<Error | undefined>();
    await listen(t, path, (socket) => new Channel(socket, {
      onMessage: () => { throw new Error('not that'); },
      onClose: (error) => closed.resolve(error),
    }));
    raw(t, path).write(encodeFrame('message', 0, Buffer.from('1')));
    assert.equal((await soon(closed.promise, 'the close'))?.message, 'not that');
  });

  test('a frame that is cut off by the end is not heard', async (t) => {
    const served = await serve(t);
    raw(t, served.path).end(encodeFrame('message', 0, Buffer.from('"long enough"')).subarray(0, 15));
    await soon(served.closed, 'the close');
    assert.deepEqual(served.messages, []);
  });

  test('makes a sender of bytes wait until the peer takes them, and lets it go when the peer is gone', async (t) => {
    const path = socketPath(t);
    const accepted = Promise.withResolvers<Socket>();
    await listen(t, path, (socket) => accepted.resolve(socket.pause()));
    using channel = await connectChannel(path, { onMessage: () => undefined });
    const big = Buffer.alloc(PAYLOAD_MAX);
    let sent = false;
    const sending = channel.sendBytes('stdout', 1, big).then(() => (sent = true));
    await delay(50);
    assert.equal(sent, false);
    (await accepted.promise).resume();
    await soon(sending, 'the sender');
    (await accepted.promise).pause();
    const second = channel.sendBytes('stdout', 1, big);
    (await accepted.promise).destroy();
    await soon(second, 'the sender');
    await soon(channel.sendBytes('stdout', 1, big), 'a sender after the end');
    channel.send({ after: 'the end' });
    assert.ok(channel.closed);
  });

  test('is DAEMON_UNREACHABLE where nothing listens', async (t) => {
    const path = socketPath(t);
    await assert.rejects(connectChannel(path, { onMessage: () => undefined }), { code: 'DAEMON_UNREACHABLE', message: `nothing answers at ${path}` });
  });
});
