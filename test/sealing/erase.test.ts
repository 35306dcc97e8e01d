import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileWrap, readEscrow, writeEscrow, type Keyring } from '@caisson/sealing';
import { problem } from '../evidence/given.ts';
import { ABOUT, ringIn, tempDir } from './given.ts';

const ERASED_MS = 1_700_000_000_000;
const inSegment = (segment: number, tenant = 'acme'): Parameters<Keyring['seal']>[1] => ({ tenant, segment, about: ABOUT });

test('what an erased tenant had sealed opens for nobody and says since when; what it seals later is by another key', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const sealed = await ring.seal('gone', inSegment(0));
  const digest = await ring.digest('acme', 'argv', 'x');
  const kept = await ring.seal('kept', inSegment(0, 'umbrella'));
  assert.equal(await ring.erase({ tenant: 'acme' }), 2);
  assert.deepEqual(await ring.unseal(sealed, ABOUT), { state: 'erased', erasedMs: ERASED_MS });
  assert.equal((await ring.unseal(kept, ABOUT)).state, 'open');
  assert.ok(!existsSync(`${dir}/ring/${sealed.key}.key`));
  const later = await ring.seal('later', inSegment(0));
  assert.notEqual(later.key, sealed.key);
  assert.notEqual(await ring.digest('acme', 'argv', 'x'), digest);
  using again = await ringIn(dir);
  assert.equal((await again.unseal(later, ABOUT)).state, 'open');
  assert.deepEqual(await again.unseal(sealed, ABOUT), { state: 'erased', erasedMs: ERASED_MS });
});

test('keys of segments before one are erased, and none of them is ever made again', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const [old, next] = [await ring.seal('old', inSegment(3)), await ring.seal('next', inSegment(4))];
  assert.equal(await ring.erase({ before: 4 }), 1);
  assert.deepEqual(await ring.unseal(old, ABOUT), { state: 'erased', erasedMs: ERASED_MS });
  assert.equal((await ring.unseal(next, ABOUT)).state, 'open');
  for (const each of [ring, await ringIn(dir)]) await assert.rejects(each.seal('x', inSegment(3)), problem('EVIDENCE_UNAVAILABLE', /segment 3 were erased/));
});

test('a key whose file was brought back after it was erased opens nothing, and is destroyed at the next start', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const sealed = await ring.seal('gone', inSegment(0));
  const file = `${dir}/ring/${sealed.key}.key`;
  copyFileSync(file, `${dir}/copy`);
  await ring.erase({ tenant: 'acme' });
  copyFileSync(`${dir}/copy`, file);
  assert.equal((await ring.unseal(sealed, ABOUT)).state, 'erased');
  using again = await ringIn(dir);
  assert.equal((await again.unseal(sealed, ABOUT)).state, 'erased');
  assert.ok(!existsSync(file));
});

test('a key that is not there and was not erased is missing', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const sealed = await ring.seal('x', inSegment(0));
  rmSync(`${dir}/ring/${sealed.key}.key`);
  using again = await ringIn(dir);
  assert.deepEqual(await again.unseal(sealed, ABOUT), { state: 'missing' });
});

test('a text is never sealed by a key that an erasure beside it destroys', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  for (let round = 0; round < 20; round += 1) {
    const [sealed] = await Promise.all([ring.seal(round, inSegment(0)), ring.erase({ tenant: 'acme' })]);
    const { state } = await ring.unseal(sealed, ABOUT);
    assert.ok(state === 'erased' || state === 'open', state); // before or after it, and never missing
  }
});

test('STATE_DIR_INVALID: a folder or key of the ring that is a link, or that others can use, is refused', async (t) => {
  const dir = tempDir(t);
  const refused = (message: RegExp): Promise<void> => assert.rejects(ringIn(dir), problem('STATE_DIR_INVALID', message));
  const own = `${dir}/ring`;
  {
    using ring = await ringIn(dir);
    await ring.seal('x', inSegment(0));
  }
  chmodSync(own, 0o750);
  await refused(/its mode is 750/);
  chmodSync(own, 0o700);
  chmodSync(`${own}/names.key`, 0o640);
  await refused(/its mode is 640/);
  chmodSync(`${own}/names.key`, 0o600);
  renameSync(`${own}/names.key`, `${dir}/names.key`);
  symlinkSync(`${dir}/names.key`, `${own}/names.key`);
  await refused(/it is a link/);
  rmSync(`${own}/names.key`);
  mkdirSync(`${own}/names.key`, { mode: 0o700 });
  await refused(/it is not a file/);
  rmSync(`${own}/names.key`, { recursive: true });
  renameSync(`${dir}/names.key`, `${own}/names.key`);
  renameSync(own, `${dir}/elsewhere`);
  symlinkSync(`${dir}/elsewhere`, own);
  await refused(/it is not a folder/);
  rmSync(own);
  writeFileSync(own, '');
  await refused(/it is not a folder/);
});

test('STATE_DIR_INVALID: a folder of another user is refused', { skip: process.getuid?.() === 0 ? false : 'needs root: only root can give a folder away' }, async (t) => {
  const dir = tempDir(t);
  (await ringIn(dir))[Symbol.dispose]();
  chownSync(`${dir}/ring`, 12_345, 12_345);
  await assert.rejects(ringIn(dir), problem('STATE_DIR_INVALID', /belongs to another user/));
});

test('an auditor opens with escrowed keys, offline, what they sealed and nothing else', async (t) => {
  const dir = tempDir(t);
  using ring = await ringIn(dir);
  const sealed = await Promise.all([inSegment(0), inSegment(1), inSegment(0, 'umbrella')].map((where) => ring.seal(where.segment, where)));
  assert.equal(await writeEscrow(`${dir}/keys`, ring, { tenants: ['acme'], from: 1 }), 1);
  assert.equal(statSync(`${dir}/keys`).mode & 0o777, 0o600);
  rmSync(`${dir}/ring`, { recursive: true });
  const keys = await readEscrow(`${dir}/keys`);
  assert.deepEqual(sealed.map((each) => keys.unseal(each, ABOUT).state), ['missing', 'open', 'missing']);
  await assert.rejects(writeEscrow(`${dir}/keys`, ring, {}), { code: /ENOENT|EEXIST/ });
  for (const text of ['', '{}', '{"version":1,"keys":{"x":"y"}}', '[]', 'null']) {
    writeFileSync(`${dir}/bad`, text, { mode: 0o600 });
    await assert.rejects(readEscrow(`${dir}/bad`), problem('REQUEST_INVALID', /does not hold keys/));
  }
});

test('the wrap key is made once, closed to others, and a file that holds something else is refused', async (t) => {
  const path = `${tempDir(t)}/wrap`;
  const [first, second] = await Promise.all([fileWrap(path), fileWrap(path)]);
  assert.equal((await second.unwrap(await first.wrap(Buffer.alloc(32, 1), 'a'), 'a')).toString('hex'), '01'.repeat(32));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  writeFileSync(path, 'x');
  await assert.rejects(fileWrap(path), problem('STATE_DIR_INVALID', /does not hold a key/));
});

test('an erasure that was recorded and not finished is finished at the next start', async (t) => {
  const dir = tempDir(t);
  const sealed = await (await ringIn(dir)).seal('x', inSegment(0));
  writeFileSync(`${dir}/ring/erased.jsonl`, `{"before":1,"erasedMs":5}\n`, { mode: 0o600 });
  using ring = await ringIn(dir);
  assert.ok(!readdirSync(`${dir}/ring`).includes(`${sealed.key}.key`));
  assert.deepEqual(await ring.unseal(sealed, ABOUT), { state: 'erased', erasedMs: 5 });
  writeFileSync(`${dir}/ring/erased.jsonl`, 'changed\n');
  await assert.rejects(ringIn(dir), problem('EVIDENCE_UNAVAILABLE', /what was erased .* cannot be read/)); // a key could be made anew
});
