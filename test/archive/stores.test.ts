import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ObjectStore } from '@caisson/archive';
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { folder, openDirectory, openS3 } from './given.ts';
import { BUCKET, s3Python, startS3, type S3Server } from './server.ts';

const python = s3Python();
const skip = 'missing' in python ? python.missing : false;
let s3: S3Server;
before(async () => {
  if ('python' in python) s3 = await startS3(python.python);
});
after(() => s3?.[Symbol.asyncDispose]());

const bytes = (text: string): Buffer => Buffer.from(text);
const FIRST = { ifNoneMatch: '*' } as const;
let names = 0;

interface Opened extends AsyncDisposable {
  readonly store: ObjectStore;
}

const KINDS: readonly (readonly [string, string | false, () => Promise<Opened>])[] = [
  ['a directory', false, async () => {
    const own = folder();
    return { store: openDirectory(own.path), [Symbol.asyncDispose]: async () => own[Symbol.dispose]() };
  }],
  ['S3', skip, async () => {
    const store = await openS3(s3.endpoint, { prefix: `stores/${(names += 1)}/` });
    return { store, [Symbol.asyncDispose]: async () => store[Symbol.dispose]() };
  }],
];

for (const [name, unless, open] of KINDS) {
  test(`${name}: what is written is read, and what is not there is null`, { skip: unless }, async () => {
    await using opened = await open();
    const { store } = opened;
    const put = await store.put({ key: 'tile/0/x001/067', bytes: bytes('one'), condition: FIRST, keep: true });
    assert.ok('etag' in put);
    assert.deepEqual(await store.get('tile/0/x001/067', 10), { bytes: bytes('one'), etag: put.etag });
    assert.equal(await store.get('tile/0/x001/068', 10), null);
    assert.equal(await store.get('checkpoint', 10), null);
  });

  test(`${name}: an object is never written over another, and the refusal is PreconditionFailed`, { skip: unless }, async () => {
    await using opened = await open();
    const { store } = opened;
    await store.put({ key: 'checkpoint', bytes: bytes('one'), condition: FIRST, keep: false });
    for (const text of ['one', 'two']) {
      const refused = await store.put({ key: 'checkpoint', bytes: bytes(text), condition: FIRST, keep: false });
      assert.equal('failed' in refused && refused.failed, 'PreconditionFailed');
    }
    assert.deepEqual((await store.get('checkpoint', 10) as { bytes: Buffer }).bytes, bytes('one'));
  });

  test(`${name}: an object is replaced by who has seen it, and by nobody who has seen an older one or none`, { skip: unless }, async () => {
    await using opened = await open();
    const { store } = opened;
    const none = await store.put({ key: 'checkpoint', bytes: bytes('x'), condition: { ifMatch: '"0123456789abcdef0123456789abcdef"' }, keep: false });
    assert.equal('failed' in none && none.failed, 'PreconditionFailed');
    const first = await store.put({ key: 'checkpoint', bytes: bytes('one'), condition: FIRST, keep: false });
    assert.ok('etag' in first);
    const second = await store.put({ key: 'checkpoint', bytes: bytes('two'), condition: { ifMatch: first.etag }, keep: false });
    assert.ok('etag' in second);
    const stale = await store.put({ key: 'checkpoint', bytes: bytes('three'), condition: { ifMatch: first.etag }, keep: false });
    assert.equal('failed' in stale && stale.failed, 'PreconditionFailed');
    assert.deepEqual(await store.get('checkpoint', 10), { bytes: bytes('two'), etag: second.etag });
  });

  test(`${name}: of sixteen that write at once exactly one wins`, { skip: unless }, async () => {
    await using opened = await open();
    const { store } = opened;
    const race = async (condition: { ifNoneMatch: '*' } | { ifMatch: string }): Promise<string> => {
      const answers = await Promise.all(Array.from({ length: 16 }, (_, at) => store.put({ key: 'checkpoint', bytes: bytes(`${JSON.stringify(condition)} ${at}`), condition, keep: false })));
      const won = answers.flatMap((answer) => ('etag' in answer ? [answer.etag] : []));
      assert.equal(won.length, 1);
      assert.ok(answers.every((answer) => 'etag' in answer || answer.failed === 'PreconditionFailed'));
      return won[0] as string;
    };
    await race({ ifMatch: await race(FIRST) });
  });

  test(`${name}: an object that is larger than what is asked for is a failure, not a part`, { skip: unless }, async () => {
    await using opened = await open();
    const { store } = opened;
    await store.put({ key: 'tile/0/000', bytes: Buffer.alloc(100_000), condition: FIRST, keep: true });
    const got = await store.get('tile/0/000', 99_999);
    assert.equal(got !== null && 'failed' in got && got.failed, 'Other');
    assert.equal((await store.get('tile/0/000', 100_000) as { bytes: Buffer }).bytes.length, 100_000);
  });

  test(`${name}: a list has every key once, page by page`, { skip: unless }, async () => {
    await using opened = await open();
    const { store } = opened;
    const keys = Array.from({ length: 1_050 }, (_, at) => `heads/${String(at).padStart(20, '0')}`);
    for (let at = 0; at < keys.length; at += 50) {
      await Promise.all(keys.slice(at, at + 50).map((key) => store.put({ key, bytes: bytes(key), condition: FIRST, keep: false })));
    }
    await store.put({ key: 'checkpoint', bytes: bytes('c'), condition: FIRST, keep: false });
    const found: string[] = [];
    let [from, pages]: [string | undefined, number] = [undefined, 0];
    do {
      const page = await store.list('heads/', from);
      assert.ok('keys' in page);
      found.push(...page.keys);
      [from, pages] = [page.next, pages + 1];
    } while (from !== undefined);
    assert.deepEqual(found, keys);
    assert.ok(pages >= 2);
  });
}

test('S3: a bucket that is not there is NoSuchBucket, for a read, a write and a list', { skip }, async () => {
  using store = await openS3(s3.endpoint, { bucket: 'not-there' });
  for (const answer of [await store.get('checkpoint', 10), await store.put({ key: 'checkpoint', bytes: bytes('x'), condition: FIRST, keep: false }), await store.list('')]) {
    assert.equal(answer !== null && 'failed' in answer && answer.failed, 'NoSuchBucket');
  }
});

test('S3: where a lock is configured, what is kept is written with its mode and its day, and the head without', { skip }, async () => {
  const nowMs = (): number => Date.UTC(2030, 0, 1);
  using store = await openS3(s3.endpoint, { prefix: 'locked/', lock: { mode: 'COMPLIANCE', days: 10 }, nowMs });
  assert.ok('etag' in (await store.put({ key: 'tile/0/000', bytes: bytes('x'), condition: FIRST, keep: true })));
  assert.ok('etag' in (await store.put({ key: 'checkpoint', bytes: bytes('x'), condition: FIRST, keep: false })));
  const tile = await s3.client.send(new HeadObjectCommand({ Bucket: BUCKET, Key: 'locked/tile/0/000' }));
  assert.equal(tile.ObjectLockMode, 'COMPLIANCE');
  assert.equal(tile.ObjectLockRetainUntilDate?.getTime(), Date.UTC(2030, 0, 11));
  assert.equal((await s3.client.send(new HeadObjectCommand({ Bucket: BUCKET, Key: 'locked/checkpoint' }))).ObjectLockMode, undefined);
});

test('a directory: one that is away is NoSuchBucket, never a store without objects, and is not made', async () => {
  using own = folder();
  const store = openDirectory(`${own.path}/mount`);
  for (const answer of [await store.get('checkpoint', 10), await store.put({ key: 'tile/0/000', bytes: bytes('x'), condition: FIRST, keep: true })]) {
    assert.equal(answer !== null && 'failed' in answer && answer.failed, 'NoSuchBucket');
  }
});

test('a directory: a key leads nowhere but below it', async () => {
  using own = folder();
  const store = openDirectory(own.path);
  for (const key of ['../x', '/etc/x', 'tile/../../x', '.lock', 'tile//x', '', 'tile/x\0']) {
    assert.equal('failed' in (await store.put({ key, bytes: bytes('x'), condition: FIRST, keep: true })), true, key);
    const got = await store.get(key, 10);
    assert.equal(got !== null && 'failed' in got, true, key);
  }
});
