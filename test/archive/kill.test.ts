import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Archiver, fetchFromDirectory } from '@caisson/archive';
import { assertWhole, openS3 } from './given.ts';
import { makeLog } from './log.ts';
import { s3Python, startS3 } from './server.ts';

const python = s3Python();
const skip = 'missing' in python ? python.missing : false;
const KILLS = 50;

test(`an archiver that is killed ${KILLS} times at random points and then runs once leaves in the store what is published, byte for byte`, { skip }, async () => {
  assert.ok('python' in python);
  await using s3 = await startS3(python.python);
  using log = makeLog();
  const prefix = 'kill/';
  let [size, cut] = [0, 0];
  for (let kill = 0; kill < KILLS; kill += 1) {
    await log.grow((size += 1 + ((kill * 37) % 150)));
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `${import.meta.dirname}/follow.ts`, log.dir, s3.endpoint, prefix], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    let said = '';
    child.stdout.on('data', (text: Buffer) => (said += text.toString()));
    await once(child.stdout, 'data');
    await delay(Math.random() * 60);
    child.kill('SIGKILL');
    await ended;
    if (!said.includes(`current ${size}`)) cut += 1;
  }
  assert.ok(cut >= 5, `only ${cut} were in the middle of it`);
  await log.grow(size + 1);
  const store = await openS3(s3.endpoint, { prefix });
  await using archiver = await Archiver.open({ store, local: fetchFromDirectory(log.dir), dir: log.archive, everyMs: 50, nowMs: Date.now, random: Math.random });
  const untilMs = Date.now() + 15_000;
  const isWhole = (): boolean => archiver.status.state === 'current' && archiver.status.storedEntries === size + 1;
  while (!isWhole() && Date.now() < untilMs) await delay(20);
  assert.deepEqual([archiver.status.state, archiver.status.storedEntries], ['current', size + 1]);
  await assertWhole(store, log);
});
