import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { asAgent, freshId, opened, AGENT, SKIP, SMALL, type Opened } from './given.ts';

/** A tar archive as Python makes it; `script` adds members to `t`. */
function archive(script: string): Buffer {
  const program = `import io,sys,tarfile
def add(name, type=tarfile.REGTYPE, data=b'', link='', mode=0o644):
  m = tarfile.TarInfo(name); m.type = type; m.size = len(data); m.linkname = link; m.mode = mode
  t.addfile(m, io.BytesIO(data))
t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.PAX_FORMAT)
${script}
t.close()`;
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { maxBuffer: 256 * 1024 ** 2 });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}

/** What an agent sees of an archive that was taken in: the output of a script in a fork of its layer. */
async function taken({ store }: Opened, tar: Buffer, script: string): Promise<string> {
  const [layer, id] = [freshId('lay'), freshId('wsp')];
  await store.import(Readable.from([tar]), { layer, ...SMALL });
  await store.fork(layer, { id });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  const { stdout } = asAgent(attached.path, script);
  await attached.detach();
  return stdout;
}

test('an exported workspace is the same when it is imported, and the same archive when it is exported again', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  asAgent(attached.path, 'mkdir -p a/b; echo one >a/b/f; ln a/b/f hard; ln -s a link; chmod 000 a/b/f; echo x >"$(printf "bad\\377\\n")"; truncate -s 10G sparse; touch -d 2020-01-01 a');
  const first = await buffer(await store.export(id));
  assert.ok(first.length < 1024 ** 2, 'holes are not written out');
  const layer = freshId('lay');
  await store.import(Readable.from([first]), { layer, ...SMALL });
  assert.deepEqual((await store.diff(id, layer)).changes, []);
  assert.deepEqual(await buffer(await store.export(layer)), first);
  await attached.detach();
});

test('an archive cannot write outside: not by .., absolute names, or links in any order', SKIP, async () => {
  await using given = await opened();
  const outside = `${given.options.mounts}/../outside`;
  const tar = archive(`
add('../../outside', data=b'1'); add('/tmp/caisson-outside', data=b'1'); add('${outside}', data=b'1')
add('out', tarfile.SYMTYPE, link='${given.options.mounts}/..'); add('out/outside', data=b'1')
add('up', tarfile.SYMTYPE, link='../../..'); add('up/tmp/caisson-outside', data=b'1')
add('self', tarfile.SYMTYPE, link='/proc/self/root'); add('self/tmp/caisson-outside', data=b'1')
add('fine', data=b'fine\\n')`);
  await taken(given, tar, 'cat fine').then((seen) => assert.equal(seen, 'fine\n'), (error: { code?: string }) => assert.equal(error.code, 'WORKSPACE_IMPORT_FAILED'));
  assert.equal(existsSync(outside), false);
  assert.equal(existsSync('/tmp/caisson-outside'), false);
});

test('an archive cannot read outside: a hard link to a file of the host is refused', SKIP, async () => {
  await using given = await opened();
  writeFileSync(`${given.options.mounts}/canary`, 'canary\n', { mode: 0o644 });
  const tar = archive(`add('a', tarfile.SYMTYPE, link='${given.options.mounts}'); add('got', tarfile.LNKTYPE, link='a/canary'); add('got2', tarfile.LNKTYPE, link='/etc/passwd')`);
  await taken(given, tar, 'cat got got2').then((seen) => assert.equal(seen, ''), (error: { code?: string }) => assert.equal(error.code, 'WORKSPACE_IMPORT_FAILED'));
});

test('an archive makes no device, and what sets a uid in it is the agent’s own', SKIP, async () => {
  await using given = await opened();
  const device = archive(`m = tarfile.TarInfo('null'); m.type = tarfile.CHRTYPE; m.devmajor = 1; m.devminor = 3; t.addfile(m)`);
  await assert.rejects(taken(given, device, 'ls'), { code: 'WORKSPACE_IMPORT_FAILED' });
  const setuid = archive(`add('root', mode=0o6755, data=b'x'); m = tarfile.TarInfo('owned'); m.uid = 0; m.gid = 0; t.addfile(m)`);
  assert.equal(await taken(given, setuid, 'stat -c "%u %g" root owned'), `${AGENT} ${AGENT}\n${AGENT} ${AGENT}\n`);
});

test('WORKSPACE_IMPORT_FAILED: an archive that holds more than fits, is cut short or is none leaves nothing', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const large = archive(`add('bomb', data=b'\\\\0' * (64 << 20))`);
  const many = archive(`for i in range(5000): add('f%d' % i)`);
  const short = archive(`add('half', data=b'x' * 100000)`).subarray(0, 50_000);
  for (const tar of [large, many, short, Buffer.from('no archive at all'.repeat(100))]) {
    await assert.rejects(store.import(Readable.from([tar]), { layer: freshId('lay'), ...SMALL }), { code: 'WORKSPACE_IMPORT_FAILED' });
  }
  assert.deepEqual(store.layers(), []);
  assert.deepEqual((await store.collect()).removed, []);
});

test('an export that its reader gives up leaves nothing', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  asAgent(attached.path, 'dd if=/dev/urandom of=big bs=1M count=16 status=none');
  const stream = await store.export(id);
  stream.once('data', () => stream.destroy());
  await new Promise((done) => stream.once('close', done));
  await attached.detach();
  await store[Symbol.asyncDispose]();
});
