import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { cosign, formatSignature, formatVerifierKey, generateKey, parseNote, parseProof, SIGNATURE_TYPE, signerOf, type Note, type ProofFile } from '@caisson/tlog';
import { HOME } from '../harness.ts';
import { callsOf, headOf, newSigner, put, runProgram, tempFolder, writeLog, type Ended } from './given.ts';

const signer = newSigner();
const key = formatVerifierKey(signer.publicKey);
const witness = signerOf(generateKey('witness.example/w1', SIGNATURE_TYPE.cosignature));
const entries = callsOf(70_000);
const PROOF = 'entry.tlog-proof';

const audit = (...args: readonly string[]): Promise<Ended> => runProgram([`${HOME}/caisson`, 'audit', ...args]);

suite('a proof of an entry', () => {
  const folder = mkdtempSync(join(tmpdir(), 'caisson-verify-'));
  before(() => writeLog(folder, entries, signer));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const proofOf = async (index: number): Promise<string> => {
    const { status, stdout, stderr } = await audit('prove', String(index), '--dir', folder);
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  };
  const check = async (text: string, ...args: readonly string[]): Promise<Ended> => {
    put(folder, PROOF, text);
    return audit('check-proof', join(folder, PROOF), '--key', key, ...args);
  };

  test('shows the entry to who has nothing but the key of the log', async () => {
    for (const index of [0, 255, 256, 65_536, 69_999]) {
      const { status, stdout } = await check(await proofOf(index));
      assert.equal(status, 0);
      assert.equal(stdout, `${(entries[index] as Buffer).toString()}\n`);
    }
  });

  test('that was changed anywhere is refused with 1', async () => {
    const good = await proofOf(300);
    const { extra, hashes } = parseProof(good) as ProofFile;
    const swap = (from: string, to: string): string => good.replace(from, to);
    const [first, second] = hashes.map((hash) => hash.toString('base64')) as [string, string];
    const forged = Buffer.from((extra as Buffer).toString().replace('"exit":300', '"exit":301'));
    const changed = [
      swap('index 300', 'index 301'), swap('index 300', 'index 0300'), swap((extra as Buffer).toString('base64'), forged.toString('base64')), swap(/^extra .*\n/m.exec(good)?.[0] as string, ''),
      swap(`${first}\n`, ''), swap(first, second), swap('\n70000\n', '\n69999\n'), swap('tlog-proof@v1', 'tlog-proof@v2'), `${good}x`, '',
    ];
    for (const text of changed) {
      const { status, stdout } = await check(text);
      assert.match(stdout, /^bad: /);
      assert.equal(status, 1, text.slice(0, 80));
    }
  });

  test('is refused by who has another key, or misses a witness', async () => {
    const text = await proofOf(7);
    put(folder, PROOF, text);
    assert.equal((await audit('check-proof', join(folder, PROOF), '--key', formatVerifierKey(newSigner().publicKey))).status, 1);
    const alone = await check(text, '--witness', formatVerifierKey(witness.publicKey));
    assert.match(alone.stdout, /^bad: .*the witness witness\.example\/w1 has not signed/);
    assert.equal(alone.status, 1);
    const line = formatSignature(await cosign((parseNote(Buffer.from(await headOf(entries, signer))) as Note).text, witness, 1_700_000_000_000));
    const seen = await check(text + line, '--witness', formatVerifierKey(witness.publicKey));
    assert.equal(seen.status, 0, seen.stdout);
    assert.match(seen.stderr, /seen by witness\.example\/w1 at 2023-11-14T22:13:20\.000Z/);
  });

  test('is asked of what is not there with 2', async () => {
    for (const args of [['prove', '70000', '--dir', folder], ['prove', '1.5', '--dir', folder], ['check-proof', `${folder}/none`, '--key', key], ['check-proof', `${folder}/checkpoint`, '--key', 'none']]) {
      assert.equal((await audit(...args)).status, 2, args.join(' '));
    }
  });

  test('is not made from a log whose tile or entry was changed', async (t) => {
    const small = tempFolder(t);
    await writeLog(small, entries.slice(0, 300), signer);
    const tile = readFileSync(join(small, 'tile/0/001.p/44'));
    put(small, 'tile/0/001.p/44', Buffer.alloc(tile.length));
    const { status, stdout } = await audit('prove', '270', '--dir', small);
    assert.match(stdout, /^bad: entry 270: /);
    assert.equal(status, 1);
    rmSync(join(small, 'tile/0/001.p/44'));
    assert.match((await audit('prove', '270', '--dir', small)).stdout, /^bad: tile\/0\/001\.p\/44 is missing/);
  });
});
