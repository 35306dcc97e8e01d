import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type EntryDraft, type Receipt } from '@caisson/contract';
import { Doubts, reconcile } from '@caisson/sandbox';
import { MemoryLog } from './given.ts';

async function until(isTrue: () => boolean): Promise<void> {
  for (const untilMs = Date.now() + 10_000; !isTrue(); await delay(20)) assert.ok(Date.now() < untilMs, isTrue.toString());
}

const refusing = (code: 'EVIDENCE_UNAVAILABLE' | 'REQUEST_INVALID' | 'EVIDENCE_ENTRY_INVALID'): Promise<Receipt> => Promise.reject(new CaissonError(code, { detail: code, kind: 'outcome' }));

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

test('what was refused does not wait behind an outcome that a full log cannot take, and is forgotten as soon as the log says that it has no such intent', async () => {
  const log = new MemoryLog();
  let isFull = true;
  const append = (draft: EntryDraft): Promise<Receipt> => (draft.subject.startsWith('refused') ? refusing('REQUEST_INVALID') : isFull ? refusing('EVIDENCE_UNAVAILABLE') : log.append(draft));
  using doubts = new Doubts({ append, openIntents: () => log.openIntents(), head: () => log.head() });
  doubts.add(entry('outcome', 'a'));
  for (let at = 0; at < 1_000; at++) doubts.addNotBegun(entry('outcome', `refused-${at}`));
  await until(() => doubts.size === 1);
  isFull = false;
  await until(() => doubts.size === 0);
  assert.deepEqual(log.entries.map(({ subject }) => subject), ['a']);
});

test('while nothing is recorded as much is kept of what was refused however often clients ask, and every outcome of what happened', async () => {
  using doubts = new Doubts({ append: () => refusing('EVIDENCE_UNAVAILABLE'), openIntents: async () => [], head: async () => null });
  for (let at = 0; at < 20_000; at++) doubts.addNotBegun(entry('outcome', `refused-${at}`));
  assert.equal(doubts.size, 4_096);
  for (let at = 0; at < 5_000; at++) doubts.add(entry('outcome', `happened-${at}`));
  assert.equal(doubts.size, 9_096);
});

test('an outcome whose body the log refuses leaves no intent open: it becomes unknown, and says why', async () => {
  const log = new MemoryLog();
  const append = (draft: EntryDraft): Promise<Receipt> => ('ending' in (draft.body as object) ? log.append(draft) : refusing('EVIDENCE_ENTRY_INVALID'));
  using doubts = new Doubts({ append, openIntents: () => log.openIntents(), head: () => log.head() });
  doubts.add(entry('outcome', 'a'));
  await until(() => doubts.size === 0);
  assert.deepEqual(log.entries.map(({ subject, body }) => [subject, (body as { exit: string }).exit]), [['a', 'unknown']]);
});
