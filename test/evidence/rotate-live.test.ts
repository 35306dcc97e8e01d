import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { directoryStore, fetchFrom } from '@caisson/archive';
import { readStatus } from '@caisson/archive/status';
import { instanceId } from '@caisson/contract';
import { verifyLog, verifyPublished } from '@caisson/evidence';
import { processUids } from '@caisson/runtime';
import { formatVerifierKey, generateKey, parseVerifierKey, SIGNATURE_TYPE, signerOf, type PublicKey } from '@caisson/tlog';
import { folder } from '../archive/given.ts';
import { cli, emptyPlace, type Place } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { secondOpinion } from '../verify/given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;

async function record(place: Place): Promise<void> {
  const up = await cli(place.env, ['up', '--detach']);
  assert.equal(up.status, 0, up.stderr);
  const run = await cli(place.env, ['run', '--', 'true']);
  assert.equal(run.status, 0, run.stderr);
}

async function down(place: Place): Promise<void> {
  const ended = await cli(place.env, ['down']);
  assert.equal(ended.status, 0, ended.stderr);
}

/** What each file of the evidence is, but for what a store or a lock keeps there. */
function owners(dir: string, names: Readonly<Record<number, string>>): Readonly<Record<string, string>> {
  const said = (path: string): string => {
    const { mode, uid, gid } = statSync(path);
    return `${(mode & 0o7777).toString(8)} ${names[uid] ?? uid} ${names[gid] ?? gid}`;
  };
  const files = readdirSync(dir, { withFileTypes: true }).map(({ name }) => [name.replace(/^journal-\d+$/, 'journal'), said(`${dir}/${name}`)] as const);
  return Object.fromEntries([['.', said(dir)] as const, ...files]);
}

const keyIn = (place: Place): PublicKey => parseVerifierKey(readFileSync(`${place.paths.evidence}/log.vkey`, 'utf8')) ?? assert.fail('no key');

async function assertKeys(place: Place, good: readonly PublicKey[]): Promise<void> {
  const stranger = signerOf(generateKey('caisson.local/other', SIGNATURE_TYPE.ed25519)).publicKey;
  for (const key of [...good, stranger]) {
    const status = key === stranger ? 1 : 0;
    const text = formatVerifierKey(key);
    const own = await cli(place.env, ['audit', 'verify', '--key', text]);
    assert.equal(own.status, status, `${String(own.stdout)}${own.stderr}`);
    const python = await secondOpinion(place.paths.evidence, '--key', text);
    assert.equal(python.status, status, python.stdout);
  }
}

test('the key of an instance of root is replaced while it is down, not while it is up; what the scribe and the archiver may read stays so', { skip }, async () => {
  await using place = emptyPlace();
  using own = folder();
  const { archiver, scribe } = processUids(instanceId(place.dir));
  mkdirSync(`${own.path}/store`, { mode: 0o700 });
  chownSync(`${own.path}/store`, archiver, archiver);
  chmodSync(own.path, 0o711);
  writeFileSync(place.paths.archiveConfig, JSON.stringify({ everyMs: 50, kind: 'directory', path: `${own.path}/store` }));
  await record(place);
  const old = keyIn(place);
  const refused = await cli(place.env, ['audit', 'rotate-key']);
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /EVIDENCE_UNAVAILABLE.*another scribe writes/);
  assert.ok(!readdirSync(`${place.paths.evidence}-key`).includes('log.key.next'));
  await down(place);
  const names = { [scribe]: 'scribe', [archiver]: 'archiver' };
  const before = owners(place.paths.evidence, names);
  const { size } = statSync(`${place.paths.evidence}-key/log.key`);

  const rotated = await cli(place.env, ['audit', 'rotate-key']);
  assert.equal(rotated.status, 0, rotated.stderr);
  const next = keyIn(place);
  assert.equal(String(rotated.stdout), `${formatVerifierKey(next)}\n`);
  assert.notEqual(next.id, old.id);
  const { 'earlier.vkey': earlier, ...after } = owners(place.paths.evidence, names);
  assert.deepEqual(after, before);
  assert.deepEqual([after['.'], after['log.vkey'], earlier, after['checkpoint']], ['2710 scribe archiver', ...Array<string>(3).fill('640 scribe archiver')]);
  const key = statSync(`${place.paths.evidence}-key/log.key`);
  assert.deepEqual([key.mode & 0o777, key.uid, key.size], [0o600, 0, size]);

  await record(place);
  const { entries, bad } = await verifyLog(place.paths.evidence, { keys: [old] });
  assert.equal(bad, null);
  for (const untilMs = Date.now() + 20_000; ; await delay(20)) {
    const status = readStatus(`${place.paths.archive}/status.json`);
    if (status?.state === 'current' && (status.storedEntries ?? 0) >= entries) break;
    assert.ok(Date.now() < untilMs, JSON.stringify(status));
  }
  const told = await cli(place.env, ['status']);
  assert.match(String(told.stdout), /info {2}key-rotated/);
  await down(place);
  await assertKeys(place, [old, next]);
  for (const trusted of [old, next]) {
    assert.equal((await verifyPublished(fetchFrom(directoryStore(`${own.path}/store`)), { keys: [trusted] })).bad, null);
    const archived = await cli(place.env, ['audit', 'verify', '--archive', `${own.path}/store`, '--key', formatVerifierKey(trusted)]);
    assert.equal(archived.status, 0, `${String(archived.stdout)}${archived.stderr}`);
  }
});
