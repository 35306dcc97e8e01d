import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ImageInfo, ImportOptions } from '@caisson/images';
import { openBench, plain, sha256, tar, writeLayout, zipped, type Bench, type Member } from './given.ts';

let bench: Bench;
before(async () => {
  bench = await openBench({ maximum: { bytes: 32 * 2 ** 20, entries: 1_000 } });
});
after(() => bench[Symbol.asyncDispose]());

const LAYERS = [plain([{ name: 'a', body: 'low' }]), zipped([{ name: 'a', body: 'high' }, { name: 'b/c', body: 'x' }])];
const how = (): ImportOptions => ({ onProgress: () => undefined, signal: AbortSignal.timeout(60_000) });
const read = (info: ImageInfo, path: string): string => readFileSync(`${bench.store.rootfs(info.digest)}/${path}`, 'utf8');

function ociArchive(): { readonly digest: string; readonly bytes: Buffer } {
  const path = mkdtempSync(`${bench.dir}/oci-`);
  const digest = writeLayout(path, { layers: LAYERS });
  return { digest, bytes: execFileSync('/bin/tar', ['-C', path, '-cf', '-', '.']) };
}

const ARCH = process.arch === 'x64' ? 'amd64' : 'arm64';
const layer = tar([{ name: 'a', body: 'from docker' }]);
const config = (...layers: Buffer[]): string => JSON.stringify({ architecture: ARCH, os: 'linux', config: { Env: ['APP=1', 'HOME=/root'] }, rootfs: { type: 'layers', diff_ids: layers.map(sha256) } });
const docker = (...more: Member[]): Member[] => [
  { name: 'manifest.json', body: JSON.stringify([{ Config: 'c.json', RepoTags: ['app:latest'], Layers: ['one/layer.tar', 'two/layer.tar'] }]) },
  { name: 'c.json', body: config(layer, layer) },
  { name: 'one/layer.tar', body: layer },
  ...more,
];
const SAME: Member = { name: 'two/layer.tar', type: '2', target: '../one/layer.tar' };

test('an OCI archive and the layout it was made from are one image, compressed or not', async () => {
  const { digest, bytes } = ociArchive();
  const info = await bench.archive(bytes);
  assert.equal(info.digest, digest);
  assert.equal(read(info, 'a'), 'high');
  assert.equal((await bench.archive(gzipSync(bytes))).digest, digest);
});

test('what docker save writes has the same digest on every host, and its environment but no HOME', async () => {
  const info = await bench.archive(tar(docker(SAME)));
  assert.equal(read(info, 'a'), 'from docker');
  assert.deepEqual(info.env, ['APP=1']);
  assert.equal(info.source, 'docker-archive');
  const another = await openBench();
  try {
    assert.equal((await another.archive(tar(docker(SAME).toReversed()))).digest, info.digest);
  } finally {
    await another[Symbol.asyncDispose]();
  }
});

test('the archives and layouts of other tools are read: umoci and skopeo', { skip: ['/usr/bin/umoci', '/usr/bin/skopeo'].some((path) => !existsSync(path)) && 'needs umoci and skopeo' }, async () => {
  const path = `${mkdtempSync(`${bench.dir}/umoci-`)}/image`;
  const files = mkdtempSync(`${bench.dir}/files-`);
  writeFileSync(`${files}/made`, 'by umoci');
  for (const argv of [['init', '--layout', path], ['new', '--image', `${path}:one`], ['insert', '--image', `${path}:one`, files, '/opt']]) execFileSync('/usr/bin/umoci', argv);
  const info = await bench.store.import({ kind: 'layout', path }, how());
  assert.equal(read(info, 'opt/made'), 'by umoci');
  for (const kind of ['oci-archive', 'docker-archive']) {
    const archive = `${bench.dir}/${kind}.tar`;
    execFileSync('/usr/bin/skopeo', ['copy', '--quiet', '--insecure-policy', `oci:${path}:one`, `${kind}:${archive}${kind === 'docker-archive' ? ':one:1' : ''}`]);
    const again = await bench.store.import({ kind: 'archive', path: archive }, how());
    // The digest is that of the layout where the bytes are the same; docker-archive holds layers without compression.
    assert.equal(again.digest === info.digest, kind === 'oci-archive');
    assert.equal(read(again, 'opt/made'), 'by umoci');
  }
});

const REFUSED: readonly (readonly [string, () => Buffer, string, RegExp])[] = [
  ['that holds no image', () => tar([{ name: 'x', body: 'x' }]), 'IMAGE_INVALID', /neither/],
  ['that is empty', () => Buffer.alloc(0), 'IMAGE_INVALID', /neither/],
  ['that is no tar', () => Buffer.alloc(4_096, 'x'), 'IMAGE_INVALID', /checksum/],
  ['whose layer is missing', () => tar(docker()), 'IMAGE_INVALID', /two\/layer\.tar, which is not in it/],
  ['whose layer is a link to a file of the host', () => tar(docker({ ...SAME, target: '/etc/passwd' })), 'IMAGE_INVALID', /not in it/],
  ['whose layer is a link that goes up to the host', () => tar(docker({ ...SAME, target: '../../../../../../../etc/passwd' })), 'IMAGE_INVALID', /not in it/],
  ['whose manifest is a link', () => tar([{ name: 'index.json', type: '2', target: '/etc/passwd' }]), 'IMAGE_INVALID', /neither/],
  ['whose layer is not the one of its config', () => tar(docker({ name: 'two/layer.tar', body: tar([]) })), 'IMAGE_INVALID', /not the one/],
  ['of several images', () => tar([{ name: 'manifest.json', body: JSON.stringify([1, 2].map(() => ({ Config: 'c', Layers: ['l'] }))) }]), 'IMAGE_UNAVAILABLE', /2 images/],
  ['with a manifest of 5 MB', () => tar([{ name: 'index.json', body: Buffer.alloc(5 * 2 ** 20, ' ') }]), 'IMAGE_INVALID', /document of/],
  ['of 10 001 members', () => tar(Array.from({ length: 10_001 }, (_, index) => ({ name: `${index}` }))), 'IMAGE_INVALID', /10000 members/],
  ['that unpacks to more than its limit', () => gzipSync(tar([{ name: 'x', body: Buffer.alloc(40 * 2 ** 20) }])), 'IMAGE_TOO_LARGE', /more than/],
  ['for another machine', () => tar([...docker(SAME).filter(({ name }) => name !== 'c.json'), { name: 'c.json', body: config(layer, layer).replace(ARCH, 's390x') }]), 'IMAGE_UNAVAILABLE', /s390x/],
];
for (const [what, bytes, code, words] of REFUSED) {
  test(`${code}: an archive ${what} is refused`, () => assert.rejects(bench.archive(bytes()), (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.stack);
    assert.match(error.message, words);
    return true;
  }));
}

test('IMAGE_UNAVAILABLE: an archive or layout that is not there, or is no file, is refused', async () => {
  for (const source of [{ kind: 'archive', path: '/no/such' }, { kind: 'archive', path: '/dev/zero' }, { kind: 'archive', path: bench.dir }, { kind: 'layout', path: '/no/such' }] as const) {
    await assert.rejects(bench.store.import(source, how()), { code: 'IMAGE_UNAVAILABLE' });
  }
});

test('IMAGE_UNAVAILABLE: of a layout with several images one must be named, and the named one is taken', async () => {
  const path = mkdtempSync(`${bench.dir}/many-`);
  const first = writeLayout(path, { layers: [plain([{ name: 'a', body: '1' }])] });
  const { manifests } = JSON.parse(readFileSync(`${path}/index.json`, 'utf8')) as { manifests: object[] };
  const second = writeLayout(path, { layers: [plain([{ name: 'a', body: '2' }])] });
  const { manifests: others } = JSON.parse(readFileSync(`${path}/index.json`, 'utf8')) as { manifests: object[] };
  writeFileSync(`${path}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [...manifests, ...others] }));
  await assert.rejects(bench.store.import({ kind: 'layout', path }, how()), { code: 'IMAGE_UNAVAILABLE', message: new RegExp(`${first}, ${second}`) });
  assert.equal(read(await bench.store.import({ kind: 'layout', path, digest: second }, how()), 'a'), '2');
});

test('a layer of a layout that is a link to a file without end is not read', async () => {
  const path = mkdtempSync(`${bench.dir}/endless-`);
  const stored = plain([{ name: 'a', body: '1' }]);
  writeLayout(path, { layers: [stored] });
  const blob = `${path}/blobs/sha256/${sha256(stored.tar).slice(7)}`;
  for (const make of [() => symlinkSync('/dev/zero', blob), () => execFileSync('/usr/bin/mkfifo', [blob]), () => writeFileSync(blob, '')]) {
    rmSync(blob);
    make();
    await assert.rejects(bench.store.import({ kind: 'layout', path }, how()), (error: Error & { code: string }) => /^IMAGE_(INVALID|UNAVAILABLE)$/.test(error.code));
  }
});

test('a blob of a layout that is a link to a file of the host is not followed', async () => {
  const path = mkdtempSync(`${bench.dir}/linked-`);
  const digest = writeLayout(path, { layers: [plain([{ name: 'a', body: '1' }])] });
  execFileSync('/bin/mv', [`${path}/blobs/sha256/${digest.slice(7)}`, `${path}/manifest`]);
  symlinkSync(`${path}/manifest`, `${path}/blobs/sha256/${digest.slice(7)}`);
  await assert.rejects(bench.store.import({ kind: 'layout', path }, how()), { code: 'IMAGE_UNAVAILABLE' });
});
