import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { formatVerifierKey } from '@caisson/tlog';
import { askWitness } from '@caisson/witness';
import { HOME } from '../harness.ts';
import { put, runProgram, tempFolder } from '../verify/given.ts';
import { fetchFor, head, makeWitness, newLog, ORIGIN, serveWitness } from './given.ts';

const built = mkdtempSync(join(tmpdir(), 'caisson-witness-go-'));
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/go/bin`, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly', GOWORK: 'off' };
const made = spawnSync('go', ['build', '-C', `${HOME}/test/witness/go`, '-o', join(built, 'witness'), '.'], { env, encoding: 'utf8' });
const skip = made.status === 0 ? false : `Go is not installed, or cannot build it: ${made.error?.message ?? made.stderr.split('\n', 1)[0]}`;

suite('the note and cosignature code of Go', { skip }, () => {
  after(() => rmSync(built, { recursive: true, force: true }));

  test('opens a checkpoint that a witness has cosigned, and none that it has not', async (t) => {
    const log = newLog(300);
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    const checkpoint = await head(log);
    const answer = await askWitness({ url, publicKey: witness.key, timeoutMs: 5_000 }, { fetch: fetchFor(log), checkpoint });
    assert.ok('line' in answer, JSON.stringify(answer));
    const folder = tempFolder(t);
    const opened = async (bytes: Buffer): ReturnType<typeof runProgram> => {
      put(folder, 'checkpoint', bytes);
      return runProgram([join(built, 'witness'), join(folder, 'checkpoint'), ORIGIN, formatVerifierKey(log.signer.publicKey), formatVerifierKey(witness.key)]);
    };
    const good = await opened(Buffer.concat([checkpoint, Buffer.from(answer.line)]));
    assert.equal(good.stdout, `300 ${answer.timeMs / 1000}\n`, good.stderr);
    assert.equal((await opened(checkpoint)).status, 1);
    const other = newLog(301, log.signer);
    assert.equal((await opened(Buffer.concat([await head(other), Buffer.from(answer.line)]))).status, 1);
  });
});
