import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { sharedInstance } from './given.ts';
import { cycles, quietHolding } from './stay-cycles.ts';

const CYCLES = Number(process.env['CAISSON_CYCLES'] ?? 60);
/** Most that a daemon may grow: what a collector leaves lying and what is remembered of ended sandboxes, no leak per cycle. */
const GROWTH_KIB = 48 * 1024;
/** Records of ended sandboxes and the log are outside the pool: in it nothing may stay but what a file system keeps for itself. */
const GROWTH_BYTES = 4 * 2 ** 20;

const instance = sharedInstance();

test(`${CYCLES} cycles of create, exec and close leave memory, descriptors, mounts, cgroups, loop devices and disk where they were`, { skip: IS_ROOT ? false : NEEDS_ROOT, timeout: 280_000 }, async () => {
  const caisson = await instance();
  const connection = { socket: caisson.paths.apiSocket };
  await cycles(connection, 20);
  const before = await quietHolding(caisson);
  await cycles(connection, CYCLES);
  const after = await quietHolding(caisson);
  assert.deepEqual(after.left, []);
  const said = JSON.stringify({ before, after });
  for (const [name, count] of Object.entries(after.descriptors)) assert.ok(count <= (before.descriptors[name] ?? 0) + 12, said);
  assert.ok(after.mounts <= before.mounts + 1 && after.images <= before.images + 1, said);
  assert.ok(after.poolBytes <= before.poolBytes + GROWTH_BYTES, said);
  for (const [name, kib] of Object.entries(after.memoryKib)) assert.ok(kib < (before.memoryKib[name] ?? 0) + GROWTH_KIB, said);
});
