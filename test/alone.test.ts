import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { IS_ROOT, NEEDS_ROOT, startCaisson } from './harness.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const PLACES = '/workspace /tmp /dev/shm /var/tmp /run';

test('a sandbox finds nothing of the one before it', { skip }, async () => {
  await using caisson = await startCaisson();
  const writes = await caisson.run({ argv: ['sh', '-c', `for place in ${PLACES}; do echo mine >$place/left; done 2>/dev/null; cat /workspace/left /tmp/left`] });
  assert.equal(writes.stdout.toString(), 'mine\nmine\n');
  const finds = await caisson.run({ argv: ['sh', '-c', `ls ${PLACES}`] });
  assert.doesNotMatch(finds.stdout.toString(), /left/);
  assert.notEqual(finds.result.id, writes.result.id);
});

test('two sandboxes at once have different uids on the host, and neither sees the other', { skip }, async () => {
  await using caisson = await startCaisson();
  const script = `for place in ${PLACES}; do echo mine >$place/left; done 2>/dev/null; sleep 1; cat /proc/self/uid_map; ls /proc; hostname`;
  const first = caisson.run({ argv: ['sh', '-c', script] });
  await delay(400);
  const second = await caisson.run({ argv: ['sh', '-c', `ls ${PLACES}; cat /proc/self/uid_map; ls /proc | grep -c '^[0-9]'`] });
  const { stdout } = await first;
  const hostUid = (text: string): string | undefined => /^\s*1000\s+(\d+)\s+1$/m.exec(text)?.[1];
  assert.ok(hostUid(stdout.toString()), stdout.toString());
  assert.notEqual(hostUid(stdout.toString()), hostUid(second.stdout.toString()));
  assert.notEqual(hostUid(second.stdout.toString()), '1000');
  assert.doesNotMatch(second.stdout.toString(), /left/);
});
