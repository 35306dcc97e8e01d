import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { openFileLog, rotateKey } from '@caisson/evidence';
import { HOME } from '../harness.ts';
import { callsOf, headOf, newSigner, put, runProgram, tempFolder, writeLog } from './given.ts';

const built = mkdtempSync(join(tmpdir(), 'caisson-sumdb-'));
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/go/bin`, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly', GOWORK: 'off' };
const made = spawnSync('go', ['build', '-C', `${HOME}/test/verify/sumdb`, '-o', join(built, 'sumdb'), '.'], { env, encoding: 'utf8' });
const skip = made.status === 0 ? false : `Go is not installed, or cannot build it: ${made.error?.message ?? made.stderr.split('\n', 1)[0]}`;
const signer = newSigner();

suite('the code of the Go checksum database', { skip }, () => {
  after(() => rmSync(built, { recursive: true, force: true }));

  for (const [size, index, older] of [[1, 0, 1], [256, 255, 255], [257, 256, 256], [70_000, 65_535, 300]] as const) {
    test(`finds entry ${index} in a log of ${size}, and that one of ${older} begins it`, async (t) => {
      const folder = tempFolder(t);
      const entries = callsOf(size);
      await writeLog(folder, entries, signer);
      put(folder, 'older', await headOf(entries.slice(0, older), signer));
      const { status, stdout, stderr } = await runProgram([join(built, 'sumdb'), folder, String(index), join(folder, 'older')]);
      assert.equal(stdout, 'good\n', stderr);
      assert.equal(status, 0);
    });
  }

  test('reads a log whose key was replaced by its new key, from heads that this key has signed', async (t) => {
    const folder = tempFolder(t);
    const add = async (count: number): Promise<void> => {
      await using log = await openFileLog({ dir: folder, now: Date.now });
      for (let index = 0; index < count; index++) await log.append({ kind: 'lifecycle', source: 'control', subject: 'sbx-1', body: { event: 'x' } });
    };
    await add(20);
    put(folder, 'before', readFileSync(join(folder, 'checkpoint')));
    await rotateKey({ dir: folder, now: Date.now });
    put(folder, 'after', readFileSync(join(folder, 'checkpoint')));
    await add(300);
    for (const index of ['3', '20', '310']) assert.equal((await runProgram([join(built, 'sumdb'), folder, index, join(folder, 'after')])).stdout, 'good\n', index);
    assert.equal((await runProgram([join(built, 'sumdb'), folder, '3', join(folder, 'before')])).status, 1, 'a head of the old key is none to who has the new one alone');
  });

  test('refuses a log whose entry or tile was changed, and one that an older head does not begin', async (t) => {
    const folder = tempFolder(t);
    const entries = callsOf(300);
    const refuses = async (what: string): Promise<void> => assert.equal((await runProgram([join(built, 'sumdb'), folder, '0', join(folder, 'older')])).status, 1, what);
    for (const path of ['tile/entries/000', 'tile/0/000']) {
      await writeLog(folder, entries, signer);
      put(folder, 'older', await headOf(entries.slice(0, 200), signer));
      const bytes = readFileSync(join(folder, path));
      bytes[20] = (bytes[20] as number) ^ 1;
      put(folder, path, bytes);
      await refuses(path);
    }
    await writeLog(folder, entries, signer);
    put(folder, 'older', await headOf(entries.slice(1, 200), signer));
    await refuses('an older head of another log');
  });
});
