import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Sandbox } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { ground } from './given.ts';

const { connection, levels, sandbox } = ground();
const skip = IS_ROOT ? false : NEEDS_ROOT;

/** Counts in memory and says where it is, and where it runs. */
const COUNTER = 'import time, socket, os\nn = 0\nopen("started", "w").close()\nwhile True:\n    n += 1\n    print(n, socket.gethostname(), os.getrandom(8).hex(), flush=True)\n    time.sleep(0.02)';

async function firstLines(process: { readonly stdout: AsyncIterable<string> }, count: number): Promise<readonly string[][]> {
  let text = '';
  for await (const chunk of process.stdout) {
    text += chunk;
    if (text.split('\n').length > count) break;
  }
  return text.split('\n').slice(0, count).map((line) => line.trim().split(' '));
}

test('running processes are forked at level gvisor: they go on from where they were, elsewhere and with fresh randomness', { skip, timeout: 120_000 }, async (t) => {
  if (!(await levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  await using box = await sandbox({ level: 'gvisor' });
  const counter = await box.spawn(['python3', '-uc', COUNTER]);
  const before = await firstLines(counter, 10);
  await using fork = await box.fork({ memory: true });
  const [going] = await fork.execs();
  assert.ok(going !== undefined && going.id !== counter.id, 'the command goes on as another exec');
  const after = await firstLines(await fork.attach(going.id), 10);
  const [first = 0] = after.map(([n]) => Number(n));
  assert.ok(first > before.length, `it counts on from ${before.length} and more, not from ${first}`);
  assert.deepEqual(after.map(([n]) => Number(n)), after.map((_, index) => first + index), 'without a gap');
  const elsewhere = (await firstLines(await fork.attach(going.id), 200)).findLast(([, host]) => host === fork.id);
  assert.ok(elsewhere !== undefined, 'its host name says that it was forked');
  assert.equal((await fork.sh('ls started')).stdout, 'started\n');
  await delay(100);
  assert.equal((await box.execs())[0]?.state, 'running', 'the original goes on');
});

test('a snapshot with memory starts as many sandboxes as are asked for, also when its own is gone', { skip, timeout: 120_000 }, async (t) => {
  if (!(await levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  const box = await sandbox({ level: 'gvisor' });
  await box.spawn(['python3', '-uc', COUNTER]);
  await delay(500);
  const snapshot = await box.snapshot({ memory: true });
  assert.equal(snapshot.memory, true);
  await box.close();
  for (let n = 0; n < 2; n++) {
    await using again = await Sandbox.create({ level: 'gvisor', from: snapshot.id, memory: true }, { connection: await connection() });
    const [going] = await again.execs();
    assert.equal(going?.state, 'running');
  }
});

test('CHECKPOINT_UNAVAILABLE: memory cannot be saved at level container, and the sandbox goes on', { skip }, async () => {
  await using box = await sandbox({ level: 'container' });
  await assert.rejects(box.snapshot({ memory: true }), { code: 'CHECKPOINT_UNAVAILABLE' });
  assert.equal((await box.sh('echo on')).stdout, 'on\n');
});
