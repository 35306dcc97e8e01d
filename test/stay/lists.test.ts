import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { allPages, page } from '@caisson/daemon';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { ground } from './given.ts';

const { sandbox } = ground();
/** Longest payload of a frame between two processes. */
const FRAME_BYTES = 4 * 1024 * 1024;

test('a list of any length is told whole, each item once, in replies that a frame can hold', async () => {
  const items = fc.uniqueArray(fc.record({ id: fc.string({ minLength: 1, maxLength: 8 }), label: fc.nat(400_000).map((length) => '\u0001'.repeat(length / 6)) }), { maxLength: 60, selector: ({ id }) => id });
  await fc.assert(
    fc.asyncProperty(items, async (all) => {
      const told = await allPages(async (after) => {
        const reply = page(all, ({ id }) => id, after);
        assert.ok(Buffer.byteLength(JSON.stringify(reply)) < FRAME_BYTES / 2);
        return reply;
      });
      assert.deepEqual(told.map(({ id }) => id).toSorted(), all.map(({ id }) => id).toSorted());
    }),
    { numRuns: 20 },
  );
});

test('an agent that makes many files with long names makes the list of its changes short, and not unreadable', { skip: IS_ROOT ? false : NEEDS_ROOT, timeout: 120_000 }, async () => {
  await using box = await sandbox();
  const { id } = await box.snapshot();
  const { exit } = await box.sh('python3 -c "import os\nfor i in range(24000): open(str(i).zfill(8) + chr(1) * 200, chr(119)).close()"');
  assert.equal(exit, 0);
  const { changes, truncated } = await box.changes({ from: id, limit: 100_000 });
  assert.equal(truncated, true);
  assert.ok(changes.length > 1_000);
});
