import assert from 'node:assert/strict';
import { mkdirSync, statSync, writeFileSync, existsSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { listenUnix } from '@caisson/wire';
import { socketPath, soon } from './given.ts';

const ROOT = process.getuid?.() === 0;

suite('a listener on a Unix socket', () => {
  test('makes a file that only its owner may connect to', async (t) => {
    const path = socketPath(t);
    const before = process.umask(0);
    try {
      await using _ = await listenUnix(path, {}, () => undefined);
      assert.equal(statSync(path).mode & 0o7777, 0o600);
      assert.equal(statSync(path).uid, process.getuid?.());
    } finally {
      process.umask(before);
    }
  });

  test('leaves the umask of the process as it was, also when many open at once', async (t) => {
    const before = process.umask();
    const paths = Array.from({ length: 5 }, () => socketPath(t));
    const opening = paths.map((path) => listenUnix(path, {}, () => undefined));
    t.after(async () => Promise.all((await Promise.all(opening)).map((listening) => listening[Symbol.asyncDispose]())));
    assert.equal(process.umask(), before, 'files made while it opens keep their modes');
    await Promise.all(opening);
    assert.equal(process.umask(), before);
    for (const path of paths) assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  test('gives the file to one peer, or to one group', async (t) => {
    if (!ROOT) return t.skip('needs root to give a file away');
    const path = socketPath(t);
    {
      await using _ = await listenUnix(path, { owner: 1234 }, () => undefined);
      assert.deepEqual([statSync(path).uid, statSync(path).mode & 0o777], [1234, 0o600]);
    }
    await using _ = await listenUnix(path, { group: 4321 }, () => undefined);
    assert.deepEqual([statSync(path).gid, statSync(path).mode & 0o777], [4321, 0o660]);
  });

  test('replaces a socket file that a dead process left', async (t) => {
    const path = socketPath(t);
    writeFileSync(path, 'left over');
    await using listening = await listenUnix(path, {}, () => undefined);
    const socket = connect(path);
    await once(socket, 'connect');
    socket.destroy();
    assert.ok(listening.connections.size <= 1);
  });

  test('fails where it cannot be, and leaves the umask as it was', async (t) => {
    const path = socketPath(t);
    const before = process.umask();
    await assert.rejects(listenUnix(`${dirname(path)}/no/such/folder/a.sock`, {}, () => undefined));
    mkdirSync(path);
    await assert.rejects(listenUnix(path, {}, () => undefined));
    assert.equal(process.umask(), before);
  });

  test('ends its connections and removes its file when it is disposed of', async (t) => {
    const path = socketPath(t);
    const listening = await listenUnix(path, {}, () => undefined);
    const socket = connect(path);
    await once(socket, 'connect');
    socket.resume();
    const closed = once(socket, 'close');
    await soon(Promise.resolve(listening[Symbol.asyncDispose]()), 'the end');
    await soon(closed, 'the connection');
    assert.equal(existsSync(path), false);
  });
});
