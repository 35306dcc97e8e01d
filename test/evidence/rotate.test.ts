import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Receipt } from '@caisson/contract';
import { folderFetch, logSigner, openFileLog, publishedKeys, readEntries, rotateKey, verifyLog, type FileLog } from '@caisson/evidence';
import { formatCheckpoint, formatVerifierKey, generateKey, grow, leafHash, openCheckpoint, parseSignerKey, rootOf, SIGNATURE_TYPE, signerOf, signNote, EMPTY_EDGE, type Edge, type PublicKey, type Signer } from '@caisson/tlog';
import { HOME } from '../harness.ts';
import { draft, problem, tempDir, ticking } from './given.ts';

const ROTATOR = fileURLToPath(import.meta.resolve('./rotator.ts'));
const STEPS = ['kept', 'recorded', 'published', 'told', 'destroyed', 'installed'];

const folder = (t: TestContext): string => join(tempDir(t), 'evidence');

async function write(dir: string, entries: number, signer?: Signer): Promise<void> {
  await using log = await openFileLog({ dir, now: ticking(), signer });
  const next = ((await log.head())?.index ?? -1) + 1;
  await Promise.all(Array.from({ length: entries }, (_, at) => log.append(draft('lifecycle', `sbx-${next + at}`))));
}

/** What an attacker has who took a copy of the key. */
const stolen = (dir: string): Signer => signerOf(parseSignerKey(readFileSync(`${dir}-key/log.key`, 'utf8')) ?? assert.fail('no key'));

async function edgeOf(dir: string): Promise<Edge> {
  let edge = EMPTY_EDGE;
  for await (const { hash } of readEntries(dir)) edge = grow(edge, Buffer.from(hash, 'hex'));
  return edge;
}

const python = (dir: string, key: PublicKey): { readonly status: number | null; readonly stdout: string } =>
  spawnSync('python3', [`${HOME}/verify/verify.py`, dir, '--key', formatVerifierKey(key)], { encoding: 'utf8' });

async function assertGood(dir: string, key: PublicKey, entries: number): Promise<void> {
  const { bad, entries: found } = await verifyLog(dir, { keys: [key] });
  assert.deepEqual([bad, found], [null, entries]);
  const second = python(dir, key);
  assert.equal(second.status, 0, second.stdout);
}

suite('a log whose key was replaced', () => {
  test('is good to whoever has any one of its keys, and to whoever has those beside it', async (t) => {
    const dir = folder(t);
    await write(dir, 300);
    const keys: PublicKey[] = [];
    for (let round = 0; round < 3; round++) {
      const { from, to } = await rotateKey({ dir, now: ticking() });
      keys.push(...(round === 0 ? [from, to] : [to]));
      await write(dir, 100);
    }
    for (const key of keys) await assertGood(dir, key, 603);
    assert.deepEqual((await publishedKeys(folderFetch(dir))).map(({ id }) => id), keys.toReversed().map(({ id }) => id));
    assert.equal(readFileSync(join(dir, 'log.vkey'), 'utf8'), `${formatVerifierKey(keys[3] as PublicKey)}\n`);
    const { bad, keys: said } = await verifyLog(dir);
    assert.deepEqual([bad, said], [null, keys.toReversed().map(formatVerifierKey)]);
    const head = openCheckpoint(readFileSync(join(dir, 'checkpoint')), { logKeys: keys });
    assert.deepEqual('bad' in head ? head.bad : head.note.signers, [keys[3]]);
  });

  test('keeps nothing of the old private key on its disk, and the new one is for its owner alone', async (t) => {
    const dir = folder(t);
    await write(dir, 2);
    const old = readFileSync(`${dir}-key/log.key`, 'utf8').trim();
    const inode = statSync(`${dir}-key/log.key`).ino;
    await rotateKey({ dir, now: ticking() });
    assert.deepEqual(readdirSync(`${dir}-key`), ['log.key']);
    const { mode, ino } = statSync(`${dir}-key/log.key`);
    assert.deepEqual([mode & 0o777, ino === inode], [0o600, false]);
    assert.ok(!readFileSync(`${dir}-key/log.key`, 'utf8').includes(old.slice(-30)));
  });

  test('is not rotated while a scribe writes in it, and has no key waiting then', async (t) => {
    const dir = folder(t);
    await using _ = await openFileLog({ dir, now: ticking() });
    await assert.rejects(rotateKey({ dir, now: ticking() }), problem('EVIDENCE_UNAVAILABLE', /another scribe/));
    assert.deepEqual(readdirSync(`${dir}-key`), ['log.key']);
  });

  test('cannot be one that was never written', async (t) => {
    await assert.rejects(rotateKey({ dir: folder(t), now: ticking() }), problem('EVIDENCE_UNAVAILABLE', /no key of a log/));
  });

  test('has the rotation among the alerts that somebody has to look at, now and after the next start', async (t) => {
    const dir = folder(t);
    const next = signerOf(generateKey((await logSigner(dir)).publicKey.name, SIGNATURE_TYPE.ed25519));
    const alertsOf = async (log: FileLog): Promise<readonly string[]> => (await log.alerts()).map(({ alert, severity }) => `${severity} ${alert}`);
    {
      await using log = await openFileLog({ dir, now: ticking() });
      await log.append(draft('lifecycle', 'sbx-1'));
      await log.rotate(next);
      assert.deepEqual(await alertsOf(log), ['info key-rotated']);
    }
    await using log = await openFileLog({ dir, now: ticking(), signer: next });
    assert.deepEqual(await alertsOf(log), ['info key-rotated']);
    assert.deepEqual((await verifyLog(dir, { keys: [next.publicKey] })).unread, { count: 1, first: 0 }); // the one before it has no body of its kind
  });

  test('tells a step of the clock before the rotation, in the same write, and both keys lead over it', async (t) => {
    const dir = folder(t);
    const old = (await logSigner(dir)).publicKey;
    const clock = { wall: 1_700_000_000_000, monotonic: 0 };
    const next = signerOf(generateKey(old.name, SIGNATURE_TYPE.ed25519));
    {
      await using log = await openFileLog({ dir, now: () => clock.wall, clocks: { monotonicMs: () => clock.monotonic, bootMs: () => clock.monotonic } });
      await log.append(draft('lifecycle', 'sbx-1'));
      clock.wall -= 3_600_000;
      await log.rotate(next);
      await log.append(draft('lifecycle', 'sbx-2'));
    }
    for (const key of [old, next.publicKey]) await assertGood(dir, key, 4);
  });

  test('takes no rotation as an entry from anybody but the scribe itself', async (t) => {
    const dir = folder(t);
    await using log = await openFileLog({ dir, now: ticking() });
    await assert.rejects(log.append({ kind: 'alert', source: 'scribe', subject: 'key.rotated', body: {} }), problem('REQUEST_INVALID', /only the scribe/));
  });

  test('starts from its signed state after a rotation as before, and a state that the old key signs later is not taken up', async (t) => {
    const dir = folder(t);
    await write(dir, 600);
    const old = stolen(dir);
    await rotateKey({ dir, now: ticking() });
    const before = readFileSync(join(dir, 'ledger'), 'utf8');
    {
      await using log = await openFileLog({ dir, now: ticking(), readWholeEntries: 10 });
      assert.equal(log.unread, 601);
    }
    const [, text = ''] = before.split('\n');
    const root = rootOf(await edgeOf(dir)).toString('hex');
    const hash = createHash('sha256').update(text).digest('hex');
    const note = await signNote(['caisson ledger v1', old.publicKey.name, '601', root, hash].map((line) => `${line}\n`).join(''), [old]);
    writeFileSync(join(dir, 'ledger'), `${JSON.stringify(note)}\n${text}\n`);
    await using log = await openFileLog({ dir, now: ticking(), readWholeEntries: 10 });
    assert.equal(log.unread, 0);
  });

  test('takes entries that arrive during the rotation before it or after it', async (t) => {
    const dir = folder(t);
    const first = await logSigner(dir);
    const next = signerOf(generateKey(first.publicKey.name, SIGNATURE_TYPE.ed25519));
    {
      await using log = await openFileLog({ dir, now: ticking(), signer: first });
      const append = (at: number): Promise<unknown> => log.append(draft('lifecycle', `sbx-${at}`));
      const turn = async (): Promise<Receipt> => {
        await append(800);
        return log.rotate(next);
      };
      const [receipt] = await Promise.all([turn(), ...Array.from({ length: 200 }, (_, at) => append(at))]);
      await append(900);
      assert.ok(receipt.index > 0);
      await assert.rejects(log.rotate(next), problem('REQUEST_INVALID'));
      await assert.rejects(log.rotate(signerOf(generateKey('another.log', SIGNATURE_TYPE.ed25519))), problem('REQUEST_INVALID'));
    }
    for (const { publicKey } of [first, next]) await assertGood(dir, publicKey, 203);
  });

  for (const step of STEPS) {
    test(`is whole when the rotation is killed once it has ${step}: the next start goes on, and both keys lead to its head`, async (t) => {
      const dir = folder(t);
      await write(dir, 260);
      const old = (await logSigner(dir)).publicKey;
      const rotator = spawn(process.execPath, [ROTATOR, dir, step], { stdio: ['ignore', 'inherit', 'inherit'] });
      assert.deepEqual(await once(rotator, 'exit'), [null, 'SIGKILL']);
      await write(dir, 5);
      const current = (await logSigner(dir)).publicKey;
      assert.equal(current.id === old.id, step === 'kept');
      for (const key of new Set([old, current])) await assertGood(dir, key, step === 'kept' ? 265 : 266);
      const { to } = await rotateKey({ dir, now: ticking() });
      await write(dir, 1);
      for (const key of [old, current, to]) await assertGood(dir, key, step === 'kept' ? 267 : 268);
      assert.deepEqual(readdirSync(`${dir}-key`), ['log.key']);
    });
  }
});

suite('whoever has a copy of a key that was replaced', () => {
  /** A log of 20 entries and a rotation, and the key from before. */
  async function rotated(t: TestContext): Promise<{ readonly dir: string; readonly old: Signer; readonly to: PublicKey }> {
    const dir = folder(t);
    await write(dir, 20);
    const old = stolen(dir);
    const { to } = await rotateKey({ dir, now: ticking() });
    return { dir, old, to };
  }

  async function assertBad(dir: string, keys: readonly PublicKey[]): Promise<void> {
    for (const key of keys) {
      assert.equal((await verifyLog(dir, { keys: [key] })).bad?.index, 20);
      assert.equal(python(dir, key).status, 1);
    }
    await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_DAMAGED'));
  }

  test('cannot open the log as its scribe', async (t) => {
    const { dir, old } = await rotated(t);
    await assert.rejects(openFileLog({ dir, now: ticking(), signer: old }), problem('EVIDENCE_UNAVAILABLE', /was replaced/));
  });

  test('cannot sign a head of it, to nobody', async (t) => {
    const { dir, old, to } = await rotated(t);
    const edge = await edgeOf(dir);
    writeFileSync(join(dir, 'checkpoint'), await signNote(formatCheckpoint({ origin: to.name, size: edge.size, root: rootOf(edge) }), [old]));
    await assertBad(dir, [old.publicKey, to]);
  });

  test('cannot add to its journal', async (t) => {
    const { dir, old, to } = await rotated(t);
    // A scribe of the attacker's own, that does not look at what the log says of its keys, writes the same form.
    const edge = await edgeOf(dir);
    const entry = Buffer.from(JSON.stringify({ body: {}, index: edge.size, kind: 'lifecycle', source: 'control', subject: 'forged', timeMs: 1 }));
    const after = grow(edge, leafHash(entry));
    const head = await signNote(formatCheckpoint({ origin: to.name, size: after.size, root: rootOf(after) }), [old]);
    const journal = join(dir, readdirSync(dir).find((name) => name.startsWith('journal-')) ?? '');
    writeFileSync(journal, `${readFileSync(journal, 'utf8')}${entry.toString()}\n${JSON.stringify(head)}\n`);
    for (const key of [old.publicKey, to]) assert.match((await verifyLog(dir, { keys: [key] })).bad?.reason ?? '', /no signature of a key that is trusted/);
    await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_DAMAGED', /entry 21/));
  });

  test('cannot hand on to a key of its own: with a fork from before the rotation, only the old key is deceived', async (t) => {
    const { old, to } = await rotated(t);
    const fork = join(tempDir(t), 'fork');
    await write(fork, 5, old);
    {
      await using log = await openFileLog({ dir: fork, now: ticking(), signer: old });
      await log.rotate(signerOf(generateKey(to.name, SIGNATURE_TYPE.ed25519)));
    }
    assert.equal((await verifyLog(fork, { keys: [old.publicKey] })).bad, null);
    assert.notEqual((await verifyLog(fork, { keys: [to] })).bad, null);
    assert.equal(python(fork, to).status, 1);
  });
});
