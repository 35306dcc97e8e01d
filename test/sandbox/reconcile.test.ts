import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type EntryDraft, type Receipt } from '@caisson/contract';
import { Doubts, reconcile } from '@caisson/sandbox';
import { MemoryLog } from './given.ts';

const entry = (kind: EntryDraft['kind'], subject: string): EntryDraft => ({ kind, source: 'control', subject, body: {} });

test('every intent without an outcome gets the outcome unknown, and no other', async () => {
  const log = new MemoryLog();
  for (const [kind, subject] of [['intent', 'a'], ['intent', 'b'], ['outcome', 'a'], ['intent', 'c']] as const) await log.append(entry(kind, subject));
  assert.deepEqual(await reconcile(log, 'the machine lost power'), ['b', 'c']);
  assert.deepEqual(await log.openIntents(), []);
  const [alert, ...outcomes] = log.entries.slice(4).map(({ kind, subject, body }) => ({ kind, subject, body }));
  assert.deepEqual(alert, {
    kind: 'alert', subject: 'control',
    body: { alert: 'orphan-intents', severity: 'warning', about: ['b', 'c'], count: 2, reason: 'the machine lost power: what became of 2 intents is unknown' },
  });
  assert.deepEqual(outcomes, ['b', 'c'].map((subject) => ({
    kind: 'outcome', subject, body: { ending: { kind: 'unknown', detail: 'the machine lost power' }, exit: 'unknown' },
  })));
  assert.deepEqual(await reconcile(log, 'again'), []);
});

test('what goes on is said to go on, and without anything open nothing is said', async () => {
  const log = new MemoryLog();
  assert.deepEqual(await reconcile(log, 'again', new Set(['x'])), []);
  assert.deepEqual(log.entries, []);
  for (const subject of ['a', 'b']) await log.append(entry('intent', subject));
  assert.deepEqual(await reconcile(log, 'again', new Set(['a', 'b', 'x'])), []);
  assert.deepEqual(log.entries.slice(2).map(({ kind, body }) => ({ kind, body })), [{ kind: 'lifecycle', body: { event: 'go-on', goingOn: ['a', 'b'] } }]);
});

test('an outcome in doubt is offered until the log has it', async () => {
  const log = new MemoryLog();
  let refusals = 2;
  const append = (draft: EntryDraft): Promise<Receipt> => (refusals-- > 0 ? Promise.reject(new CaissonError('EVIDENCE_UNAVAILABLE', { detail: 'full' })) : log.append(draft));
  using doubts = new Doubts({ append, openIntents: () => log.openIntents(), head: () => log.head() });
  doubts.add(entry('outcome', 'a'));
  for (let waitedMs = 0; log.entries.length === 0 && waitedMs < 5_000; waitedMs += 20) await delay(20);
  assert.deepEqual(log.entries.map(({ subject }) => subject), ['a']);
  assert.equal(refusals, -1);
});
