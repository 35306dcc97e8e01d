import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { counted, directoryStore, fetchFromDirectory, newCounters, PositionFile, s3Store, Shipper, type Counters, type ObjectStore, type Outcome, type S3Options } from '@caisson/archive';
import { openCheckpoint, publicKey, rootAt, signerOf, tileTree, type Fetch } from '@caisson/tlog';
import type { Log } from './log.ts';
import { BUCKET, CREDENTIALS } from './server.ts';

export function openS3(endpoint: string, more: Partial<S3Options> = {}): Promise<ObjectStore> {
  return s3Store({ bucket: BUCKET, prefix: 'logs/one/', region: 'us-east-1', endpoint, credentials: async () => CREDENTIALS, timeoutMs: 5_000, nowMs: Date.now, ...more });
}

export interface Folder extends Disposable {
  readonly path: string;
}

export function folder(): Folder {
  const path = mkdtempSync(`${tmpdir()}/caisson-archive-`);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export const openDirectory = (path: string): ObjectStore => directoryStore(path);

/** An archiver's shipper of a log, opened as by a new process. */
export async function shipperOf(log: Log, store: ObjectStore, { position = `${log.archive}/position.json`, counters = newCounters(), local = fetchFromDirectory(log.dir) }: { readonly position?: string; readonly counters?: Counters; readonly local?: Fetch } = {}): Promise<Shipper> {
  return new Shipper({
    store: counted(store, counters),
    local,
    position: await PositionFile.open(position, store.name),
    logKeys: async () => [signerOf(log.key).publicKey],
    signal: new AbortController().signal,
  });
}

/** Ships until something else than being away comes of it. */
export async function shipAtLast(shipper: Shipper, tries = 50): Promise<Outcome> {
  for (let at = 0; at < tries; at += 1) {
    const outcome = await shipper.ship();
    if (outcome.state !== 'away') return outcome;
  }
  throw new Error(`still away after ${tries} tries`);
}

/** Every object of the store, by key. */
export async function objectsOf(store: ObjectStore): Promise<Map<string, Buffer>> {
  const objects = new Map<string, Buffer>();
  let from: string | undefined;
  do {
    const page = await store.list('', from);
    assert.ok(!('failed' in page), JSON.stringify(page));
    for (const key of page.keys) {
      const got = await store.get(key, 20_000_000);
      assert.ok(got !== null && !('failed' in got), key);
      objects.set(key, got.bytes);
    }
    from = page.next;
  } while (from !== undefined);
  return objects;
}

/** What the store holds is byte for byte of the log, complete under its head, and its head is signed and gives its root. */
export async function assertWhole(store: ObjectStore, log: Log): Promise<void> {
  const objects = await objectsOf(store);
  const head = openCheckpoint(objects.get('checkpoint') ?? Buffer.alloc(0), { logKeys: [publicKey(log.key.name, log.key.type, signerOf(log.key).publicKey.key)] });
  assert.ok(!('bad' in head), JSON.stringify(head));
  assert.equal(head.size, log.size());
  const root = await rootAt(tileTree(async (path) => objects.get(path) ?? null, head.size), head.size);
  assert.deepEqual(root, head.root);
  const published = log.published();
  for (const [key, bytes] of objects) if (!key.startsWith('heads/')) assert.deepEqual(bytes, published.get(key), key);
}
