import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { openFileLog } from '@caisson/evidence';
import { HOME } from '../harness.ts';
import { runProgram, tempFolder } from './given.ts';

const made = spawnSync(`${HOME}/tools/fsck.sh`, { env: { ...process.env, CAISSON_HOME: HOME }, encoding: 'utf8' });
const fsck = made.status === 0 ? made.stdout.trim() : null;

suite('a folder that the scribe has written', () => {
  test('is good to every reader that is not ours, at every size at which it was published', async (t) => {
    const folder = join(tempFolder(t), 'evidence');
    let size = 0;
    for (const more of [1, 2, 252, 1, 1, 300, 40_000]) {
      {
        await using log = await openFileLog({ dir: folder, now: Date.now });
        const subjects = Array.from({ length: more }, (_, at) => `sbx-${size + at}`);
        await Promise.all(subjects.map((subject) => log.append({ kind: 'lifecycle', source: 'control', subject, body: { event: 'é — "x"' } })));
      }
      size += more;
      const python = await runProgram(['python3', `${HOME}/verify/verify.py`, folder, '--key', join(folder, 'log.vkey')]);
      assert.equal(python.status, 0, `${size}: ${python.stdout}${python.stderr}`);
      if (fsck === null) continue;
      const go = await runProgram(['timeout', '20', fsck, '--ui=false', '-N=8', `--storage_url=file://${folder}/`, `--public_key=${join(folder, 'log.vkey')}`]);
      assert.match(go.stderr, new RegExp(`Successfully fsck'd log with size ${size} `));
    }
    if (fsck === null) t.diagnostic(`the fsck of transparency-dev/tessera was not asked: ${made.stderr.trim()}`);
  });
});
