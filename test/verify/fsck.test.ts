import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { HOME } from '../harness.ts';
import { callsOf, newSigner, put, runProgram, tempFolder, writeLog, type Ended } from './given.ts';

const made = spawnSync(`${HOME}/tools/fsck.sh`, { env: { ...process.env, CAISSON_HOME: HOME }, encoding: 'utf8' });
const fsck = made.stdout.trim();
const skip = made.status === 0 ? false : made.stderr.trim();
/** At the first resource that is bad some versions wait for workers that have ended: what has not said yes by then has said no. */
const WAIT_SECONDS = 5;

const ask = (folder: string, waitSeconds = WAIT_SECONDS): Promise<Ended> =>
  runProgram(['timeout', `${waitSeconds}`, fsck, '--ui=false', '-N=8', `--storage_url=file://${folder}/`, `--public_key=${join(folder, 'log.vkey')}`]);

suite('the fsck of transparency-dev/tessera', { skip }, () => {
  for (const size of [1, 256, 257, 70_000]) {
    test(`accepts a log of ${size} entries as it is`, async (t) => {
      const folder = tempFolder(t);
      await writeLog(folder, callsOf(size), newSigner());
      const { stderr } = await ask(folder, 60);
      assert.match(stderr, new RegExp(`Successfully fsck'd log with size ${size} `));
      assert.doesNotMatch(stderr, /fsck failed/);
    });
  }

  for (const path of ['tile/entries/000', 'tile/entries/001.p/44', 'tile/0/000', 'tile/0/001.p/44', 'tile/1/000.p/1', 'checkpoint']) {
    test(`refuses a log of which a byte of ${path} was changed`, async (t) => {
      const folder = tempFolder(t);
      await writeLog(folder, callsOf(300), newSigner());
      const bytes = readFileSync(join(folder, path));
      bytes[30] = (bytes[30] as number) ^ 1;
      put(folder, path, bytes);
      const { stderr } = await ask(folder);
      assert.match(stderr, /^[EF]\d{4} /m);
      assert.doesNotMatch(stderr, /Successfully/);
    });
  }
});
