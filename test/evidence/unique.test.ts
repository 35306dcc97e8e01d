import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EntryKind, Receipt, Sealed } from '@caisson/contract';
import { CLOSED_WINDOW, openFileLog, readEntries, verifyLog } from '@caisson/evidence';
import { draft, problem, tempDir, ticking } from './given.ts';

test('an outcome without an intent is refused', async (t) => {
  await using log = await openFileLog({ dir: tempDir(t), now: ticking() });
  await assert.rejects(log.append(draft('outcome', 'sbx-0')), problem('REQUEST_INVALID', /sbx-0 has no intent/));
  assert.equal(await log.head(), null);
});

test('an intent or outcome appended again gets the first receipt, and the first body stands', async (t) => {
  const dir = tempDir(t);
  let receipts: readonly Receipt[];
  {
    await using log = await openFileLog({ dir, now: ticking() });
    const intent = await log.append(draft('intent', 'sbx-0', { n: 1 }));
    assert.deepEqual(await log.append(draft('intent', 'sbx-0', { n: 2 })), intent);
    const outcome = await log.append(draft('outcome', 'sbx-0', { exit: 1 }));
    assert.deepEqual(await log.append(draft('outcome', 'sbx-0', { exit: 0 })), outcome);
    assert.deepEqual(await log.append(draft('intent', 'sbx-0', { n: 3 })), intent);
    receipts = [intent, outcome];
  }
  await using log = await openFileLog({ dir, now: ticking() });
  assert.deepEqual([await log.append(draft('intent', 'sbx-0')), await log.append(draft('outcome', 'sbx-0'))], receipts);
  assert.equal((await verifyLog(dir)).entries, 2);
});

test('the same intent and outcome from a hundred callers at once are one entry each', async (t) => {
  const dir = tempDir(t);
  await using log = await openFileLog({ dir, now: ticking() });
  const kinds = Array.from({ length: 200 }, (_, call): EntryKind => (call % 2 === 0 ? 'intent' : 'outcome'));
  const receipts = await Promise.all(kinds.map((kind) => log.append(draft(kind, 'sbx-0'))));
  assert.deepEqual([...new Set(receipts.map(({ index }) => index))], [0, 1]);
  assert.equal((await verifyLog(dir)).entries, 2);
});

test('a subject spelled in two ways that Unicode calls equal is one subject', async (t) => {
  await using log = await openFileLog({ dir: tempDir(t), now: ticking() });
  const both = await Promise.all([log.append(draft('intent', 'caf\u00e9')), log.append(draft('intent', 'cafe\u0301'))]);
  assert.deepEqual(both[0], both[1]);
});

test('a lifecycle entry is added every time', async (t) => {
  await using log = await openFileLog({ dir: tempDir(t), now: ticking() });
  for (const index of [0, 1, 2]) assert.equal((await log.append(draft('lifecycle', 'control'))).index, index);
  assert.deepEqual(await log.openIntents(), []);
});

test('beyond the window of closed subjects an outcome is refused, and an open intent is never forgotten', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    await log.append(draft('intent', 'sbx-open'));
    const calls = Array.from({ length: CLOSED_WINDOW + 1 }, (_, call) => `sbx-${call}`);
    await Promise.all(calls.flatMap((subject) => [log.append(draft('intent', subject)), log.append(draft('outcome', subject))]));
  }
  await using log = await openFileLog({ dir, now: ticking() });
  await assert.rejects(log.append(draft('outcome', 'sbx-0')), problem('REQUEST_INVALID', /no intent/));
  assert.equal((await log.append(draft('outcome', 'sbx-1'))).index, 4);
  assert.deepEqual(await log.openIntents(), ['sbx-open']);
  assert.equal((await log.append(draft('outcome', 'sbx-open'))).index, 2 * CLOSED_WINDOW + 3);
});

test('whatever is appended, closed and opened again, the log verifies and agrees with a model of it', async (t) => {
  const step = fc.record({
    kind: fc.constantFrom<EntryKind | 'reopen'>('intent', 'intent', 'outcome', 'outcome', 'lifecycle', 'reopen'),
    subject: fc.constantFrom('a', 'b', 'c', 'd'),
    wait: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const dir = tempDir(t);
      const model = new Map<string, number>();
      let entries = 0;
      let log = await openFileLog({ dir, now: ticking() });
      const under: Promise<unknown>[] = [];
      for (const { kind, subject, wait } of steps) {
        if (kind === 'reopen') {
          await log[Symbol.asyncDispose]();
          log = await openFileLog({ dir, now: ticking() });
          continue;
        }
        const key = `${kind} ${subject}`;
        const refused = kind === 'outcome' && !model.has(`intent ${subject}`);
        const expected = (kind === 'lifecycle' ? undefined : model.get(key)) ?? entries;
        const append = log.append(draft(kind, subject));
        under.push(refused ? assert.rejects(append) : append.then(({ index }) => assert.equal(index, expected)));
        if (!refused && expected === entries) {
          model.set(key, entries);
          entries += 1;
        }
        if (wait) await Promise.all(under.splice(0));
      }
      await Promise.all(under);
      const open = await log.openIntents();
      await log[Symbol.asyncDispose]();
      const verified = await verifyLog(dir);
      assert.deepEqual([verified.bad, verified.entries], [null, entries]);
      assert.deepEqual([...open], verified.openIntents);
      assert.deepEqual([...open].sort(), ['a', 'b', 'c', 'd'].filter((subject) => model.has(`intent ${subject}`) && !model.has(`outcome ${subject}`)));
    }),
    { numRuns: 40 },
  );
});

test('an entry that is sealed stands before what was told after it, and holds nothing of its secret in the clear', async (t) => {
  const dir = tempDir(t);
  const seal = async (): Promise<Sealed> => {
    await delay(20);
    return { key: 'k1', nonce: 'bm9uY2U=', text: 'c2VhbGVk' };
  };
  {
    await using log = await openFileLog({ dir, now: ticking(), seal });
    const told = [log.append({ ...draft('intent', 'sbx-0'), secret: { tenant: 'a', value: 'canary' } }), log.append(draft('outcome', 'sbx-0')), log.append(draft('lifecycle', 'sbx-1'))];
    assert.deepEqual((await Promise.all(told)).map(({ index }) => index), [0, 1, 2]);
  }
  const lines = await Array.fromAsync(readEntries(dir));
  assert.deepEqual(lines[0]?.entry.sealed, { key: 'k1', nonce: 'bm9uY2U=', text: 'c2VhbGVk' });
  assert.ok(!lines.some(({ text }) => text.includes('canary')));
  assert.equal((await verifyLog(dir)).bad, null);
});

test('an entry that cannot be sealed is refused, its outcome with it, and what comes after is taken', async (t) => {
  const dir = tempDir(t);
  const seal = async (): Promise<Sealed> => Promise.reject(new Error('no key'));
  await using log = await openFileLog({ dir, now: ticking(), seal });
  const told = await Promise.allSettled([log.append({ ...draft('intent', 'sbx-0'), secret: { tenant: 'a', value: 1 } }), log.append(draft('outcome', 'sbx-0')), log.append(draft('intent', 'sbx-1'))]);
  assert.deepEqual(told.map(({ status }) => status), ['rejected', 'rejected', 'fulfilled']);
  assert.deepEqual(await log.openIntents(), ['sbx-1']);
  assert.equal((await log.append(draft('intent', 'sbx-0'))).index, 1);
});
