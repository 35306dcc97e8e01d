import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Sandbox } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

const AS_ROOT = { skip: IS_ROOT ? false : NEEDS_ROOT };

/** Kills control and resolves when another answers. */
async function replaceControl(caisson: Caisson, sandbox: string): Promise<void> {
  const before = (await caisson.status()).processes.find(({ name }) => name === 'control');
  assert.ok(before?.pid);
  process.kill(before.pid, 'SIGKILL');
  for (let waitedMs = 0; ; waitedMs += 50) {
    const now = (await caisson.status()).processes.find(({ name }) => name === 'control');
    if (now?.pid && now.pid !== before.pid && await Sandbox.connect(sandbox, { connection: { socket: caisson.paths.apiSocket } }).then(() => true, () => false)) return;
    assert.ok(waitedMs < 15_000, 'control is back');
    await delay(50);
  }
}

test('a sandbox that went on from memory and was restored since is found again by the next control', { ...AS_ROOT, timeout: 120_000 }, async (t) => {
  await using caisson = await startCaisson();
  if (!(await caisson.levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  const connection = { socket: caisson.paths.apiSocket };
  const first = await Sandbox.create({ level: 'gvisor' }, { connection });
  const saved = await first.snapshot({ memory: true });
  const second = await Sandbox.create({ level: 'gvisor', from: saved.id, memory: true }, { connection });
  await second.restore(saved.id);
  await replaceControl(caisson, second.id);
  assert.equal((await second.info()).state, 'running');
  assert.equal((await second.sh('echo works')).stdout, 'works\n');
});

test('what is noted of all sandboxes is more than one frame can hold, and control that was killed still finds them all', AS_ROOT, async () => {
  await using caisson = await startCaisson();
  const connection = { socket: caisson.paths.apiSocket };
  const env = Object.fromEntries(Array.from({ length: 7 }, (_, n) => [`LONG_${n}`, 'x'.repeat(130_000)]));
  const boxes = await Promise.all(Array.from({ length: 6 }, () => Sandbox.create({ env }, { connection })));
  await replaceControl(caisson, boxes[0]?.id ?? '');
  for (const { id } of boxes) {
    const box = await Sandbox.connect(id, { connection });
    assert.equal((await box.info()).state, 'running');
    await box.close();
  }
});
