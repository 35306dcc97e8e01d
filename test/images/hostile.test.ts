import assert from 'node:assert/strict';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { ImageInfo } from '@caisson/images';
import { IS_ROOT, LAYER, openBench, pax, plain, sha256, tar, tarMember, writeLayout, zipped, type Bench, type LayoutSpec, type Member } from './given.ts';

let bench: Bench;
before(async () => {
  bench = await openBench({ maximum: { bytes: 64 * 2 ** 20, entries: 5_000 } });
});
after(() => bench[Symbol.asyncDispose]());

const one = (...members: (Member | Buffer)[]): LayoutSpec => ({ layers: [plain(members)] });
const two = (low: readonly Member[], high: readonly Member[]): LayoutSpec => ({ layers: [plain(low), plain(high)] });

/** Every path of an unpacked image, with what it is. */
function listed(root: string, below = ''): string[] {
  return readdirSync(`${root}${below}`).flatMap((name) => {
    const path = `${below}/${name}`;
    const stat = lstatSync(`${root}${path}`);
    if (stat.isSymbolicLink()) return [`${path} -> ${readlinkSync(`${root}${path}`)}`];
    return stat.isDirectory() ? [path, ...listed(root, path)] : [`${path} ${stat.isFile() ? 'file' : 'other'}`];
  });
}
const files = (info: ImageInfo): string[] => listed(bench.store.rootfs(info.digest)).toSorted();

async function refused(work: Promise<ImageInfo>, code: string, words: RegExp): Promise<void> {
  const held = bench.store.list();
  await assert.rejects(work, (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.stack);
    assert.match(error.message, words);
    return true;
  });
  assert.deepEqual(bench.store.list(), held);
  assert.deepEqual(readdirSync(`${bench.dir}/images`).filter((name) => name.startsWith('new-')), [], 'nothing of it is left');
}

const REFUSED: readonly (readonly [string, LayoutSpec, RegExp])[] = [
  ['a path that goes up', one({ name: '../../etc/cron.d/x', body: 'x' }), /goes up/],
  ['a path that goes up in its middle', one({ name: 'a/../../../x', body: 'x' }), /goes up/],
  ['a hard link to a file of the host', one({ name: 'x', type: '1', target: '/etc/passwd' }), /hard link to \/etc\/passwd, which is not there/],
  ['a hard link that goes up', one({ name: 'x', type: '1', target: '../../../etc/passwd' }), /goes up/],
  ['a hard link through a symbolic link to the host', one({ name: 'l', type: '2', target: '/etc' }, { name: 'x', type: '1', target: 'l/passwd' }), /not there/],
  ['a hard link to a folder', one({ name: 'd/' }, { name: 'x', type: '1', target: 'd' }), /which is a folder/],
  ['a device of characters', one({ name: 'kmem', type: '3' }), /kmem is a device/],
  ['a device of blocks', one({ name: 'opt/sda', type: '4' }), /is a device/],
  ['a FIFO', one({ name: 'run/initctl', type: '6' }), /is a fifo/],
  ['a device in a folder that only begins like /dev', one({ name: 'devil/x', type: '3' }), /is a device/],
  ['a whiteout of the folder above', two([{ name: 'a/b', body: 'x' }], [{ name: 'a/.wh...' }]), /whiteout of nothing/],
  ['a whiteout of the folder itself', two([{ name: 'a/b', body: 'x' }], [{ name: 'a/.wh..' }]), /whiteout of nothing/],
  ['a whiteout of nothing', two([{ name: 'a/b', body: 'x' }], [{ name: 'a/.wh.' }]), /whiteout of nothing/],
  ['a whiteout whose path goes up', two([{ name: 'a', body: 'x' }], [{ name: '../.wh.images' }]), /goes up/],
  ['a whiteout with a file below it', two([{ name: 'a', body: 'x' }], [{ name: '.wh.a/b', body: 'x' }]), /something below it/],
  ['symbolic links in a circle', one({ name: 'a', type: '2', target: 'b' }, { name: 'b', type: '2', target: 'a' }, { name: 'a/x', body: 'x' }), /circle/],
  ['a file with something below it', one({ name: 'a', body: 'x' }, { name: 'a/b', body: 'x' }), /something lies below/],
  ['a symbolic link to nothing', one({ name: 'a', type: '2', target: '' }), /symbolic link to 0 bytes/],
  ['a name of 256 bytes', one(pax({ path: 'n'.repeat(256) }), { name: 'x' }), /more than 255/],
  ['a path of 4000 bytes', one(pax({ path: 'n/'.repeat(2_000) }), { name: 'x' }), /path of 4000 bytes/],
  ['a path of a megabyte', one(pax({ path: 'n/'.repeat(500_000) }), { name: 'x' }), /more than 4096|extended header/],
  ['an extended header of gigabytes', one(tarMember({ name: 'x', type: 'x', size: 2 ** 32 })), /extended header of/],
  ['a name with a NUL byte', one(pax({ path: 'a\0b' }), { name: 'x' }), /NUL/],
  ['a global header that renames everything', one(pax({ path: 'a' }, 'g'), { name: 'x' }), /global header/],
  ['a sparse file', one(pax({ 'GNU.sparse.major': '1' }), { name: 'x' }), /sparse/],
  ['an entry of an unknown kind', one({ name: 'x', type: 'Z' }), /kind "Z"/],
  ['an archive that is cut off', { layers: [{ tar: tar([{ name: 'x', body: 'y'.repeat(2_000) }]).subarray(0, 1_200) }] }, /cut off/],
  ['a size that is a lie', one(tarMember({ name: 'x', size: 2 ** 32 })), /cut off/],
  ['a checksum that is wrong', { layers: [{ tar: Buffer.alloc(1_024, 'x') }] }, /checksum/],
  ['a malformed pax header', one(tarMember({ name: 'p', type: 'x', body: '9999 path=x\n' })), /pax/],
  ['an /etc that is a symbolic link', one({ name: 'etc', type: '2', target: '/home' }), /\/etc is not a folder/],
  ['accounts without end', one({ name: 'etc/passwd', body: 'x'.repeat(2 ** 20 + 1) }), /etc\/passwd has/],
  ['a layer of an unknown kind', { layers: [{ ...plain([]), mediaType: 'application/x-rar' }] }, /layer of kind application\/x-rar/],
  ['a layer whose kind is a property of every object', { layers: [{ ...plain([]), mediaType: 'constructor' }] }, /layer of kind constructor/],
  ['a layer that is no gzip', { layers: [{ ...plain([]), mediaType: `${LAYER}+gzip` }] }, /cannot be decompressed/],
  ['129 layers', { layers: Array.from({ length: 129 }, () => plain([])) }, /layers/],
  ['no layers', { layers: [] }, /layers/],
  ['more layers than the config knows', { ...one(), configOf: (config) => ({ ...config, rootfs: { type: 'layers', diff_ids: [sha256(tar([])), sha256(tar([]))] } }) }, /1 layers and 2/],
  ['a layer that the config does not know', { ...one(), configOf: (config) => ({ ...config, rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] } }) }, /not the one that the config names/],
  ['a layer of another size than stated', { ...one(), manifest: (manifest) => ({ ...manifest, layers: (manifest['layers'] as object[]).map((layer) => ({ ...layer, size: 5 })) }) }, /not a file of the 5 bytes/],
  ['a config of another size than stated', { ...one(), manifest: (manifest) => ({ ...manifest, config: { ...(manifest['config'] as object), size: 7 } }) }, /should have 7/],
  ['a digest that is a path', { ...one(), manifest: (manifest) => ({ ...manifest, config: { ...(manifest['config'] as object), digest: 'sha256:../../../../etc/passwd' } }) }, /digest/],
  ['an environment of 300 names', { ...one(), config: { Env: Array.from({ length: 300 }, (_, index) => `N${index}=x`) } }, /Env/],
  ['an environment of 100 000 characters', { ...one(), config: { Env: [`A=${'x'.repeat(50_000)}`, `B=${'x'.repeat(50_000)}`] } }, /environment/],
  ['a variable without a name', { ...one(), config: { Env: ['=x'] } }, /Env/],
  ['a variable with a NUL byte', { ...one(), config: { Env: ['A=\0'] } }, /Env/],
  ['labels of 2 MiB', { ...one(), config: { Labels: Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`l${index}`, 'x'.repeat(50_000)])) } }, /labels of more/],
  ['labels that are no text', { ...one(), config: { Labels: { a: 1 } } }, /Labels/],
  ['a config that is a list', { ...one(), configOf: () => [] }, /config/],
];

for (const [what, spec, words] of REFUSED) {
  test(`IMAGE_INVALID: an image with ${what} is refused and leaves nothing`, () => refused(bench.layout(spec), 'IMAGE_INVALID', words));
}

test('IMAGE_INVALID: a blob that was changed after it was named is refused, whichever it is', async () => {
  for (const index of [0, 1, 2]) {
    const path = mkdtempSync(`${bench.dir}/changed-`);
    writeLayout(path, one({ name: 'x', body: 'original' }));
    const blob = readdirSync(`${path}/blobs/sha256`).toSorted()[index];
    const bytes = readFileSync(`${path}/blobs/sha256/${blob}`);
    bytes.writeUInt8((bytes[bytes.length - 1] ?? 0) ^ 1, bytes.length - 1);
    writeFileSync(`${path}/blobs/sha256/${blob}`, bytes);
    await refused(bench.store.import({ kind: 'layout', path }, { onProgress: () => undefined, signal: AbortSignal.timeout(30_000) }), 'IMAGE_INVALID', /another digest/);
  }
});

test('IMAGE_TOO_LARGE: a gzip bomb ends at the limit and not at the end of memory or disk', async () => {
  const bomb = tar([{ name: 'x', body: Buffer.alloc(200 * 2 ** 20) }]);
  const stored = gzipSync(bomb, { level: 9 });
  assert.ok(stored.length < 300_000);
  await refused(bench.layout({ layers: [{ tar: bomb, stored, mediaType: `${LAYER}+gzip` }] }), 'IMAGE_TOO_LARGE', /more than 67108864 bytes/);
  await refused(bench.layout({ layers: [{ tar: bomb, stored: zstdCompressSync(bomb), mediaType: `${LAYER}+zstd` }] }), 'IMAGE_TOO_LARGE', /more than 67108864 bytes/);
});

test('IMAGE_TOO_LARGE: layers that are small one by one are counted together', async () => {
  const part = plain([{ name: 'x', body: Buffer.alloc(30 * 2 ** 20) }]);
  await refused(bench.layout({ layers: [part, part, part] }), 'IMAGE_TOO_LARGE', /more than/);
});

test('IMAGE_TOO_LARGE: an image of more entries than the limit is refused', async () => {
  await refused(bench.layout(one(...Array.from({ length: 5_001 }, (_, index): Member => ({ name: `f${index}` })))), 'IMAGE_TOO_LARGE', /entries/);
});

test('IMAGE_TOO_LARGE: folders that an archive only implies are counted as entries', async () => {
  const deep = (top: string): Buffer => pax({ path: `${top}/${'n/'.repeat(1_498)}x` });
  const six = one(...Array.from({ length: 6 }, (_, index) => [deep(`${index}`), { name: 'x' }]).flat());
  await refused(bench.layout(six), 'IMAGE_TOO_LARGE', /more than 5000 entries/);
  // A link makes all of its target where something lies below it.
  const linked = Array.from({ length: 6 }, (_, index): Member[] => [{ name: `l${index}`, type: '2' }, { name: `l${index}/x` }]);
  const links = one(...linked.flatMap(([link = { name: '' }, below = { name: '' }], index) => [pax({ linkpath: `${index}/${'n/'.repeat(1_498)}n` }), link, below]));
  await refused(bench.layout(links), 'IMAGE_TOO_LARGE', /more than 5000 entries/);
  const three = await bench.layout(one(...Array.from({ length: 3 }, (_, index) => [deep(`${index}`), { name: 'x' }]).flat()));
  assert.equal(files(three).length, 3 * 1_500);
});

/** Has images unpacked by a program that leaves what it is told and says that it is the image of this digest. */
async function subverted<T>({ digest, leaves }: { readonly digest: string; readonly leaves: string }, work: () => Promise<T>): Promise<T> {
  const done = { digest, kind: 'blobs', sizeBytes: 0, env: [], labels: {}, createdMs: 0 };
  const path = `${mkdtempSync(`${bench.dir}/subverted-`)}/unpacker`;
  chmodSync(path.slice(0, path.lastIndexOf('/')), 0o755);
  writeFileSync(path, `#!/bin/sh\nread -r job\nmkdir rootfs additions\n${leaves}\nprintf '%s\\n' '${JSON.stringify({ done })}'\n`, { mode: 0o755 });
  const { execPath } = process;
  process.execPath = path;
  try {
    return await work();
  } finally {
    process.execPath = execPath;
  }
}

test('an unpacker that names another digest installs nothing', async () => {
  const other = sha256(Buffer.from('{}'));
  const layout = (): Promise<ImageInfo> => bench.layout(one({ name: `x${Math.random()}`, body: 'x' }));
  await subverted({ digest: other, leaves: 'printf {} >manifest.json' }, () => refused(layout(), 'IMAGE_INVALID', /was unpacked where sha256:.* was asked for/));
  const archive = (): Promise<ImageInfo> => bench.archive(tar([]));
  const claimed = `sha256:${'0'.repeat(64)}`;
  await subverted({ digest: claimed, leaves: 'printf {} >manifest.json' }, () => refused(archive(), 'IMAGE_INVALID', /has the manifest sha256:44136fa/));
  await subverted({ digest: claimed, leaves: '' }, () => refused(archive(), 'IMAGE_INVALID', /has no manifest/));
  await subverted({ digest: other, leaves: 'printf {} >m; ln -s m manifest.json' }, () => refused(archive(), 'IMAGE_INVALID', /has no manifest/));
  await subverted({ digest: other, leaves: 'mkfifo manifest.json' }, () => refused(archive(), 'IMAGE_INVALID', /not a file/));
  const { digest } = await subverted({ digest: other, leaves: 'printf {} >manifest.json' }, archive);
  assert.equal(digest, other, 'the stand-in is refused for nothing else');
  await bench.store.remove(digest);
});

test('a path through a symbolic link stays in the image, wherever the link points to', async () => {
  const info = await bench.layout(one(
    { name: 'abs', type: '2', target: '/etc' }, { name: 'abs/one', body: '1' },
    { name: 'up', type: '2', target: '../../../../../../../tmp' }, { name: 'up/caisson-escaped', body: '2' },
    { name: '/rooted/three', body: '3' },
  ));
  assert.deepEqual(files(info), ['/abs -> /etc', '/etc', '/etc/one file', '/rooted', '/rooted/three file', '/tmp', '/tmp/caisson-escaped file', '/up -> ../../../../../../../tmp']);
  assert.throws(() => statSync('/tmp/caisson-escaped'), { code: 'ENOENT' });
});

test('a symbolic link of a lower layer is replaced by a folder or file of a higher one, and never written through', async () => {
  const info = await bench.layout(two(
    [{ name: 'd', type: '2', target: '/etc' }, { name: 'f', type: '2', target: '/etc/passwd' }],
    [{ name: 'd/' }, { name: 'd/x', body: 'x' }, { name: 'f', body: 'own' }],
  ));
  assert.deepEqual(files(info), ['/d', '/d/x file', '/f file']);
  assert.match(readFileSync('/etc/passwd', 'utf8'), /^root:/);
});

test('whiteouts hide what lower layers have, wherever they stand in the archive, and nothing of their own layer', async () => {
  const low = [{ name: 'a/old', body: 'x' }, { name: 'a/both', body: 'low' }, { name: 'b/old', body: 'x' }, { name: 'c', body: 'x' }];
  const info = await bench.layout(two(low, [
    { name: 'a/both', body: 'high' }, { name: 'a/.wh.both' }, { name: 'a/.wh.old' },
    { name: 'b/new', body: 'x' }, { name: 'b/.wh..wh..opq' }, { name: '.wh.c' }, { name: 'nowhere/.wh.x' },
  ]));
  assert.deepEqual(files(info), ['/a', '/a/both file', '/b', '/b/new file']);
  assert.equal(readFileSync(`${bench.store.rootfs(info.digest)}/a/both`, 'utf8'), 'high');
});

test('setuid and setgid bits are dropped, and every file belongs to whoever keeps the store', async () => {
  const info = await bench.layout(one({ name: 'su', body: 'x', mode: 0o6755, uid: 0 }, { name: 'd/', mode: 0o7777 }, { name: 'd/of', body: 'x', uid: 12_345 }));
  const root = bench.store.rootfs(info.digest);
  assert.equal((statSync(`${root}/su`).mode & 0o7777).toString(8), '755');
  assert.equal((statSync(`${root}/d`).mode & 0o7777).toString(8), '1777');
  if (IS_ROOT) for (const path of ['', '/su', '/d/of']) assert.equal(statSync(`${root}${path}`).uid, 0);
});

test('devices below /dev are left out, because a sandbox has a /dev of its own', async () => {
  const info = await bench.layout(one({ name: 'dev/' }, { name: './dev/null', type: '3' }, { name: 'dev/initctl', type: '6' }, { name: 'x', body: 'x' }));
  assert.deepEqual(files(info), ['/dev', '/x file']);
});

test('hard links, old folders, long names, bytes that are no UTF-8 and times are kept', async () => {
  const long = `${'long/'.repeat(40)}name`;
  const info = await bench.layout({ layers: [zipped([
    { name: 'one', body: 'same', mtime: 1_600_000_000 }, { name: 'two', type: '1', target: './one' },
    pax({ path: long, mtime: '1.5' }), { name: 'short', body: 'x' }, { name: 'by\xffte', body: 'x' }, { name: 'old/', type: '0' },
    tarMember({ name: '././@LongLink', type: 'L', body: 'gnu\0' }), { name: 'cut', body: 'x' },
  ])] });
  const root = bench.store.rootfs(info.digest);
  assert.equal(statSync(`${root}/one`).ino, statSync(`${root}/two`).ino);
  assert.equal(statSync(`${root}/one`).mtimeMs, 1_600_000_000_000);
  assert.ok(statSync(`${root}/${long}`).isFile() && statSync(`${root}/old`).isDirectory() && statSync(`${root}/gnu`).isFile());
  assert.ok(statSync(Buffer.concat([Buffer.from(`${root}/by`), Buffer.from([0xff]), Buffer.from('te')])).isFile());
});

test('the folder of an image that forbids everybody to look can be removed', async () => {
  const info = await bench.layout(one({ name: 'd/', mode: 0 }, { name: 'd/x', body: 'x', mode: 0 }));
  await bench.store.remove(info.digest);
  assert.equal(bench.store.get(info.digest), null);
});
