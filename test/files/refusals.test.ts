import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { all, contentOf, skip, startHelper, startPlace } from './given.ts';
import { FilesClient } from '@caisson/files';

suite('what the files of a workspace refuse', { skip }, () => {
  test('FILE_NOT_FOUND: nothing has that name, or a file stands where a directory is named', async () => {
    await using place = await startPlace();
    await place.files.write('file', Buffer.from('x'));
    await assert.rejects(place.files.stat('none'), { code: 'FILE_NOT_FOUND', message: /\/workspace\/none/ });
    await assert.rejects(place.files.stat('file/below'), { code: 'FILE_NOT_FOUND' });
    await assert.rejects(place.files.write('no/folder', Buffer.from('x')), { code: 'FILE_NOT_FOUND' });
  });

  test('FILE_EXISTS: exclusive writes, moves that replace nothing and directories that are not empty', async () => {
    await using place = await startPlace();
    await place.files.write('a/one', Buffer.from('1'), { createParents: true });
    await place.files.write('two', Buffer.from('2'));
    await assert.rejects(place.files.write('two', Buffer.from('x'), { exclusive: true }), { code: 'FILE_EXISTS' });
    await assert.rejects(place.files.move('a/one', 'two', { noReplace: true }), { code: 'FILE_EXISTS' });
    await assert.rejects(place.files.mkdir('a'), { code: 'FILE_EXISTS' });
    await assert.rejects(place.files.mkdir('two', { parents: true }), { code: 'FILE_EXISTS' });
    await assert.rejects(place.files.remove('a'), { code: 'FILE_EXISTS', message: /not empty/ });
    assert.equal((await contentOf(place.files, 'two')).toString(), '2');
  });

  test('FILE_EXISTS: a move that finds something there names what it found, and one whose source or folder is missing names that', async () => {
    await using place = await startPlace();
    const { files } = place;
    for (const name of ['a', 'b', 'd/full/x']) await files.write(name, Buffer.from(name), { createParents: true });
    await files.mkdir('e');
    for (const [from, to, code, named] of [
      ['a', 'b', 'FILE_EXISTS', 'b'], ['a', 'd', 'FILE_EXISTS', 'd'], ['none', 'c', 'FILE_NOT_FOUND', 'none'], ['a', 'none/c', 'FILE_NOT_FOUND', 'none/c'],
      ['none/a', 'none/c', 'FILE_NOT_FOUND', 'none/a'], ['a', 'b/c', 'FILE_NOT_FOUND', 'b/c'],
    ] as const) {
      await assert.rejects(files.move(from, to, { noReplace: true }), { code, message: new RegExp(`^/workspace/${named}:`) }, `${from} to ${to}`);
    }
    for (const [from, to, code] of [['a', 'd', 'FILE_NOT_REGULAR'], ['e', 'd/full', 'FILE_EXISTS'], ['e', 'b', 'FILE_EXISTS']] as const) {
      await assert.rejects(files.move(from, to), { code, message: new RegExp(`^/workspace/${to}:`) }, `${from} over ${to}`);
    }
  });

  test('FILE_NOT_REGULAR: a FIFO, a socket and a directory are never opened, and a link is never written through', async () => {
    await using place = await startPlace();
    execFileSync('mkfifo', [`${place.workspace}/pipe`]);
    execFileSync('python3', ['-c', 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])', `${place.workspace}/socket`]);
    execFileSync('mknod', [`${place.workspace}/null`, 'c', '1', '3']);
    await place.files.mkdir('folder');
    await place.files.symlink('link', 'target');
    for (const name of ['pipe', 'socket', 'null', 'folder']) {
      await assert.rejects(place.files.read(name), { code: 'FILE_NOT_REGULAR' }, name);
      await assert.rejects(place.files.write(name, Buffer.from('x')), { code: 'FILE_NOT_REGULAR' }, name);
      await assert.rejects(place.files.append(name, Buffer.from('x')), { code: 'FILE_NOT_REGULAR' }, name);
      await assert.rejects(place.files.truncate(name, 0), { code: 'FILE_NOT_REGULAR' }, name);
    }
    for (const attempt of [place.files.write('link', Buffer.from('x')), place.files.append('link', Buffer.from('x')), place.files.chmod('link', 0o777)]) {
      await assert.rejects(attempt, { code: 'FILE_NOT_REGULAR', message: /symbolic link/ });
    }
    assert.ok(!readdirSync(place.workspace).includes('target'));
  });

  test('FILE_OUTSIDE: absolute paths elsewhere and .. that leads above', async () => {
    await using place = await startPlace();
    for (const path of ['/etc/passwd', '..', '../etc/passwd', '/workspace/../etc', '/workspacelike', '/', 'a/../../b', '/proc/self/root']) {
      await assert.rejects(place.files.stat(path), { code: 'FILE_OUTSIDE', hint: /exec/ }, path);
    }
    assert.equal((await place.files.stat('a/../.')).type, 'directory');
  });

  test('FILE_DENIED: the agent\'s own permissions hold, and the workspace itself stays', async () => {
    await using place = await startPlace();
    writeFileSync(`${place.workspace}/secret`, 'of root', { mode: 0o600 });
    await assert.rejects(place.files.read('secret'), { code: 'FILE_DENIED' });
    await assert.rejects(place.files.append('secret', Buffer.from('x')), { code: 'FILE_DENIED' });
    await assert.rejects(place.files.remove('/workspace', { recursive: true }), { code: 'FILE_DENIED' });
    await assert.rejects(place.files.chmod('/workspace', 0o777), { code: 'FILE_DENIED' });
    assert.deepEqual(readdirSync(place.workspace), ['secret']);
  });

  test('FILE_NO_SPACE: a write that does not fit leaves the old file', async () => {
    await using place = await startPlace();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,uid=2000123', 'tmpfs', place.workspace]);
    try {
      await using helper = await startHelper(place.workspace);
      await using files = new FilesClient(helper.socket);
      await files.write('kept', Buffer.from('old'));
      await assert.rejects(files.write('kept', Buffer.alloc(3_000_000)), { code: 'FILE_NO_SPACE' });
      assert.equal((await contentOf(files, 'kept')).toString(), 'old');
      assert.deepEqual((await all(files.list('.'))).map(({ path }) => path), ['/workspace/kept']);
    } finally {
      execFileSync('umount', ['-l', place.workspace]);
    }
  });

  test('FILE_CHANGED: a write on top of what somebody else has written meanwhile changes nothing', async () => {
    await using place = await startPlace();
    const { version } = await place.files.write('f', Buffer.from('one'));
    const sha256 = '7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed';
    for (const expected of [{ version }, { sha256 }]) await place.files.write('f', Buffer.from('one'), { expected });
    for (const expected of [{ version }, { version: '' }, { sha256: '00' }]) {
      await assert.rejects(place.files.write('f', Buffer.from('two'), { expected }), { code: 'FILE_CHANGED' });
    }
    await assert.rejects(place.files.write('gone', Buffer.from('two'), { expected: { version } }), { code: 'FILE_CHANGED' });
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.from('mine');
      writeFileSync(`${place.workspace}/f`, 'two');
    }
    await assert.rejects(place.files.write('f', slow(), { expected: { sha256 } }), { code: 'FILE_CHANGED' });
    assert.equal((await contentOf(place.files, 'f')).toString(), 'two');
  });

  test('FILE_CHANGED: a change that keeps the size and puts the times back is a change', async () => {
    await using place = await startPlace();
    await place.files.write('f', Buffer.from('one'));
    const { version } = await place.files.stat('f');
    const { atime, mtime } = statSync(`${place.workspace}/f`);
    await delay(50); // the clock that the kernel stamps files with has moved on
    writeFileSync(`${place.workspace}/f`, 'two');
    utimesSync(`${place.workspace}/f`, atime, mtime);
    await assert.rejects(place.files.write('f', Buffer.from('new'), { expected: { version } }), { code: 'FILE_CHANGED' });
    assert.equal((await contentOf(place.files, 'f')).toString(), 'two');
  });

  test('FILE_CHANGED: a file that becomes shorter while it is read does not pass for whole', async () => {
    await using place = await startPlace();
    await place.files.write('f', Buffer.alloc(8_000_000, 'x'));
    const { body } = await place.files.read('f');
    writeFileSync(`${place.workspace}/f`, 'short');
    await assert.rejects(async () => { for await (const chunk of body) void chunk; }, { code: 'FILE_CHANGED' });
  });

  test('FILE_TOO_LARGE: a tree that is deeper than can be named is not listed in part', async () => {
    await using place = await startPlace();
    await place.files.mkdir(Array.from({ length: 120 }, () => 'd').join('/'), { parents: true });
    await assert.rejects(all(place.files.list('.', { recursive: true })), { code: 'FILE_TOO_LARGE' });
    assert.equal((await place.files.stat(Array.from({ length: 120 }, () => 'd').join('/'))).type, 'directory');
  });

  test('FILES_UNAVAILABLE: a helper that cannot be confined serves nothing, and one that is gone says so', async () => {
    await using helper = await startHelper('/nonexistent/folder');
    await using files = new FilesClient(helper.socket);
    await assert.rejects(files.stat('.'), { code: 'FILES_UNAVAILABLE', message: /the workspace: ENOENT/ });
    await assert.rejects(files.stat('.'), { code: 'FILES_UNAVAILABLE' });
  });

  test('REQUEST_INVALID: paths and modes that no file can have', async () => {
    await using place = await startPlace();
    for (const path of ['a\0b', 'x'.repeat(256), `${'x/'.repeat(3000)}x`, '\ud800']) await assert.rejects(place.files.stat(path), { code: 'REQUEST_INVALID' });
    for (const mode of [0o4755, 0o2755, -1, 1.5, 0o10000]) await assert.rejects(place.files.write('f', Buffer.from(''), { mode }), { code: 'REQUEST_INVALID' });
    await assert.rejects(place.files.read('f', { offset: -1 }), { code: 'REQUEST_INVALID', message: /offset/ });
  });
});
