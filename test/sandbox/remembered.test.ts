import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ASKING, readAll, stage, type Stage } from './stay-given.ts';

const CYCLES = 250; // fewer than the launcher remembers
/** A record of how it was asked for and ended, of its one command the same, and for each what the other side notes of it. */
const MOST_BYTES = 16 * 1024;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

async function liveBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collect();
    await new Promise((done) => setImmediate(done));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function cycle(on: Stage, env: Readonly<Record<string, string>>): Promise<{ readonly box: string; readonly exec: string }> {
  const { id: box } = await on.sandboxes.create({ env }, ASKING);
  const { id: exec } = await on.sandboxes.exec(box, { argv: ['print'], env }, { ...ASKING, key: `${box} key` });
  await readAll(on.sandboxes, box, exec);
  await on.sandboxes.close(box, ASKING);
  on.log.entries.length = 0; // the log is on a disk elsewhere
  on.doubts.length = 0;
  return { box, exec };
}

test('what is remembered of a sandbox that has ended is little, whatever it was asked for and has printed, and its output can still be read', async () => {
  const text = 'x'.repeat(20_000);
  await using on = await stage({ print: Array.from({ length: 5 }, () => ({ stream: 'stdout' as const, text })) }); // a part goes to a file at once
  const env = { SETTING: 'y'.repeat(10_000) };
  for (let n = 0; n < 50; n++) await cycle(on, env);
  const before = await liveBytes();
  let last = { box: '', exec: '' };
  for (let n = 50; n < CYCLES; n++) last = await cycle(on, env);
  const each = ((await liveBytes()) - before) / (CYCLES - 50);
  assert.ok(each < MOST_BYTES, `${Math.round(each)} bytes for each`);
  assert.equal((await readAll(on.sandboxes, last.box, last.exec)).text, text.repeat(5));
  assert.equal(on.sandboxes.get(last.box).state, 'closed');
});
