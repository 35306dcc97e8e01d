import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { suite, test } from 'node:test';
import { FilesClient } from '@caisson/files';
import { AGENT, all, contentOf, skip, startHelper, startPlace } from './given.ts';

suite('files of a workspace', { skip }, () => {
  test('what is written is there, whole, owned by the agent and with its mode', async () => {
    await using place = await startPlace();
    const info = await place.files.write('notes/today.txt', Buffer.from('hello'), { createParents: true });
    assert.equal(info.path, '/workspace/notes/today.txt');
    assert.equal(info.sizeBytes, 5);
    const seen = statSync(`${place.workspace}/notes/today.txt`);
    assert.deepEqual([seen.uid, seen.gid, seen.mode & 0o7777], [AGENT, AGENT, 0o644]);
    assert.equal(readFileSync(`${place.workspace}/notes/today.txt`, 'utf8'), 'hello');
    assert.equal(statSync(`${place.workspace}/notes`).uid, AGENT);
  });

  test('a replaced file keeps its mode, and no other name for the old content changes', async () => {
    await using place = await startPlace();
    await place.files.write('run.sh', Buffer.from('one'), { mode: 0o755 });
    execFileSync('ln', [`${place.workspace}/run.sh`, `${place.workspace}/old`]);
    const info = await place.files.write('run.sh', Buffer.from('two'));
    assert.equal(info.mode, 0o755);
    assert.equal((await contentOf(place.files, 'old')).toString(), 'one');
    assert.equal((await contentOf(place.files, 'run.sh')).toString(), 'two');
  });

  test('a part of a file is read', async () => {
    await using place = await startPlace();
    await place.files.write('digits', Buffer.from('0123456789'));
    assert.equal((await contentOf(place.files, 'digits', { offset: 3, length: 4 })).toString(), '3456');
    assert.equal((await contentOf(place.files, 'digits', { offset: 8, length: 100 })).toString(), '89');
    assert.equal((await contentOf(place.files, 'digits', { offset: 100 })).toString(), '');
  });

  test('large content passes unchanged in both directions, and an upload that is slow does not hold up other calls', async () => {
    await using place = await startPlace();
    const block = Buffer.alloc(1_000_003, 'caisson ');
    const hash = createHash('sha256');
    const pause = Promise.withResolvers<void>();
    async function* body(): AsyncGenerator<Buffer> {
      for (let count = 0; count < 20; count++) {
        if (count === 10) await pause.promise;
        hash.update(block);
        yield block;
      }
    }
    const writing = place.files.write('large', body());
    await place.files.mkdir('meanwhile');
    assert.deepEqual((await all(place.files.list('/workspace'))).map(({ path }) => path), ['/workspace/meanwhile']);
    pause.resolve();
    assert.equal((await writing).sizeBytes, 20 * block.length);
    const found = createHash('sha256').update(await contentOf(place.files, 'large')).digest('hex');
    assert.equal(found, hash.digest('hex'));
  });

  test('an upload that fails, and one whose client goes away, leave nothing', async () => {
    await using place = await startPlace();
    await place.files.write('kept', Buffer.from('before'));
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(700_000);
      throw new Error('the network is gone');
    }
    await assert.rejects(place.files.write('kept', broken()), /the network is gone/);
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) yield Buffer.alloc(300_000);
    }
    const writing = place.files.write('kept', endless());
    await new Promise((done) => setTimeout(done, 50));
    await place.files[Symbol.asyncDispose]();
    await assert.rejects(writing, { code: 'FILES_UNAVAILABLE' });
    await place.helper[Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(place.workspace), ['kept']);
    assert.equal(readFileSync(`${place.workspace}/kept`, 'utf8'), 'before');
  });

  test('what is added comes at the end', async () => {
    await using place = await startPlace();
    await place.files.append('log', Buffer.from('one\n'));
    assert.equal((await place.files.append('log', Buffer.from('two\n'))).sizeBytes, 8);
    assert.equal((await contentOf(place.files, 'log')).toString(), 'one\ntwo\n');
    await place.files.truncate('log', 4);
    assert.equal((await contentOf(place.files, 'log')).toString(), 'one\n');
  });

  test('a list names everything with its kind, and follows no link', async () => {
    await using place = await startPlace();
    await place.files.write('a/b/c', Buffer.from('x'), { createParents: true });
    await place.files.symlink('a/loop', '/workspace/a');
    execFileSync('mkfifo', [`${place.workspace}/pipe`]);
    const flat = await all(place.files.list('.'));
    assert.deepEqual(flat.map(({ path, type }) => `${path} ${type}`).sort(), ['/workspace/a directory', '/workspace/pipe fifo']);
    const deep = await all(place.files.list('/workspace', { recursive: true }));
    assert.deepEqual(deep.map(({ path }) => path).sort(), ['/workspace/a', '/workspace/a/b', '/workspace/a/b/c', '/workspace/a/loop', '/workspace/pipe']);
    assert.equal(deep.find(({ type }) => type === 'symlink')?.target, '/workspace/a');
    assert.equal((await all(place.files.list('a/loop'))).length, 2, 'a link that is named is followed');
    assert.equal((await all(place.files.list('.', { recursive: true, limit: 3 }))).length, 3);
  });

  test('names that are not UTF-8 and names with line breaks are listed, read and removed', async () => {
    await using place = await startPlace();
    const odd = Buffer.from([0xff, 0xfe, 0x0a, 0x2d]);
    writeFileSync(Buffer.concat([Buffer.from(`${place.workspace}/`), odd]), 'odd');
    const [info] = await all(place.files.list('.'));
    const path = Buffer.from(info?.pathBase64 ?? '', 'base64');
    assert.deepEqual(path, Buffer.concat([Buffer.from('/workspace/'), odd]));
    assert.equal((await contentOf(place.files, path)).toString(), 'odd');
    await place.files.remove(path);
    assert.deepEqual(readdirSync(place.workspace), []);
  });

  test('moving, making and removing do what they say', async () => {
    await using place = await startPlace();
    await place.files.mkdir('a/b/c', { parents: true });
    await place.files.mkdir('a/b/c', { parents: true });
    await place.files.mkdir('/workspace', { parents: true });
    await place.files.write('a/b/c/f', Buffer.from('x'));
    await place.files.move('a/b', 'new/place', { createParents: true });
    assert.equal((await place.files.stat('new/place/c/f')).type, 'file');
    await place.files.chmod('new/place/c/f', 0o600);
    assert.equal(lstatSync(`${place.workspace}/new/place/c/f`).mode & 0o7777, 0o600);
    await place.files.symlink('link', 'new');
    await place.files.remove('link', { recursive: true });
    await place.files.remove('new', { recursive: true });
    assert.deepEqual(readdirSync(place.workspace), ['a']);
  });

  test('a tree deeper than any path is removed', async () => {
    await using place = await startPlace();
    execFileSync('python3', ['-c', 'import os,sys\nos.chdir(sys.argv[1])\nfor i in range(3000):\n  os.mkdir("deep"); os.chdir("deep"); open("f","w").close()', place.workspace]);
    execFileSync('chown', ['-R', `${AGENT}:${AGENT}`, `${place.workspace}/deep`]);
    await place.files.remove('deep', { recursive: true });
    assert.deepEqual(readdirSync(place.workspace), []);
  });

  test('an absolute link means what it means inside, and a link that leads out leads nowhere and says so', async () => {
    await using place = await startPlace();
    await place.files.write('real', Buffer.from('inside'));
    symlinkSync('/workspace/real', `${place.workspace}/absolute`);
    symlinkSync('/etc/passwd', `${place.workspace}/out`);
    symlinkSync('../../../../../../etc/passwd', `${place.workspace}/up`);
    symlinkSync('/proc/self/root/etc/passwd', `${place.workspace}/magic`);
    symlinkSync('/', `${place.workspace}/top`);
    assert.equal((await contentOf(place.files, 'absolute')).toString(), 'inside');
    symlinkSync('out', `${place.workspace}/over`);
    for (const name of ['out', 'up', 'magic', 'over', 'top', 'top/etc/passwd']) {
      await assert.rejects(place.files.read(name), { code: 'FILE_OUTSIDE', message: `${name} leads outside /workspace` }, name);
      await assert.rejects(place.files.stat(name, { follow: true }), { code: 'FILE_OUTSIDE' }, name);
      await assert.rejects(all(place.files.list(name)), { code: 'FILE_OUTSIDE' }, name);
    }
    symlinkSync('../workspace/real', `${place.workspace}/back`);
    symlinkSync('/workspace/none', `${place.workspace}/dangling`);
    symlinkSync('round', `${place.workspace}/round`);
    assert.equal((await contentOf(place.files, 'back')).toString(), 'inside');
    assert.deepEqual([(await place.files.stat('back', { follow: true })).type, (await place.files.stat('back')).type], ['file', 'symlink']);
    for (const name of ['dangling', 'top/workspace/none', 'real/below', 'none']) await assert.rejects(place.files.read(name), { code: 'FILE_NOT_FOUND' }, name);
    await assert.rejects(place.files.read('round'), { code: 'FILE_NOT_REGULAR' });
    assert.equal((await contentOf(place.files, 'top/workspace/real')).toString(), 'inside');
    assert.equal(readlinkSync(`${place.workspace}/out`), '/etc/passwd');
  });

  test('what the host has mounted below the workspace is not in it', async () => {
    await using place = await startPlace();
    mkdirSync(`${place.workspace}/mnt`);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', `${place.workspace}/mnt`]);
    try {
      writeFileSync(`${place.workspace}/mnt/canary`, 'outside');
      await using helper = await startHelper(place.workspace);
      await using files = new FilesClient(helper.socket);
      assert.deepEqual(await all(files.list('mnt')), []);
    } finally {
      execFileSync('umount', ['-l', `${place.workspace}/mnt`]);
    }
  });
});
