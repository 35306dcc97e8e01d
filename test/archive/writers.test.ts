import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { type ObjectStore } from '@caisson/archive';
import { formatCheckpoint, signerOf, signNote } from '@caisson/tlog';
import { assertWhole, folder, openDirectory, openS3, shipperOf } from './given.ts';
import { makeLog, ORIGIN, type Log } from './log.ts';
import { BUCKET, s3Python, startS3, type S3Server } from './server.ts';

const python = s3Python();
const skip = 'missing' in python ? python.missing : false;
let s3: S3Server;
before(async () => {
  if ('python' in python) s3 = await startS3(python.python);
});
after(() => s3?.[Symbol.asyncDispose]());

let names = 0;

interface Opened extends Disposable {
  readonly store: ObjectStore;
  /** Puts an object as an attacker with the rights of an administrator does; null: removes it. */
  readonly force: (key: string, bytes: Buffer | null) => Promise<void>;
}

async function openS3Place(): Promise<Opened> {
  const prefix = `writers/${(names += 1)}/`;
  const store = await openS3(s3.endpoint, { prefix });
  return {
    store,
    async force(key, bytes) {
      const at = { Bucket: BUCKET, Key: prefix + key };
      if (bytes === null) await s3.client.send(new DeleteObjectCommand(at));
      else await s3.client.send(new PutObjectCommand({ ...at, Body: bytes }));
    },
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}

/** Two archivers of one log, each with what it remembers. */
const twoOf = async (log: Log, store: ObjectStore): ReturnType<typeof pair> => pair(log, log, store);
async function pair(one: Log, two: Log, store: ObjectStore): Promise<readonly [Awaited<ReturnType<typeof shipperOf>>, Awaited<ReturnType<typeof shipperOf>>]> {
  return [await shipperOf(one, store), await shipperOf(two, store, { position: `${two.archive}/other.json` })];
}

test('of two archivers of one log the second that writes is fenced by the store itself, and so is it after a new start', { skip }, async () => {
  using log = makeLog();
  using place = await openS3Place();
  const [first, second] = await twoOf(log, place.store);
  await log.grow(10);
  assert.equal((await first.ship()).state, 'current');
  assert.equal((await second.ship()).state, 'current', 'it takes over what is of the same log');
  await log.grow(20);
  assert.equal((await second.ship()).state, 'current');
  await log.grow(30);
  const fenced = await first.ship();
  assert.equal(fenced.state, 'fenced', JSON.stringify(fenced));
  assert.match(fenced.state === 'fenced' ? fenced.detail : '', /another writer has written the head there, of 20 entries/);
  const again = await (await shipperOf(log, place.store)).ship();
  assert.equal(again.state, 'fenced', 'who comes back knows what it wrote last');
  assert.equal((await second.ship()).state, 'current');
  await assertWhole(place.store, log);
});

test('two archivers that race to bring a log never both win a head, and what is there at the end is whole', { skip }, async () => {
  for (let round = 0; round < 10; round += 1) {
    using log = makeLog();
    using place = await openS3Place();
    const shippers = await twoOf(log, place.store);
    await log.grow(300 + round);
    const outcomes = await Promise.all(shippers.map((shipper) => shipper.ship()));
    // The same bytes are the same head whoever wrote them; nobody is told that they lost a race to nobody.
    assert.deepEqual(outcomes.map(({ state }) => state), ['current', 'current']);
    await log.grow(400 + round);
    const [one] = await Promise.all(shippers.map((shipper) => shipper.ship()));
    assert.ok(one !== undefined && one.state === 'current');
    await assertWhole(place.store, log);
  }
});

test('two logs of one key that differ from an entry on: the second that comes is a fork, and changes nothing', { skip }, async () => {
  for (const [shared, later] of [[0, 5], [3, 300], [5, 5]] as const) {
    using log = makeLog();
    using other = makeLog({ key: log.key, word: 'forged' });
    using place = await openS3Place();
    const [one, two] = await pair(log, other, place.store);
    await log.grow(5);
    await one.ship();
    await other.grow(Math.max(1, shared));
    await other.grow(later);
    const forked = await two.ship();
    assert.equal(forked.state, 'forked', JSON.stringify(forked));
    await assertWhole(place.store, log);
  }
});

test('two logs that differ and race: one wins, the other is told that it is a fork', { skip }, async () => {
  for (let round = 0; round < 5; round += 1) {
    using log = makeLog();
    using other = makeLog({ key: log.key, word: 'forged' });
    using place = await openS3Place();
    await Promise.all([log.grow(260), other.grow(260)]);
    const outcomes = await Promise.all((await pair(log, other, place.store)).map((shipper) => shipper.ship()));
    assert.ok(outcomes.filter(({ state }) => state === 'current').length <= 1, JSON.stringify(outcomes));
    assert.ok(outcomes.some(({ state }) => state === 'forked'), JSON.stringify(outcomes));
  }
});

for (const [name, unless, open] of [
  ['S3', skip, openS3Place],
  ['a directory', false, async (): Promise<Opened> => {
    const own = folder();
    const { writeFile, rm } = await import('node:fs/promises');
    return { store: openDirectory(own.path), force: (key, bytes) => (bytes === null ? rm(`${own.path}/${key}`) : writeFile(`${own.path}/${key}`, bytes)), [Symbol.dispose]: () => own[Symbol.dispose]() };
  }],
] as const) {
  test(`${name}: a log that was cut off behind what is archived is not written, and says so`, { skip: unless }, async () => {
    using log = makeLog();
    using place = await open();
    await log.grow(300);
    await (await shipperOf(log, place.store)).ship();
    using cut = makeLog({ key: log.key });
    await cut.grow(250);
    for (const position of [`${log.archive}/position.json`, `${cut.archive}/position.json`]) {
      const outcome = await (await shipperOf(cut, place.store, { position })).ship();
      assert.equal(outcome.state, 'fenced');
      assert.match(outcome.state === 'fenced' ? outcome.detail : '', /300 entries, more than the 250 here/);
    }
    await assertWhole(place.store, log);
  });

  test(`${name}: a head that somebody put back, removed or replaced is found, and nothing is written over it`, { skip: unless }, async () => {
    using log = makeLog();
    const { publicKey } = signerOf(log.key);
    await log.grow(10);
    const old = log.published().get('checkpoint') ?? Buffer.alloc(0);
    await log.grow(20);
    const forged = Buffer.from(await signNote(formatCheckpoint({ origin: ORIGIN, size: 20, root: Buffer.alloc(32, 7) }), [signerOf(log.key)]));
    const otherLog = Buffer.from(await signNote(formatCheckpoint({ origin: 'another.test', size: 1, root: Buffer.alloc(32) }), [signerOf({ ...log.key, name: 'another.test' })]));
    const cases: readonly (readonly [string, Buffer | null, string])[] = [
      ['an older one', old, 'fenced'],
      ['none', null, 'forked'],
      ['another tree, signed', forged, 'forked'],
      ['another log', otherLog, 'forked'],
      ['no head at all', Buffer.from('hello\n'), 'forked'],
    ];
    assert.equal(publicKey.name, ORIGIN);
    for (const [what, bytes, state] of cases) {
      for (const fresh of [false, true]) {
        using place = await open();
        using grown = makeLog({ key: log.key });
        await grown.grow(10);
        const shipper = await shipperOf(grown, place.store);
        await shipper.ship();
        await grown.grow(20);
        await shipper.ship();
        await place.force('checkpoint', bytes);
        await grown.grow(30);
        const outcome = await (fresh ? await shipperOf(grown, place.store) : shipper).ship();
        assert.equal(outcome.state, state, `${what}, fresh ${fresh}: ${JSON.stringify(outcome)}`);
        const there = await place.store.get('checkpoint', 10_000);
        assert.deepEqual(there === null ? null : (there as { bytes: Buffer }).bytes, bytes, 'it stays as the proof that it is');
      }
    }
  });

  test(`${name}: an object that is there with other bytes is a fork, whichever it is`, { skip: unless }, async () => {
    for (const path of ['tile/0/000', 'tile/entries/001.p/44', 'tile/1/000.p/1', 'heads/00000000000000000300']) {
      using log = makeLog();
      using place = await open();
      await place.store.put({ key: path, bytes: Buffer.from('x'), condition: { ifNoneMatch: '*' }, keep: true });
      await log.grow(300);
      const outcome = await (await shipperOf(log, place.store)).ship();
      assert.deepEqual(outcome, { state: 'forked', detail: `${path} is there with other bytes` });
      assert.equal(await place.store.get('checkpoint', 10_000), null);
    }
  });
}

test('an operator lets an archiver go on by removing what it remembers, if the store is of the same log', async () => {
  using log = makeLog();
  using own = folder();
  const store = openDirectory(own.path);
  const [first, second] = await twoOf(log, store);
  for (const [size, shipper] of [[10, first], [20, second]] as const) {
    await log.grow(size);
    await shipper.ship();
  }
  await log.grow(30);
  assert.equal((await first.ship()).state, 'fenced');
  rmSync(`${log.archive}/position.json`);
  assert.equal((await (await shipperOf(log, store)).ship()).state, 'current');
  await log.grow(40);
  assert.equal((await second.ship()).state, 'fenced', 'and now the other is fenced');
});
