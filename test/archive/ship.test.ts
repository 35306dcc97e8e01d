import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fetchFrom, fetchFromDirectory, headPath, keysOf, newCounters, type ObjectStore } from '@caisson/archive';
import { consistencyProof, openCheckpoint, readBundle, rootAt, signerOf, tileTree, type Fetch } from '@caisson/tlog';
import { assertWhole, folder, objectsOf, openDirectory, openS3, shipAtLast, shipperOf } from './given.ts';
import { makeLog } from './log.ts';
import { s3Python, startFaults, startS3, type Fault, type FaultProxy, type S3Server, type Seen } from './server.ts';

const python = s3Python();
const skip = 'missing' in python ? python.missing : false;
let s3: S3Server;
before(async () => {
  if ('python' in python) s3 = await startS3(python.python);
});
after(() => s3?.[Symbol.asyncDispose]());

let names = 0;

/** A store in the bucket behind a proxy at which things go wrong. */
async function faulty(timeoutMs = 400): Promise<AsyncDisposable & { readonly store: ObjectStore; readonly proxy: FaultProxy; readonly prefix: string }> {
  const proxy = await startFaults(s3.endpoint);
  const prefix = `ship/${(names += 1)}/`;
  const store = await openS3(proxy.endpoint, { prefix, timeoutMs });
  return {
    prefix,
    store,
    proxy,
    async [Symbol.asyncDispose]() {
      store[Symbol.dispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

test('a log that grows is brought whole, its partial tiles and the head of each size with it, and each object once', { skip }, async () => {
  using log = makeLog();
  await using place = await faulty(5_000);
  const shipper = await shipperOf(log, place.store);
  assert.deepEqual(await shipper.ship(), { state: 'empty' });
  const sizes = [1, 5, 255, 256, 257, 700];
  for (const size of sizes) {
    await log.grow(size);
    assert.deepEqual(await shipper.ship(), { state: 'current', size });
    await assertWhole(place.store, log);
  }
  const writes = place.proxy.seen.filter(({ method }) => method === 'PUT').map(({ path }) => path.replace(/\?.*/, ''));
  assert.deepEqual(writes.filter((path) => !path.endsWith('/checkpoint')).toSorted(), [...new Set(writes)].filter((path) => !path.endsWith('/checkpoint')).toSorted());
  assert.equal(writes.filter((path) => path.endsWith('/checkpoint')).length, sizes.length);
  const keys = await Array.fromAsync(keysOf(place.store, 'heads/'));
  assert.deepEqual(keys, sizes.map(headPath));
  assert.deepEqual((await objectsOf(place.store)).size, log.published().size + sizes.length);
});

test('a head that is followed costs no list and no read, and one that has not changed costs nothing', { skip }, async () => {
  using log = makeLog();
  await using place = await faulty(5_000);
  const shipper = await shipperOf(log, place.store);
  await log.grow(300);
  await shipper.ship();
  for (const size of [301, 302, 600]) {
    const atFirst = place.proxy.seen.length;
    await log.grow(size);
    await shipper.ship();
    const requests = place.proxy.seen.slice(atFirst);
    assert.deepEqual([...new Set(requests.map(({ method }) => method))], ['PUT']);
    const atLast = place.proxy.seen.length;
    assert.deepEqual(await shipper.ship(), { state: 'current', size });
    assert.equal(place.proxy.seen.length, atLast);
  }
  assert.ok(place.proxy.seen.every(({ method, path }) => method !== 'HEAD' && !path.includes('list-type')));
  assert.ok(place.proxy.seen.every(({ method, headers }) => method !== 'PUT' || headers['if-none-match'] !== undefined || headers['if-match'] !== undefined), 'no write is without a condition');
});

test('the head is written after everything under it, and no more than four requests are under way', { skip }, async () => {
  using log = makeLog();
  await using place = await faulty(5_000);
  await log.grow(3_000);
  await (await shipperOf(log, place.store)).ship();
  const last = place.proxy.seen.findLast(({ method }) => method === 'PUT');
  assert.match(last?.path ?? '', /\/checkpoint/);
  assert.ok(place.proxy.most() <= 4, `${place.proxy.most()} at once`);
});

const FAULTS: readonly (readonly [string, Fault, string])[] = [
  ['403', { status: 403, code: 'AccessDenied' }, 'AccessDenied'],
  ['404 of the bucket', { status: 404, code: 'NoSuchBucket' }, 'NoSuchBucket'],
  ['409', { status: 409, code: 'ConditionalRequestConflict' }, 'Other'],
  ['500', { status: 500, code: 'InternalError' }, 'Other'],
  ['503', { status: 503, code: 'SlowDown' }, 'Other'],
  ['no answer', 'silence', 'Network'],
  ['an answer that is lost', 'lost', 'Network'],
  ['a connection that is cut', 'reset', 'Network'],
  ['a connection that is cut after the write', 'reset after', 'Network'],
  ['half an answer', 'half', 'Network'],
  ['an answer that is too slow', { slowMs: 600 }, 'Network'],
];

for (const [name, fault, errorClass] of FAULTS) {
  test(`${name} at any request stops nothing for good: the store is brought whole, nothing is lost or doubled, and ${errorClass} is counted`, { skip }, async () => {
    using log = makeLog();
    await using place = await faulty(300);
    const counters = newCounters();
    const shipper = await shipperOf(log, place.store, { counters });
    // Every request meets the fault the first time it is made.
    const met = new Set<string>();
    place.proxy.fault = ({ method, path }: Seen) => {
      const key = `${method} ${path}`;
      if (met.has(key) || (fault === 'half' && method === 'PUT')) return undefined;
      met.add(key);
      return fault;
    };
    for (const size of [3, 260]) {
      await log.grow(size);
      assert.deepEqual(await shipAtLast(shipper), { state: 'current', size });
    }
    assert.ok(counters.errors[errorClass as keyof typeof counters.errors] > 0, JSON.stringify(counters));
    using patient = await openS3(s3.endpoint, { prefix: place.prefix });
    await assertWhole(patient, log);
  });
}

test('an answer that is only slow is waited for', { skip }, async () => {
  using log = makeLog();
  await using place = await faulty(5_000);
  place.proxy.fault = () => ({ slowMs: 100 });
  await log.grow(10);
  assert.deepEqual(await (await shipperOf(log, place.store)).ship(), { state: 'current', size: 10 });
});

test('after an outage in which the log has grown by thousands of entries the store catches up without a gap or a double', { skip }, async () => {
  using log = makeLog();
  await using place = await faulty(5_000);
  const shipper = await shipperOf(log, place.store);
  await log.grow(10);
  await shipper.ship();
  place.proxy.fault = () => ({ status: 503, code: 'SlowDown' });
  for (const size of [50, 2_000, 5_000]) {
    await log.grow(size);
    assert.equal((await shipper.ship()).state, 'away');
  }
  place.proxy.fault = () => undefined;
  assert.deepEqual(await shipper.ship(), { state: 'current', size: 5_000 });
  await assertWhole(place.store, log);
});

test('what is read back is the log: its head, its entries and its proofs; and a store that does not answer is never one without the object', { skip }, async () => {
  using log = makeLog();
  await using place = await faulty(5_000);
  await log.grow(300);
  const shipper = await shipperOf(log, place.store);
  await shipper.ship();
  await log.grow(777);
  await shipper.ship();
  const fetch = fetchFrom(place.store);
  const { publicKey } = signerOf(log.key);
  const head = openCheckpoint((await fetch('checkpoint')) ?? Buffer.alloc(0), { logKeys: [publicKey] });
  assert.ok(!('bad' in head) && head.size === 777);
  const tree = tileTree(fetch, 777);
  assert.deepEqual(await rootAt(tree, 777), head.root);
  assert.ok((await consistencyProof(tree, 300, 777)).length > 0);
  assert.equal((await readBundle(fetch, 777, 3)).length, 9);
  assert.equal(await fetch('tile/0/999'), null);
  place.proxy.fault = () => ({ status: 403, code: 'AccessDenied' });
  await assert.rejects(fetch('checkpoint'), { code: 'STATE_DIR_INVALID', message: /AccessDenied/ });
  await assert.rejects(Array.fromAsync(keysOf(place.store, '')), { code: 'STATE_DIR_INVALID' });
});

const DAMAGES: readonly (readonly [string, string, (path: string) => void])[] = [
  ['a bundle is not what was signed', 'tile/entries/000', (path) => writeFileSync(path, Buffer.alloc(256 * 3))],
  ['a full tile is not what was signed', 'tile/0/000', (path) => writeFileSync(path, Buffer.alloc(256 * 32))],
  ['a partial tile is not what was signed', 'tile/0/001.p/44', (path) => writeFileSync(path, Buffer.alloc(44 * 32))],
  ['a tile is cut off', 'tile/0/000', (path) => writeFileSync(path, Buffer.alloc(100))],
  ['a bundle is missing', 'tile/entries/000', (path) => rmSync(path)],
  ['the head is no head', 'checkpoint', (path) => writeFileSync(path, 'x')],
];

for (const [what, path, damage] of DAMAGES) {
  test(`where ${what}, no head of it is written, and a repair is taken up`, async () => {
    using log = makeLog();
    using own = folder();
    await log.grow(300);
    damage(`${log.dir}/${path}`);
    const store = openDirectory(own.path);
    const shipper = await shipperOf(log, store);
    assert.equal((await shipper.ship()).state, 'damaged');
    assert.equal(await store.get('checkpoint', 1_000), null);
    assert.equal(await store.get(path, 100_000), null, 'nor what is damaged');
    writeFileSync(`${log.dir}/${path}`, log.published().get(path) ?? '');
    assert.deepEqual(await shipper.ship(), { state: 'current', size: 300 });
    await assertWhole(store, log);
  });
}

test('a log that moves on while it is brought, and drops the partial tiles of the head before, is brought at its next head', async () => {
  using log = makeLog();
  using own = folder();
  await log.grow(10);
  const read = fetchFromDirectory(log.dir);
  const local: Fetch = async (path) => {
    if (path === 'tile/entries/000.p/10' && log.size() === 10) {
      await log.grow(20);
      for (const gone of ['tile/entries/000.p/10', 'tile/0/000.p/10']) rmSync(`${log.dir}/${gone}`);
    }
    return read(path);
  };
  const store = openDirectory(own.path);
  assert.deepEqual(await (await shipperOf(log, store, { local })).ship(), { state: 'current', size: 20 });
  await assertWhole(store, log);
});

test('a head that nobody of the log has signed is not followed, here or there', async () => {
  using log = makeLog();
  using stranger = makeLog();
  using own = folder();
  const store = openDirectory(own.path);
  await log.grow(10);
  const shipper = await shipperOf({ ...log, key: stranger.key }, store);
  assert.equal((await shipper.ship()).state, 'damaged');
  assert.equal(await store.get('checkpoint', 1_000), null);
});
