import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { settledLeftovers } from '../faults/leftovers.ts';
import { IS_ROOT, NEEDS_ROOT, type Caisson } from '../harness.ts';
import { leastOf } from '../least.ts';
import { atEachLevel, lines, python, sharedInstance } from './given.ts';

const instance = sharedInstance();

const FORK_UNTIL_REFUSED = `
import errno, os, time
n = 0
while True:
  try:
    if os.fork() == 0: time.sleep(30)
    n += 1
  except OSError as error:
    print(n, errno.errorcode[error.errno])
    break
`;

atEachLevel(instance, 'beyond the limit of processes a fork fails with EAGAIN', async (run) => {
  const ran = await run({ argv: python(FORK_UNTIL_REFUSED), limits: { pids: 20 } });
  const [forks, error] = (lines(ran)[0] ?? '').split(' ');
  assert.equal(ran.result.exit, 0);
  assert.equal(error, 'EAGAIN');
  assert.ok(Number(forks) >= 10 && Number(forks) < 20, `${forks} forks`);
});

atEachLevel(instance, 'processes in the background do not keep a call alive, and are dead when it is over', async (run, caisson) => {
  const tookMs = await leastOf(5_000, async () => {
    const start = performance.now();
    const ran = await run({ argv: ['sh', '-c', '(setsid sh -c "trap \\"\\" HUP TERM; sleep 300" &); sleep 300 & echo done'] });
    assert.deepEqual([ran.result.exit, lines(ran)], [0, ['done']]);
    return performance.now() - start;
  });
  assert.ok(tookMs < 5_000, `${tookMs} ms`);
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});

atEachLevel(instance, 'open files are limited per process', async (run) => {
  const ran = await run({
    argv: python('import errno\nl = []\ntry:\n  while True: l.append(open("/dev/null"))\nexcept OSError as error: print(len(l) + 3, errno.errorcode[error.errno])'),
    limits: { openFiles: 64 },
  });
  assert.deepEqual(lines(ran), ['64 EMFILE']);
});

const FORK_BOMB = `
import os
while True:
  try: os.fork()
  except OSError: pass
`;

const CHUNK = 'import time\ndef chunk():\n  start = time.perf_counter()\n  for i in range(400000): i * i\n  return time.perf_counter() - start\n';
/** Prints the median time of a fixed piece of work, in seconds. */
const SPEED = `${CHUNK}\nprint(sorted(chunk() for _ in range(31))[15])`;

async function chunkSeconds(caisson: Caisson): Promise<number> {
  return Number(lines(await caisson.run({ argv: python(SPEED) }))[0]);
}

test('a fork bomb ends inside its limits, and a neighbour keeps at least 80% of its speed', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const caisson = await instance();
  const kept: number[] = [];
  const usedMs: number[] = [];
  // Whatever else this machine does can only make the neighbour look slower and the bomb last longer, so one clean measurement of each is enough.
  while (kept.length < 8 && (Math.max(0, ...kept) < 0.8 || Math.min(...usedMs) > 4_000 * 1.25)) {
    const alone = await chunkSeconds(caisson);
    const bomb = caisson.run({ argv: python(FORK_BOMB), limits: { wallMs: 4_000, cpuMs: 60_000 } });
    await delay(500);
    const beside = await chunkSeconds(caisson);
    kept.push(alone / beside);
    const { result } = await bomb;
    assert.deepEqual(result.ending, { kind: 'timed-out', limit: 'wall', limitMs: 4_000 });
    assert.ok((result.usage.pidsPeak ?? 0) <= 50, `${result.usage.pidsPeak} processes`);
    usedMs.push(result.usage.cpuMs ?? 0);
  }
  assert.ok(Math.min(...usedMs) <= 4_000 * 1.25, `one core, not two: ${usedMs.join(', ')} ms`);
  assert.ok(Math.max(...kept) >= 0.8, `kept ${kept.map((share) => share.toFixed(2)).join(', ')}`);
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});

test('a shell\'s fork bomb is gone when its call is over', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const caisson = await instance();
  const { result } = await caisson.run({ argv: ['bash', '-c', ':(){ :|:& };:; sleep 0.5'], limits: { wallMs: 5_000 } });
  assert.notEqual(result.exit, 'unknown');
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});
