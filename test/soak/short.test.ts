import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IS_ROOT, NEEDS_ROOT, startCaisson } from '../harness.ts';
import { soak } from './soak.ts';

test('300 random operations with random kills leave the model and the instance equal', { skip: IS_ROOT ? false : NEEDS_ROOT, timeout: 280_000 }, async (t) => {
  const seed = Number(process.env['CAISSON_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  await using caisson = await startCaisson();
  const { mismatch, last, ...counted } = await soak(caisson, { seed, operations: 300, sandboxes: 12, kills: 0.08, say: (line) => t.diagnostic(line) });
  t.diagnostic(JSON.stringify(counted));
  assert.equal(mismatch, null, [`seed ${seed}`, ...last, mismatch].join('\n'));
});
