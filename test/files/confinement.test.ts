import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { FilesClient } from '@caisson/files';
import { buildDir, compile, SANITIZERS } from '../lane/given.ts';
import { AGENT, all, contentOf, skip, startHelper, startPlace } from './given.ts';

const NATIVE = `${import.meta.dirname}/../../native/files`;

suite('the helper', { skip, timeout: 100_000 }, () => {
  test('is alone with the workspace: no right, no other file, no descriptor of its parent', async () => {
    await using place = await startPlace();
    await place.files.write('f', Buffer.from('x'));
    const proc = `/proc/${place.helper.process.pid}`;
    const status = readFileSync(`${proc}/status`, 'utf8');
    for (const line of [`Uid:\t${AGENT}\t${AGENT}\t${AGENT}\t${AGENT}`, `Gid:\t${AGENT}\t${AGENT}\t${AGENT}\t${AGENT}`, 'Groups:\t ', 'NoNewPrivs:\t1', 'Seccomp:\t2', ...['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((set) => `${set}:\t0000000000000000`)]) {
      assert.ok(status.includes(`${line}\n`), line);
    }
    assert.deepEqual(readdirSync(`${proc}/root`), ['workspace']);
    const mounts = readFileSync(`${proc}/mountinfo`, 'utf8').trim().split('\n').map((line) => line.split(' ')).toSorted(([, , , , a = ''], [, , , , b = '']) => a.length - b.length);
    assert.deepEqual(mounts.map(([, , , , at = '']) => at), ['/', '/workspace']);
    assert.match(mounts[0]?.[5] ?? '', /^ro,nosuid,nodev,noexec/);
    assert.match(mounts[1]?.[5] ?? '', /nosuid,nodev,noexec/);
    assert.match(readFileSync(`${proc}/limits`, 'utf8'), /Max core file size\s+0\s+0/);
    const descriptors = readdirSync(`${proc}/fd`).map((fd) => readlinkSync(`${proc}/fd/${fd}`));
    assert.deepEqual(descriptors.filter((target) => !target.startsWith('socket:')), ['/']);
    assert.equal(descriptors.length, 2);
  });

  test('ends with its socket and is refused for a user that is root', async () => {
    const place = await startPlace();
    const ended = once(place.helper.process, 'exit');
    place.helper.socket.destroy();
    assert.deepEqual(await ended, [0, null]);
    await place[Symbol.asyncDispose]();
    await using root = await startHelper('/tmp', { uid: 0 });
    assert.deepEqual(await once(root.process, 'exit'), [2, null]);
  });

  test('keeps a workspace that is mounted read-only as it is, and serves one on a file system of its own', async () => {
    await using place = await startPlace();
    const mount = (...args: string[]): void => void execFileSync('mount', args);
    mount('-t', 'tmpfs', '-o', `uid=${AGENT}`, 'tmpfs', place.workspace);
    try {
      execFileSync('sh', ['-c', 'echo kept >"$1/f"', 'sh', place.workspace]);
      mount('-o', 'remount,ro', place.workspace);
      await using helper = await startHelper(place.workspace);
      await using files = new FilesClient(helper.socket);
      assert.equal((await contentOf(files, 'f')).toString(), 'kept\n');
      await assert.rejects(files.write('f', Buffer.from('x')), { code: 'FILE_DENIED', message: /read-only/ });
    } finally {
      execFileSync('umount', ['-l', place.workspace]);
    }
  });

  test('serves the upper side of an overlay', async () => {
    await using place = await startPlace();
    execFileSync('sh', ['-c', 'cd "$1" && mkdir -p lower upper work && echo old >lower/f && echo gone >lower/g && chown -R "$2" lower upper work', 'sh', place.dir, String(AGENT)]);
    execFileSync('mount', ['-t', 'overlay', '-o', `lowerdir=${place.dir}/lower,upperdir=${place.dir}/upper,workdir=${place.dir}/work`, 'overlay', place.workspace]);
    try {
      await using helper = await startHelper(place.workspace);
      await using files = new FilesClient(helper.socket);
      await files.write('f', Buffer.from('new'), { expected: { version: (await files.stat('f')).version } });
      await files.remove('g');
      await files.write('h/i', Buffer.from('x'), { createParents: true });
      assert.deepEqual((await all(files.list('.', { recursive: true }))).map(({ path }) => path).toSorted(), ['/workspace/f', '/workspace/h', '/workspace/h/i']);
      assert.equal(readFileSync(`${place.dir}/lower/f`, 'utf8'), 'old\n');
      assert.equal(readFileSync(`${place.dir}/upper/f`, 'utf8'), 'new');
    } finally {
      execFileSync('umount', ['-l', place.workspace]);
    }
  });

  test('serves a frozen sandbox: nothing of it has to run', async () => {
    await using place = await startPlace();
    const agent = execFile('setpriv', ['--reuid', `${AGENT}`, '--regid', `${AGENT}`, '--clear-groups', 'sleep', '60'], { cwd: place.workspace });
    process.kill(agent.pid ?? 0, 'SIGSTOP');
    try {
      await place.files.write('f', Buffer.from('x'));
      assert.equal((await contentOf(place.files, 'f')).toString(), 'x');
    } finally {
      agent.kill('SIGKILL');
    }
  });

  test('ends at the first byte that is no frame, and does nothing that it says', async () => {
    const header = (length: number, type: number, id: number, zero = 0): Buffer => {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt32LE(length, 0);
      bytes.writeUInt8(type, 4);
      bytes.writeUInt8(zero, 5);
      bytes.writeUInt32LE(id, 8);
      return bytes;
    };
    const request = (type: number, path: string, other = ''): Buffer => {
      const body = Buffer.concat([Buffer.alloc(24), Buffer.from(`${path}\0${other}\0`)]);
      return Buffer.concat([header(body.length, type, 7), body]);
    };
    const hostile = [
      header(256 * 1024 + 1, 1, 1), header(0, 1, 0), header(0, 1, 1, 1), header(0, 99, 1), header(0, 16, 1), header(1, 27, 1),
      request(5, '/workspace/../made'), request(5, '/made'), request(5, 'made'), request(5, '/workspace//made'), request(6, '/workspace/f', '/etc/made'), request(5, '/workspace/./made'),
      Buffer.concat([request(12, '/workspace'), request(12, '/workspace')]), Buffer.concat([request(12, '/workspace'), header(4, 26, 7), Buffer.from([1, 0, 0, 0])]),
    ];
    for (const bytes of hostile) {
      await using place = await startPlace();
      const ended = once(place.helper.process, 'exit');
      place.helper.socket.write(bytes);
      place.helper.socket.write(Buffer.alloc(2));
      assert.deepEqual(await ended, [71, null], bytes.toString('hex'));
      assert.deepEqual(readdirSync(place.workspace), []);
    }
  });

  test('its parsers hold their promises for a million inputs under the sanitizers', async () => {
    using build = buildDir();
    const fuzz = await compile(`${build.path}/fuzz`, ['fuzz/frame_fuzz.c', 'frame.c', 'glob.c'].map((name) => `${NATIVE}/${name}`), SANITIZERS);
    const { stdout } = await promisify(execFile)(fuzz, ['1000000', '20261123'], { timeout: 90_000 });
    assert.match(stdout, /^1000000 inputs, [1-9]\d{4,5} of them valid\n$/);
  });
});

test('FRAME_INVALID: whatever a helper sends, every call ends, and with a code', { timeout: 60_000 }, async () => {
  const types = fc.oneof(fc.integer({ min: 32, max: 41 }), fc.nat(255));
  const frame = fc.tuple(types, fc.integer({ min: 0, max: 4 }), fc.uint8Array({ maxLength: 80 }), fc.integer({ min: 0, max: 9 })).map(([type, id, payload, lie]) => {
    const bytes = Buffer.alloc(12 + payload.length);
    bytes.writeUInt32LE(lie === 9 ? 0xff_ffff : payload.length, 0);
    bytes.writeUInt8(type, 4);
    bytes.writeUInt32LE(id, 8);
    bytes.set(payload, 12);
    return bytes;
  });
  await fc.assert(fc.asyncProperty(fc.array(frame, { maxLength: 12 }), async (frames) => {
    const socket = new Duplex({ read() { /* pushed below */ }, write: (_chunk, _encoding, done) => done() });
    await using files = new FilesClient(socket);
    const drain = async (items: AsyncIterable<unknown>): Promise<void> => { for await (const item of items) void item; };
    const calls = [files.stat('a'), drain(files.list('b')), files.read('c').then(({ body }) => drain(body)), drain(files.search('d', { name: 'x' }))];
    const settled = Promise.allSettled(calls);
    for (const bytes of frames) socket.push(bytes);
    socket.push(null);
    for (const outcome of await settled) {
      if (outcome.status === 'rejected') assert.match(String((outcome.reason as { readonly code?: string }).code), /^[A-Z]+_[A-Z_]+$|^CANCELLED$|^INTERNAL$/, String(outcome.reason));
    }
  }), { numRuns: 1500, seed: 7 });
});
