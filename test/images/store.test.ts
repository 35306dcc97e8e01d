import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { openImages, type ImageInfo } from '@caisson/images';
import { openBench, plain, zipped, type Bench, type LayoutSpec } from './given.ts';

let bench: Bench;
before(async () => {
  bench = await openBench();
});
after(() => bench[Symbol.asyncDispose]());

const holding = (text: string): LayoutSpec => ({ layers: [zipped([{ name: 'text', body: text }])], config: { Env: ['PATH=/x', 'USER=root'], Labels: { of: text } } });
const NOWHERE = `sha256:${'0'.repeat(64)}`;

test('an image is found by its digest and by the name it was given here', async () => {
  const info = await bench.layout(holding('one'), 'first');
  assert.deepEqual({ ...info, digest: '', importedMs: 0 }, { digest: '', name: 'first', names: ['first'], createdMs: 0, importedMs: 0, sizeBytes: 3, env: ['PATH=/x'], source: 'layout', labels: { of: 'one' } });
  assert.deepEqual(bench.store.get('first'), info);
  assert.deepEqual(bench.store.get(info.digest), info);
  assert.deepEqual(bench.store.list(), [info]);
});

test('a name that is given again leaves the image that had it', async () => {
  const former = bench.store.get('first');
  const latter = await bench.layout(holding('two'), 'first');
  assert.equal(bench.store.get('first')?.digest, latter.digest);
  assert.equal(bench.store.get(former?.digest ?? '')?.name, null);
});

test('an image that is given a second name keeps the first, and each name is taken away by itself', async () => {
  const { digest } = await bench.layout(holding('twice'), 'tiny');
  await bench.layout(holding('other'), 'unlike');
  const again = await bench.layout(holding('twice'), 'tiny2');
  assert.deepEqual([again.digest, again.name, again.names], [digest, 'tiny2', ['tiny2', 'tiny']]);
  assert.deepEqual([bench.store.get('tiny')?.digest, bench.store.get('tiny2')?.digest], [digest, digest]);
  await bench.store.remove('tiny');
  assert.deepEqual([bench.store.get('tiny'), bench.store.get('tiny2')?.names], [null, ['tiny2']]);
  await bench.store.remove('tiny2');
  assert.deepEqual([bench.store.get('tiny2'), bench.store.get(digest)], [null, null]);
  assert.notEqual(bench.store.get('unlike'), null);
});

test('an image that is there already is not unpacked again', async () => {
  const info = await bench.layout(holding('same'));
  const unpacked = bench.lines.length;
  const again = await bench.layout(holding('same'), 'again');
  assert.deepEqual({ ...again, name: null, names: [] }, info);
  assert.equal(bench.lines.length, unpacked);
});

test('one layer several times, and layers of nothing, make an image', async () => {
  const [same, nothing] = [plain([{ name: 'a', body: 'x' }]), plain([])];
  const info = await bench.layout({ layers: [same, nothing, same, nothing] });
  assert.deepEqual(readdirSync(bench.store.rootfs(info.digest)), ['a']);
});

test('ten imports of one image at once give one image', async () => {
  const infos = await Promise.all(Array.from({ length: 10 }, () => bench.layout(holding('at once'))));
  assert.equal(new Set(infos.map(({ digest, importedMs }) => `${digest} ${importedMs}`)).size, 1);
});

test('REQUEST_INVALID: the name of another kind of thing is no name of an image', async () => {
  for (const name of ['host', '', '../x', 'A', 'a/b', '-x', 'a'.repeat(64), `sha256:${'0'.repeat(64)}`]) await assert.rejects(bench.layout(holding('named'), name), { code: 'REQUEST_INVALID' });
});

test('IMAGE_NOT_FOUND: what is not there has no root, is not removed and not used, whatever it is called', async () => {
  for (const ref of [NOWHERE, 'first', 'sha256:../../etc', '']) {
    assert.throws(() => bench.store.rootfs(ref), { code: 'IMAGE_NOT_FOUND' });
    assert.throws(() => bench.store.use(ref), { code: 'IMAGE_NOT_FOUND' });
  }
  for (const ref of [NOWHERE, 'no-such', 'constructor', 'sha256:../../etc', '']) {
    await assert.rejects(bench.store.remove(ref), { code: 'IMAGE_NOT_FOUND' });
  }
  assert.equal(bench.store.get('constructor'), null);
  assert.equal(bench.store.get('no-such'), null);
});

test('IMAGE_IN_USE: an image is removed only when nobody holds it any more', async () => {
  const info = await bench.layout(holding('held'), 'held');
  const [first, second] = [bench.store.use(info.digest), bench.store.use(info.digest)];
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await assert.rejects(bench.store.remove(info.digest), { code: 'IMAGE_IN_USE' });
  second[Symbol.dispose]();
  await bench.store.remove(info.digest);
  assert.equal(bench.store.get('held'), null);
  assert.deepEqual(readdirSync(`${bench.dir}/images`).filter((name) => name.startsWith('old-') || name.includes(info.digest.slice(7))), []);
});

test('an import that is given up leaves nothing and does not hold up the next', async () => {
  const gone = new AbortController();
  const path = `${bench.dir}/slow.tar`;
  writeFileSync(path, Buffer.alloc(1));
  const given = bench.store.import({ kind: 'archive', path }, { onProgress: () => undefined, signal: gone.signal });
  gone.abort(new Error('given up'));
  await assert.rejects(given, /given up/);
  await bench.layout(holding('after'));
  assert.deepEqual(readdirSync(`${bench.dir}/images`).filter((name) => name.startsWith('new-')), []);
});

test('what a killed process left half done is gone at the next start, and whole images stay', async () => {
  const info = await bench.layout(holding('whole'), 'whole');
  const dir = `${bench.dir}/images`;
  mkdirSync(`${dir}/new-123456/rootfs/d`, { recursive: true, mode: 0o500 });
  mkdirSync(`${dir}/old-123456/image`, { recursive: true });
  mkdirSync(`${bench.dir}/outside`);
  writeFileSync(`${bench.dir}/outside/kept`, '');
  symlinkSync(`${bench.dir}/outside`, `${dir}/new-123456/rootfs/link`);
  writeFileSync(`${dir}/names.json.new`, '{"half":');
  const again = await openImages({ dir });
  assert.deepEqual(readdirSync(dir).filter((name) => /^(new|old)-/.test(name)), []);
  assert.ok(statSync(`${bench.dir}/outside/kept`).isFile());
  assert.deepEqual(again.get('whole'), info);
  assert.deepEqual(again.list(), bench.store.list());
});

test('the image itself is as it came: what a sandbox needs lies in a layer of its own', async () => {
  const info: ImageInfo = await bench.layout({ layers: [plain([{ name: 'etc/passwd', body: 'root:x:0:0::/:/bin/sh\nagent:x:5:5::/:/bin/evil\nuser:x:1000:1000::/:/bin/sh\n' }])] });
  const { folder } = bench.store.use(info.digest);
  assert.deepEqual(readdirSync(`${folder}/rootfs`), ['etc']);
  assert.match(readFileSync(`${folder}/rootfs/etc/passwd`, 'utf8'), /evil/);
  assert.equal(readFileSync(`${folder}/additions/etc/passwd`, 'utf8'), 'root:x:0:0::/:/bin/sh\nagent:x:1000:1000:agent:/workspace:/bin/sh\n');
  assert.deepEqual(readdirSync(`${folder}/additions`).toSorted(), ['.caisson', 'dev', 'etc', 'proc', 'run', 'sys', 'tmp', 'workspace']);
  assert.deepEqual(readdirSync(`${folder}/additions/run`).toSorted(), ['caisson', 'secrets']);
  assert.equal((statSync(`${folder}/additions/tmp`).mode & 0o7777).toString(8), '1777');
  assert.equal((statSync(`${folder}/additions/workspace`).mode & 0o7777).toString(8), '700');
  rmSync(`${bench.dir}/outside`, { recursive: true, force: true });
});

test('accounts are read inside the image, wherever a link of it points to', async () => {
  const info = await bench.layout({ layers: [plain([{ name: 'etc/passwd', type: '2', target: '../../../../../etc/shadow' }, { name: 'etc/group', type: '2', target: '/opt/group' }, { name: 'opt/group', body: 'staff:x:50:\n' }])] });
  const { folder } = bench.store.use(info.digest);
  assert.equal(readFileSync(`${folder}/additions/etc/passwd`, 'utf8'), 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nagent:x:1000:1000:agent:/workspace:/bin/sh\n');
  assert.equal(readFileSync(`${folder}/additions/etc/group`, 'utf8'), 'staff:x:50:\nagent:x:1000:\n');
});
