import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openFileLog, readEntries, verifyLog, type Disk } from '@caisson/evidence';
import { failing, watched, type Faults } from './faulty-disk.ts';
import { draft, logPath, problem, tempDir, ticking } from './given.ts';

test('an append resolves only after a write and a sync, in this order', async (t) => {
  const calls: string[] = [];
  await using log = await openFileLog({ dir: tempDir(t), now: ticking(), disk: watched(calls) });
  calls.length = 0;
  for (let call = 0; call < 5; call++) {
    await log.append(draft('intent', `sbx-${call}`));
    assert.deepEqual(calls.splice(0), ['write', 'sync']);
  }
});

test('a log is not open before what a killed writer left in it is durable', async (t) => {
  const dir = tempDir(t);
  const calls: string[] = [];
  await using log = await openFileLog({ dir, now: ticking(), disk: watched(calls) });
  assert.deepEqual(calls, ['sync']);
  await log[Symbol.asyncDispose]();
  await assert.rejects(openFileLog({ dir, now: ticking(), disk: watched([], { sync: failing('EIO') }) }), problem('EVIDENCE_UNAVAILABLE', /EIO/));
});

test('an append that is not synced has not resolved', async (t) => {
  const gate = Promise.withResolvers<void>();
  const syncs = [Promise.resolve(), gate.promise];
  const disk = (file: FileHandle): Disk => ({ ...watched([])(file), sync: async () => syncs.shift() });
  await using log = await openFileLog({ dir: tempDir(t), now: ticking(), disk });
  const append = log.append(draft('intent', 'sbx-0'));
  const first = await Promise.race([append, new Promise((resolve) => setTimeout(resolve, 50, 'waiting'))]);
  assert.equal(first, 'waiting');
  assert.equal(await log.head(), null);
  gate.resolve();
  assert.equal((await append).index, 0);
});

test('a thousand appends that come together share one sync and stand in the order of their calls', async (t) => {
  const dir = tempDir(t);
  const calls: string[] = [];
  await using log = await openFileLog({ dir, now: ticking(), disk: watched(calls) });
  calls.length = 0;
  const receipts = await Promise.all(Array.from({ length: 1000 }, (_, call) => log.append(draft('intent', `sbx-${call}`))));
  assert.deepEqual(receipts.map(({ index }) => index), Array.from({ length: 1000 }, (_, index) => index));
  const syncs = calls.filter((call) => call === 'sync').length;
  assert.equal(syncs, 1);
  const { bad, entries } = await verifyLog(dir);
  assert.deepEqual([bad, entries], [null, 1000]);
});

for (const code of ['ENOSPC', 'EIO', 'EROFS', 'EDQUOT']) {
  test(`a write that fails with ${code} rejects all that waits, leaves nothing of it, and the log goes on afterwards`, async (t) => {
    const dir = tempDir(t);
    const faults: Faults = {};
    await using log = await openFileLog({ dir, now: ticking(), disk: watched([], faults) });
    await log.append(draft('intent', 'sbx-0'));
    const before = readFileSync(logPath(dir));
    let writes = 0;
    faults.write = () => (writes++ === 0 ? 'half' : failing(code)());
    const waiting = ['sbx-1', 'sbx-2', 'sbx-3'].map((subject) => log.append(draft('intent', subject)));
    for (const { status, reason } of (await Promise.allSettled(waiting)) as PromiseRejectedResult[]) {
      assert.equal(status, 'rejected');
      assert.ok(problem('EVIDENCE_UNAVAILABLE', new RegExp(code))(reason));
    }
    assert.deepEqual(readFileSync(logPath(dir)), before);
    delete faults.write;
    assert.equal((await log.append(draft('intent', 'sbx-1'))).index, 1);
    assert.deepEqual(await log.openIntents(), ['sbx-0', 'sbx-1']);
    assert.equal((await verifyLog(dir)).bad, null);
  });
}

test('a file that takes fewer bytes at a time still gets them all', async (t) => {
  const dir = tempDir(t);
  let turn = 0;
  await using log = await openFileLog({ dir, now: ticking(), disk: watched([], { write: () => (turn++ % 3 === 2 ? undefined : 'half') }) });
  await Promise.all(Array.from({ length: 50 }, (_, call) => log.append(draft('intent', `sbx-${call}`))));
  const { bad, entries } = await verifyLog(dir);
  assert.deepEqual([bad, entries], [null, 50]);
});

test('when a failed write cannot be undone, every append rejects until the log is opened again', async (t) => {
  const dir = tempDir(t);
  const faults: Faults = {};
  {
    await using log = await openFileLog({ dir, now: ticking(), disk: watched([], faults) });
    await log.append(draft('intent', 'sbx-0'));
    let writes = 0;
    faults.write = () => (writes++ === 0 ? 'half' : failing('ENOSPC')());
    faults.truncate = failing('EIO');
    await assert.rejects(log.append(draft('intent', 'sbx-1')), problem('EVIDENCE_UNAVAILABLE', /undoing it failed: EIO/));
    delete faults.write;
    delete faults.truncate;
    await assert.rejects(log.append(draft('intent', 'sbx-2')), problem('EVIDENCE_UNAVAILABLE', /until the log is opened again/));
  }
  await using log = await openFileLog({ dir, now: ticking() });
  assert.equal((await log.append(draft('intent', 'sbx-2'))).index, 1);
});

test('after a sync that failed nothing is written, because a second sync could succeed without the bytes', async (t) => {
  const dir = tempDir(t);
  const calls: string[] = [];
  const faults: Faults = {};
  await using log = await openFileLog({ dir, now: ticking(), disk: watched(calls, faults) });
  faults.sync = failing('EIO');
  await assert.rejects(log.append(draft('intent', 'sbx-0')), problem('EVIDENCE_UNAVAILABLE', /EIO/));
  delete faults.sync;
  calls.length = 0;
  await assert.rejects(log.append(draft('intent', 'sbx-1')), problem('EVIDENCE_UNAVAILABLE', /EIO.*until the log is opened again/));
  assert.deepEqual(calls, []);
});

test('an outcome that waits for its intent falls with it', async (t) => {
  const dir = tempDir(t);
  let writes = 0;
  await using log = await openFileLog({ dir, now: ticking(), disk: watched([], { write: () => (writes++ === 0 ? failing('ENOSPC')() : undefined) }) });
  const pair = await Promise.allSettled([log.append(draft('intent', 'sbx-0')), log.append(draft('outcome', 'sbx-0'))]);
  assert.deepEqual(pair.map(({ status }) => status), ['rejected', 'rejected']);
  await assert.rejects(log.append(draft('outcome', 'sbx-0')), problem('REQUEST_INVALID', /no intent/));
  assert.equal((await verifyLog(dir)).entries, 0);
});

test('a clock that gives no time rejects the append and nothing else', async (t) => {
  const times = [1, Number.NaN, 3];
  await using log = await openFileLog({ dir: tempDir(t), now: () => times.shift() ?? 4 });
  await log.append(draft('intent', 'sbx-0'));
  await assert.rejects(log.append(draft('intent', 'sbx-1')), problem('EVIDENCE_UNAVAILABLE'));
  assert.equal((await log.append(draft('intent', 'sbx-2'))).index, 1);
});

test('a log that is closed finishes what it has begun and refuses the rest', async (t) => {
  const dir = tempDir(t);
  const log = await openFileLog({ dir, now: ticking() });
  const begun = Promise.all(Array.from({ length: 20 }, (_, call) => log.append(draft('intent', `sbx-${call}`))));
  const closing = log[Symbol.asyncDispose]();
  await assert.rejects(log.append(draft('intent', 'sbx-late')), problem('EVIDENCE_UNAVAILABLE', /closed/));
  await closing;
  assert.equal((await begun).length, 20);
  await log[Symbol.asyncDispose]();
  assert.equal((await verifyLog(dir)).entries, 20);
});

test('more bytes than may wait are refused while the disk hangs, so that memory stays bounded', async (t) => {
  const gate = Promise.withResolvers<void>();
  const syncs = [Promise.resolve(), gate.promise];
  const disk = (file: FileHandle): Disk => ({ ...watched([])(file), sync: async () => syncs.shift() });
  await using log = await openFileLog({ dir: tempDir(t), now: ticking(), disk });
  const large = 'x'.repeat(63_000);
  const appends = Promise.allSettled(Array.from({ length: 700 }, (_, call) => log.append(draft('intent', `sbx-${call}`, large))));
  gate.resolve();
  const refused = (await appends).filter((append) => append.status === 'rejected');
  assert.ok(refused.length > 100 && refused.length < 350, `${refused.length} refused`);
  for (const { reason } of refused) assert.ok(problem('EVIDENCE_UNAVAILABLE', /bytes wait/)(reason));
  await log.append(draft('intent', 'sbx-after', large));
});

test('a full disk refuses entries, loses none that were acknowledged, and takes more once there is room', async (t) => {
  const parent = tempDir(t);
  const mount = mountSmall(parent);
  if (mount === undefined) return t.skip('a small tmpfs cannot be mounted here: this needs root');
  using _ = mount;
  const dir = join(parent, 'evidence');
  writeFileSync(join(parent, 'ballast'), Buffer.alloc(64 * 1024));
  let acknowledged = 0;
  {
    await using log = await openFileLog({ dir, now: ticking() });
    const full = problem('EVIDENCE_UNAVAILABLE', /ENOSPC/);
    await assert.rejects(async () => {
      for (;;) acknowledged = (await log.append(draft('intent', `sbx-${acknowledged}`, 'x'.repeat(900)))).index + 1;
    }, full);
    await assert.rejects(log.append(draft('intent', 'sbx-more', 'x'.repeat(9000))), full);
    assert.ok(acknowledged > 50);
    assert.deepEqual([(await verifyLog(dir)).entries, (await verifyLog(dir)).unfinishedBytes], [acknowledged, 0]);
    rmSync(join(parent, 'ballast'));
    assert.equal((await log.append(draft('intent', 'sbx-room', 'x'.repeat(9000)))).index, acknowledged);
  }
  const { bad, entries } = await verifyLog(dir);
  assert.deepEqual([bad, entries], [null, acknowledged + 2], 'and that nothing could be recorded for a while');
});

/** A file system of 256 KiB at `path`, until it is disposed. */
function mountSmall(path: string): Disposable | undefined {
  const mounted = spawnSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', path]);
  if (mounted.status !== 0) return undefined;
  return { [Symbol.dispose]: () => void spawnSync('/usr/bin/umount', [path]) };
}

test('a log that took nothing finds out by itself that there is room, and says how long it was so', { timeout: 30_000 }, async (t) => {
  const dir = tempDir(t);
  const faults: Faults = {};
  await using log = await openFileLog({ dir, now: ticking(), disk: watched([], faults) });
  await log.append(draft('intent', 'sbx-0'));
  faults.write = failing('ENOSPC');
  await assert.rejects(log.append(draft('intent', 'sbx-1')), problem('EVIDENCE_UNAVAILABLE', /ENOSPC/));
  await delay(6_000); // it has tried by now, and that is no refusal
  assert.deepEqual((await log.alerts()).map(({ alert }) => alert), ['evidence-not-written']);
  delete faults.write;
  for (const untilMs = Date.now() + 10_000; (await log.alerts()).length > 0; await delay(50)) assert.ok(Date.now() < untilMs, 'nobody appends, and it is over');
  const [, said] = await Array.fromAsync(readEntries(dir));
  assert.match(JSON.stringify(said?.entry.body), /"reason":"for \d+ ms nothing could be recorded, and 1 appends were refused: ENOSPC: simulated"/);
  const { bad, findings, entries } = await verifyLog(dir);
  assert.deepEqual([bad, findings, entries], [null, [], 2]);
});
