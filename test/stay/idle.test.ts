import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sandbox } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { ground } from './given.ts';

const { sandbox } = ground();
const skip = IS_ROOT ? false : NEEDS_ROOT;

/** Longer than a machine that does something else as well takes between two steps of a test. */
const IDLE_MS = 4_000;
/** As long as several idle times. */
const LONG_MS = 10_000;
const WAS_IDLE = new RegExp(`idle for ${IDLE_MS} ms`);

async function closedBecause(box: Sandbox): Promise<string> {
  for (const until = Date.now() + 20_000; Date.now() < until; await delay(50)) {
    const { state, reason } = await box.info();
    if (state === 'closed') return reason;
  }
  throw new Error('it is not closed');
}

/** Chunks over a time, of which none is longer than an idle time. */
async function* slowly(): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < LONG_MS; sent += 200) {
    yield Buffer.alloc(1_000, 'x');
    await delay(200);
  }
}

test('a connection to a port is use for as long as it is open, and idle time begins when it ends', { skip }, async () => {
  const box = await sandbox({ idleMs: IDLE_MS });
  const server = 'import os, socket\ns = socket.socket(); s.bind(("127.0.0.1", 8080)); s.listen(1)\nif os.fork(): os._exit(0)\nos.setsid(); os.close(1); os.close(2)\nc, _ = s.accept()\nwhile (b := c.recv(100)): c.sendall(b)';
  assert.equal((await box.exec(['python3', '-c', server])).exit, 0); // the server stays, and no exec does
  const socket = await box.ports.connect(8080);
  const heard: string[] = [];
  socket.on('data', (chunk: Buffer) => heard.push(chunk.toString()));
  for (let round = 0; round < LONG_MS / 200; round++) {
    socket.write('x');
    await delay(200);
  }
  for (const until = Date.now() + 10_000; heard.join('').length < LONG_MS / 200 && Date.now() < until; ) await delay(20); // the last is on its way
  assert.equal(heard.join(''), 'x'.repeat(LONG_MS / 200));
  socket.destroy();
  assert.match(await closedBecause(box), WAS_IDLE);
});

test('a transfer is use for as long as it takes, in both directions', { skip }, async () => {
  await using box = await sandbox({ idleMs: IDLE_MS });
  const { sizeBytes } = await box.files.write('slow', Readable.from(slowly()));
  assert.equal(sizeBytes, (LONG_MS / 200) * 1_000);
  await box.files.write('big', Buffer.alloc(20_000_000, 'y'));
  let read = 0;
  for await (const chunk of await box.files.readStream('big')) {
    const { byteLength } = chunk as Uint8Array;
    read += byteLength;
    if (read < 12_000_000) await delay((LONG_MS * byteLength) / 12_000_000); // what is left is more than lies between here and the sandbox
  }
  assert.equal(read, 20_000_000);
});

test('a watch is use, and a sandbox that nobody watches any more is closed', { skip }, async () => {
  const box = await sandbox({ idleMs: IDLE_MS });
  const stop = new AbortController();
  const seen = (async () => {
    for await (const { path } of box.files.watch('/workspace', { signal: stop.signal })) if (path.endsWith('late')) return path;
    return null;
  })();
  await delay(LONG_MS);
  await box.files.write('late', 'x');
  assert.match((await seen) ?? '', /late$/);
  stop.abort();
  assert.match(await closedBecause(box), WAS_IDLE);
});
