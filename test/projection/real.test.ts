import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { auditView, emptyState, foldAll, PointerCheck } from '@caisson/projection';
import { Sandbox, Snapshots } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson } from '../harness.ts';

test('every entry that an instance writes is understood, its pointers hold and its state is what was done', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using caisson = await startCaisson();
  const connection = { socket: caisson.paths.apiSocket };
  const entries = async (): Promise<readonly Entry[]> => {
    const read: Entry[] = [];
    for await (const { entry } of readEntries(caisson.paths.evidence)) read.push(entry);
    return read;
  };
  await caisson.run({ argv: ['true'] });
  await caisson.run({ argv: ['true'], level: 'container', limits: { pids: 1_000_000 } }).catch(() => undefined);
  {
    await using box = await Sandbox.create({ network: { rules: [{ host: 'localhost', port: 80 }] } }, { connection });
    await box.exec(['sh', '-c', 'getent hosts evil.example']);
    await box.pause();
    const paused = foldAll(emptyState(), await entries());
    assert.deepEqual([...paused.sandboxes.values()].map(({ id, state, what }) => [id, state, what]), [[box.id, 'paused', 'sandbox']]);
    await box.resume();
    const { id } = await box.snapshot();
    assert.equal(foldAll(emptyState(), await entries()).snapshots.get(id)?.sandbox, box.id);
    await box.restore(id);
    await box.exec(['true']);
    await Snapshots.remove(id, { connection });
    await assert.rejects(box.exec(['true'], { outputBytes: 2 ** 40 }));
  }
  const all = await entries();
  const { agents, sandboxes, open, snapshots, unread, misfits } = foldAll(emptyState(), all);
  assert.deepEqual([unread, misfits, sandboxes.size, open.size, snapshots.size], [0, [], 0, 0, 0]);
  const { sandboxes: made, execs, denials } = agents.get('operator') ?? assert.fail();
  assert.deepEqual({ made, execs, denials: denials > 0 }, { made: 1, execs: 3, denials: true });
  const check = new PointerCheck();
  assert.deepEqual(all.flatMap((entry) => check.check(entry)), []);
  assert.equal(check.unread, 0);
  assert.equal(all.map((entry) => auditView(entry)).filter((record) => record !== null && !record.allowed).length, denials);
});
