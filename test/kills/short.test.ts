import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IS_ROOT, NEEDS_ROOT, startCaisson } from '../harness.ts';
import { kills } from './kills.ts';

test('kill -9 of scribe, control or launcher between intent, effect and outcome: no effect without an intent, none lost or doubled, and one state however the log is folded', { skip: IS_ROOT ? false : NEEDS_ROOT, timeout: 180_000 }, async (t) => {
  const seed = Number(process.env['CAISSON_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  await using caisson = await startCaisson();
  const { wrong, ...summary } = await kills(caisson, { seed, kills: 30, mostMs: 45_000, say: (line) => t.diagnostic(line) });
  t.diagnostic(JSON.stringify(summary));
  assert.deepEqual(wrong, [], `seed ${seed}`);
  assert.ok((summary.counted['exited, with its effect'] ?? 0) > 0);
});
