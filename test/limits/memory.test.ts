import assert from 'node:assert/strict';
import { MIB } from '@caisson/contract';
import { atEachLevel, lines, python, sharedInstance } from './given.ts';

const instance = sharedInstance();

/** The kernel lets a process that it has chosen to kill pass the limit by some pages, so that it can end. */
const DYING_BYTES = 256 * 1024;

atEachLevel(instance, 'allocating 1 GB exits 137 with the reason', async (run) => {
  const { result } = await run({ argv: python('x = bytearray(10 ** 9)') });
  assert.equal(result.exit, 137);
  assert.deepEqual(result.ending, { kind: 'out-of-memory', limitBytes: 512 * MIB });
  assert.equal(result.reason, 'the command was killed: it needed more than its 512 MiB of memory');
  assert.ok((result.usage.oomKills ?? 0) > 0);
  assert.ok((result.usage.memoryPeakBytes ?? 0) <= 512 * MIB + DYING_BYTES);
});

atEachLevel(instance, 'files are memory: tmpfs of all places together cannot pass the limit', async (run) => {
  const { result } = await run({
    argv: ['sh', '-c', 'for f in /workspace/f /tmp/f /dev/shm/f; do head -c 200M /dev/zero > $f; done; echo survived'],
    limits: { memoryBytes: 64 * MIB, workspaceBytes: 256 * MIB, tmpBytes: 256 * MIB },
  });
  assert.equal(result.exit, 137);
  assert.ok((result.usage.memoryPeakBytes ?? 0) <= 64 * MIB + DYING_BYTES);
});

atEachLevel(instance, 'a child that is killed for memory does not take its parent\'s own exit status away', async (run) => {
  const ran = await run({ argv: ['sh', '-c', 'python3 -c "x = bytearray(10 ** 9)" || echo survived; exit 4'], limits: { memoryBytes: 64 * MIB } });
  assert.deepEqual([ran.result.exit, lines(ran).at(-1)], [4, 'survived']);
}, ['container']);

atEachLevel(instance, 'memory within the limit is there to be used', async (run) => {
  const ran = await run({ argv: python('x = bytearray(300 * 2 ** 20); print(len(x))') });
  assert.deepEqual([ran.result.exit, lines(ran)], [0, [String(300 * MIB)]]);
});
