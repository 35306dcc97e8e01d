import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { placeOf, segmentOf, wrapByKey, type Keyring } from '@caisson/sealing';
import { ABOUT, ringIn, tempDir } from './given.ts';

const inSegment = (segment: number, tenant = 'acme'): Parameters<Keyring['seal']>[1] => ({ tenant, segment, about: ABOUT });
const DAY_MS = 86_400_000;

test('what one ring sealed another ring of the same folder opens, and the folder is closed to others', async (t) => {
  const dir = tempDir(t);
  using first = await ringIn(dir);
  const sealed = await first.seal({ argv: ['id'] }, inSegment(0));
  using second = await ringIn(dir);
  assert.deepEqual(await second.unseal(sealed, ABOUT), { state: 'open', value: { argv: ['id'] } });
  assert.equal(statSync(`${dir}/ring`).mode & 0o777, 0o700);
  for (const name of readdirSync(`${dir}/ring`)) assert.equal(statSync(`${dir}/ring/${name}`).mode & 0o777, 0o600, name);
});

test('each tenant and each segment has a key of its own, and no name of a tenant is in the folder or in a key id', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const sealed = await Promise.all([inSegment(0), inSegment(1), inSegment(0, 'umbrella'), inSegment(0)].map((where) => ring.seal('x', where)));
  assert.equal(new Set(sealed.map(({ key }) => key)).size, 3);
  assert.equal(placeOf(sealed[1]?.key ?? '')?.segment, 1);
  const all = readdirSync(`${dir}/ring`).map((name) => name + readFileSync(`${dir}/ring/${name}`, 'latin1')).join('\n');
  assert.doesNotMatch(all + JSON.stringify(sealed), /acme|umbrella/);
});

test('a text of one tenant that is given the key name of another does not open', async (t) => {
  using ring = await ringIn(tempDir(t));
  const [mine, yours] = await Promise.all([ring.seal('mine', inSegment(0)), ring.seal('yours', inSegment(0, 'umbrella'))]);
  const stolen = await ring.unseal({ ...mine, key: yours.key }, ABOUT);
  assert.equal(stolen.state, 'bad');
});

test('no nonce comes twice: 20,000 texts of one key have 20,000 nonces', async (t) => {
  using ring = await ringIn(tempDir(t));
  const sealed = await Promise.all(Array.from({ length: 20_000 }, () => ring.seal(1, inSegment(0))));
  assert.equal(new Set(sealed.map(({ nonce }) => nonce)).size, 20_000);
  assert.equal(new Set(sealed.map(({ text }) => text)).size, 20_000); // the same value never looks the same
});

test('a key that was used as often as it may makes way for the next, and what it sealed still opens', async (t) => {
  const dir = tempDir(t);
  using first = await ringIn(dir);
  const old = await first.seal('old', inSegment(0));
  writeFileSync(`${dir}/ring/${old.key}.key`, '+'.repeat(1_023), { flag: 'a' }); // as 1,023 more restarts would have it
  using second = await ringIn(dir);
  const fresh = await second.seal('fresh', inSegment(0));
  assert.equal(fresh.key, old.key.replace(/0$/, '1'));
  assert.equal((await second.unseal(old, ABOUT)).state, 'open');
});

test('each start of a ring takes uses of a key of its own before it seals with it', async (t) => {
  const dir = tempDir(t);
  const reserved: number[] = [];
  for (let start = 0; start < 3; start += 1) {
    using ring = await ringIn(dir);
    const { key } = await ring.seal('x', inSegment(0));
    reserved.push(readFileSync(`${dir}/ring/${key}.key`, 'utf8').split('\n')[1]?.length ?? 0);
  }
  assert.deepEqual(reserved, [1, 2, 3]);
});

test('keys that are held open are bounded, whatever the number of tenants', async (t) => {
  using ring = await ringIn(tempDir(t), { openMost: 8, sync: async () => undefined });
  for (let tenant = 0; tenant < 100; tenant += 1) await ring.seal('x', inSegment(0, `t${tenant}`));
  assert.ok(ring.openKeys <= 16, String(ring.openKeys));
});

test('digests of equal values are equal for one tenant and label, and differ for another tenant, label or ring', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const digest = await ring.digest('acme', 'argv', ['4711']);
  assert.match(digest, /^[0-9a-f]{64}$/);
  using again = await ringIn(dir);
  assert.equal(await again.digest('acme', 'argv', ['4711']), digest);
  using other = await ringIn(tempDir(t));
  const others = [ring.digest('umbrella', 'argv', ['4711']), ring.digest('acme', 'env', ['4711']), ring.digest('acme', 'argv', ['4712']), other.digest('acme', 'argv', ['4711'])];
  for (const each of await Promise.all(others)) assert.notEqual(each, digest);
});

test('keys are worthless without the wrap key, and one that is put in the place of another is refused', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const mine = await ring.seal('mine', inSegment(0));
  const yours = await ring.seal('yours', inSegment(0, 'umbrella'));
  await assert.rejects(ringIn(dir, { wrap: wrapByKey('file', Buffer.alloc(32, 8)) }), { code: 'EVIDENCE_UNAVAILABLE', message: /does not unwrap/ });
  writeFileSync(`${dir}/ring/${mine.key}.key`, readFileSync(`${dir}/ring/${yours.key}.key`, 'utf8').replace(yours.key, mine.key));
  using later = await ringIn(dir);
  await assert.rejects(later.unseal(mine, ABOUT), { code: 'EVIDENCE_UNAVAILABLE', message: /does not unwrap/ });
});

test('a segment is so many entries or so long, and never gets smaller', () => {
  assert.deepEqual([0, 65_535, 65_536].map((index) => segmentOf({ index, timeMs: 0 })), [0, 0, 1]);
  assert.deepEqual([DAY_MS - 1, DAY_MS].map((timeMs) => segmentOf({ index: 9, timeMs }, { periodMs: DAY_MS })), [0, 1]);
});
