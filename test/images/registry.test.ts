import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import type { ImageInfo } from '@caisson/images';
import { openBench, plain, sha256, writeLayout, zipped, type Bench } from './given.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const missing = ['/usr/bin/skopeo', '/usr/bin/openssl'].filter((path) => !existsSync(path));
const skip = missing.length === 0 ? false : `needs ${missing.join(' and ')}`;

let bench: Bench;
let server: Server | undefined;
/** Documents and blobs by path; a digest can be made to answer with something else. */
const served = new Map<string, { readonly type: string; readonly bytes: Buffer }>();
const asked: string[] = [];
const cleanUp: string[] = [];

before(async () => {
  if (skip !== false) return;
  const certificates = mkdtempSync(`${tmpdir()}/caisson-certificates-`);
  cleanUp.push(certificates);
  execFileSync('/usr/bin/openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', `${certificates}/key`, '-out', `${certificates}/ca.crt`], { stdio: 'ignore' });
  execFileSync('/bin/chmod', ['-R', 'a+rX', certificates]);
  bench = await openBench({ certificates });
  server = createServer({ key: readFileSync(`${certificates}/key`), cert: readFileSync(`${certificates}/ca.crt`) }, (request, response) => {
    asked.push(request.url ?? '');
    const found = served.get(request.url ?? '');
    if (request.url === '/v2/') response.writeHead(200).end();
    else if (found === undefined) response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
    else response.writeHead(200, { 'content-type': found.type, 'content-length': found.bytes.length, 'docker-content-digest': sha256(found.bytes) }).end(request.method === 'HEAD' ? undefined : found.bytes);
  });
  await new Promise<void>((done) => server?.listen(0, '127.0.0.1', done));
});
after(async () => {
  server?.closeAllConnections();
  server?.close();
  if (skip === false) await bench[Symbol.asyncDispose]();
  for (const path of cleanUp) rmSync(path, { recursive: true });
});

const host = (): string => {
  const address = server?.address() as AddressInfo | undefined;
  return `127.0.0.1:${address?.port}`;
};
const fetched = (reference: string): Promise<ImageInfo> => bench.store.import({ kind: 'registry', reference }, { onProgress: () => undefined, signal: AbortSignal.timeout(60_000) });
const document = (name: string, bytes: Buffer, type: string): string => {
  served.set(`/v2/${name}/manifests/${sha256(bytes)}`, { type, bytes });
  return sha256(bytes);
};

/** Puts an image into the registry and returns the digest of its manifest. */
function push(name: string, text: string, change: (manifest: string) => string = (same) => same, type = MANIFEST): string {
  const path = `${mkdtempSync(`${bench.dir}/pushed-`)}/layout`;
  mkdirSync(path);
  const digest = writeLayout(path, { layers: [plain([{ name: 'low', body: 'low' }]), zipped([{ name: 'text', body: text }])] });
  const read = (each: string): Buffer => readFileSync(`${path}/blobs/sha256/${each.slice(7)}`);
  const manifest = JSON.parse(read(digest).toString()) as { config: { digest: string }; layers: { digest: string }[] };
  for (const each of [manifest.config, ...manifest.layers]) served.set(`/v2/${name}/blobs/${each.digest}`, { type: 'application/octet-stream', bytes: read(each.digest) });
  return document(name, Buffer.from(change(read(digest).toString())), type);
}

test('an image is fetched from a registry by digest and keeps that digest', { skip }, async () => {
  const digest = push('team/app', 'from afar');
  const info = await fetched(`${host()}/team/app@${digest}`);
  assert.equal(info.digest, digest);
  assert.equal(info.source, `${host()}/team/app@${digest}`);
  assert.equal(readFileSync(`${bench.store.rootfs(digest)}/text`, 'utf8'), 'from afar');
});

test('an image in the format of Docker keeps its digest as well', { skip }, async () => {
  const digest = push('team/docker', 'docker', (text) => text.replaceAll('vnd.oci.image.layer.v1.tar+gzip', 'vnd.docker.image.rootfs.diff.tar.gzip').replaceAll('vnd.oci.image.config.v1', 'vnd.docker.container.image.v1').replace(MANIFEST, DOCKER).replaceAll('vnd.oci.image.layer.v1.tar', 'vnd.docker.image.rootfs.diff.tar'), DOCKER);
  assert.equal((await fetched(`${host()}/team/docker@${digest}`)).digest, digest);
});

test('of an index the image for this platform is taken, by the digest that the index names', { skip }, async () => {
  const own = push('team/many', 'own');
  const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : 'arm64' };
  const entry = (digest: string): object => ({ mediaType: MANIFEST, digest, size: served.get(`/v2/team/many/manifests/${digest}`)?.bytes.length ?? 0 });
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [{ ...entry(push('team/many', 'other')), platform: { os: 'linux', architecture: 's390x' } }, { ...entry(own), platform }] };
  const digest = document('team/many', Buffer.from(JSON.stringify(index)), INDEX);
  assert.equal((await fetched(`${host()}/team/many@${digest}`)).digest, own);
});

test('IMAGE_TAG_REFUSED: a tag is refused, and the hint names the digest that it means now', { skip }, async () => {
  const digest = push('team/tagged', 'tagged');
  const manifest = served.get(`/v2/team/tagged/manifests/${digest}`);
  assert.ok(manifest);
  for (const tag of ['latest', '1.2']) served.set(`/v2/team/tagged/manifests/${tag}`, manifest);
  for (const reference of ['team/tagged', 'team/tagged:latest', 'team/tagged:1.2', `team/tagged:1.2@${digest}`]) {
    await assert.rejects(fetched(`${host()}/${reference}`), { code: 'IMAGE_TAG_REFUSED', hint: `name it by digest alone: ${host()}/team/tagged@${digest}` });
  }
  await assert.rejects(fetched(`${host()}/team/none:1`), { code: 'IMAGE_TAG_REFUSED', hint: /@sha256:…$/ });
  assert.equal(bench.store.get(digest), null);
});

test('IMAGE_INVALID: a registry that answers a digest with another document is refused', { skip }, async () => {
  const digest = push('team/liar', 'good');
  served.set(`/v2/team/liar/manifests/${digest}`, { type: MANIFEST, bytes: served.get(`/v2/team/liar/manifests/${push('team/liar', 'evil')}`)?.bytes ?? Buffer.alloc(0) });
  await assert.rejects(fetched(`${host()}/team/liar@${digest}`), (error: Error & { code: string }) => ['IMAGE_INVALID', 'IMAGE_UNAVAILABLE'].includes(error.code));
  assert.equal(bench.store.get(digest), null);
});

test('IMAGE_UNAVAILABLE: an image that the registry does not have is refused in its words, and nothing stays', { skip }, async () => {
  await assert.rejects(fetched(`${host()}/team/app@sha256:${'0'.repeat(64)}`), { code: 'IMAGE_UNAVAILABLE' });
});

test('REQUEST_INVALID: what is not the name of an image is not handed to any tool', { skip }, async () => {
  const asks = asked.length;
  for (const reference of ['', '--help', 'debian', 'library/debian@sha256:00', `${host()}/a b@sha256:${'0'.repeat(64)}`, `${host()}/../x@sha256:${'0'.repeat(64)}`, 'oci:/etc', `${host()}/x@sha512:${'0'.repeat(64)}`, 'file:///etc/passwd', '127.0.0.1/A@x']) {
    await assert.rejects(fetched(reference), { code: 'REQUEST_INVALID' }, reference);
  }
  assert.equal(asked.length, asks);
});
