import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fetchFrom, type ObjectStore } from '@caisson/archive';
import { readStatus, type ArchiveStatus } from '@caisson/archive/status';
import { instanceId } from '@caisson/contract';
import { verifyLog } from '@caisson/evidence';
import { processUids } from '@caisson/runtime';
import { openCheckpoint, parseVerifierKey, rootAt, tilesBetween, tilePath, tileTree, type PublicKey } from '@caisson/tlog';
import { cli, emptyPlace, type Place } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { folder, openDirectory, openS3, type Folder } from './given.ts';
import { BUCKET, CREDENTIALS, s3Python, startFaults, startS3, type Fault } from './server.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const s3 = s3Python();
const skipS3 = skip || ('missing' in s3 ? s3.missing : false);

function storeOf(place: Place): Folder {
  const own = folder();
  const { archiver } = processUids(instanceId(place.dir));
  mkdirSync(`${own.path}/store`, { mode: 0o700 });
  chownSync(`${own.path}/store`, archiver, archiver);
  chmodSync(own.path, 0o711);
  return own;
}

function configure(place: Place, config: object): void {
  writeFileSync(place.paths.archiveConfig, JSON.stringify({ everyMs: 50, ...config }));
}

async function start(place: Place): Promise<void> {
  const up = await cli(place.env, ['up', '--detach']);
  assert.equal(up.status, 0, up.stderr);
}

async function says(place: Place, what: (status: ArchiveStatus) => boolean): Promise<ArchiveStatus> {
  for (const untilMs = Date.now() + 30_000; ; await delay(20)) {
    const status = readStatus(`${place.paths.archive}/status.json`);
    if (status !== null && what(status)) return status;
    assert.ok(Date.now() < untilMs, `not within 30 s: ${what.toString()}, ${JSON.stringify(status)}`);
  }
}

const keysOf = (place: Place): readonly PublicKey[] => [parseVerifierKey(readFileSync(`${place.paths.evidence}/log.vkey`, 'utf8'))].filter((key) => key !== null);

/** The archive is the log that was written: its head signed, its tree whole, its entries those that are here. */
async function assertArchived(place: Place, store: ObjectStore, least: number): Promise<void> {
  const fetch = fetchFrom(store);
  const head = openCheckpoint((await fetch('checkpoint')) ?? Buffer.alloc(0), { logKeys: keysOf(place) });
  assert.ok(!('bad' in head), JSON.stringify(head));
  assert.ok(head.size >= least, `${head.size} entries are archived of ${least}`);
  assert.deepEqual(await rootAt(tileTree(fetch, head.size), head.size), head.root);
  for (const tile of tilesBetween(0, head.size)) assert.ok(((await fetch(tilePath(tile)))?.length ?? 0) > 0, tilePath(tile));
}

/** All that is recorded by now is archived. @returns how many entries that is */
async function caughtUp(place: Place, store: ObjectStore): Promise<number> {
  const { entries, bad } = await verifyLog(place.paths.evidence);
  assert.equal(bad, null);
  await says(place, ({ state, storedEntries }) => state === 'current' && (storedEntries ?? 0) >= entries);
  await assertArchived(place, store, entries);
  return entries;
}

test('what the scribe publishes is archived as it grows, what was published before there was an archive too, and the archiver can open nothing else', { skip }, async () => {
  await using place = emptyPlace();
  using own = storeOf(place);
  const { archiver, scribe } = processUids(instanceId(place.dir));
  await start(place);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  await cli(place.env, ['down']);
  assert.equal(statSync(`${place.paths.evidence}/checkpoint`).mode & 0o777, 0o600, 'nobody else reads a log that is not archived');
  configure(place, { kind: 'directory', path: `${own.path}/store` });
  await start(place);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  await caughtUp(place, openDirectory(`${own.path}/store`));
  const modes = (path: string): string => {
    const { mode, uid, gid } = statSync(path);
    return `${(mode & 0o7777).toString(8)} ${uid === scribe ? 'scribe' : uid} ${gid === archiver ? 'archiver' : gid}`;
  };
  assert.equal(modes(place.paths.evidence), '2710 scribe archiver');
  assert.equal(modes(`${place.paths.evidence}/checkpoint`), '640 scribe archiver');
  assert.equal(modes(`${place.paths.evidence}/tile`), '2750 scribe archiver');
  assert.match(modes(`${place.paths.evidence}/journal-0`), /^600 scribe /);
  assert.equal((await cli(place.env, ['down'])).status, 0);
  configure(place, { kind: 'directory', path: `${own.path}/store`, whenAway: 'queue' });
  await start(place); // the group's rights outlive a start
  await caughtUp(place, openDirectory(`${own.path}/store`));
});

for (const whenAway of ['queue', 'stop'] as const) {
  test(`${whenAway}: a store that goes away ${whenAway === 'queue' ? 'stops nothing, and is whole again when it is back' : 'stops what would be recorded, nothing happens, the reason is told, and it goes on when the store is back'}`, { skip }, async () => {
    await using place = emptyPlace();
    using own = storeOf(place);
    configure(place, { kind: 'directory', path: `${own.path}/store`, whenAway, maxLagMs: 5_000 });
    await start(place);
    assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
    const store = openDirectory(`${own.path}/store`);
    const before = await caughtUp(place, store);
    renameSync(`${own.path}/store`, `${own.path}/away`);
    assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0, 'within the bound it goes on');
    await says(place, ({ state, lagMs }) => state === 'away' && lagMs > 5_500);
    const run = await cli(place.env, ['run', '--', 'true']);
    if (whenAway === 'queue') assert.equal(run.status, 0, run.stderr);
    else {
      assert.notEqual(run.status, 0);
      assert.match(run.stderr, /EVIDENCE_UNAVAILABLE.*the archive has not been whole for \d+ ms, and 5000 are allowed \(away/);
      assert.equal((await verifyLog(place.paths.evidence)).openIntents.length, 0);
    }
    renameSync(`${own.path}/away`, `${own.path}/store`);
    await says(place, ({ state }) => state === 'current');
    assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
    assert.ok((await caughtUp(place, store)) > before);
  });
}

const FAULTS: readonly (readonly [string, Fault])[] = [
  ['403', { status: 403, code: 'AccessDenied' }],
  ['503', { status: 503, code: 'SlowDown' }],
  ['no answer', 'silence'],
  ['slow answers', { slowMs: 5_000 }],
];

test('S3 that refuses, is busy, silent or slow: what would be recorded is stopped with the class of the failure, and the bucket is whole in the end', { skip: skipS3 }, async () => {
  if ('missing' in s3) return;
  await using server = await startS3(s3.python);
  await using proxy = await startFaults(server.endpoint);
  await using place = emptyPlace();
  using keys = folder();
  writeFileSync(`${keys.path}/keys`, `[default]\naws_access_key_id = ${CREDENTIALS.accessKeyId}\naws_secret_access_key = ${CREDENTIALS.secretAccessKey}\n`, { mode: 0o600 });
  configure(place, { kind: 's3', bucket: BUCKET, prefix: 'logs/one/', region: 'us-east-1', endpoint: proxy.endpoint, credentials: { file: `${keys.path}/keys` }, whenAway: 'stop', maxLagMs: 8_000, timeoutMs: 2_000 });
  await start(place);
  using store = await openS3(server.endpoint);
  const classes = new Set<string>();
  for (const [name, fault] of FAULTS) {
    proxy.fault = () => undefined;
    await says(place, ({ state }) => state === 'current' || state === 'empty');
    assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0, name);
    proxy.fault = () => fault;
    assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0, `${name}: within the bound it goes on`);
    const { lastError } = await says(place, ({ state, lagMs }) => state === 'away' && lagMs > 8_500);
    classes.add(lastError?.class ?? 'none');
    const refused = await cli(place.env, ['run', '--', 'true']);
    assert.match(refused.stderr, /EVIDENCE_UNAVAILABLE.*the archive has not been whole/, name);
  }
  assert.deepEqual([...classes].toSorted(), ['AccessDenied', 'Network', 'Other']);
  proxy.fault = () => undefined;
  await caughtUp(place, store);
});
