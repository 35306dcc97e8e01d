import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { canonicalJson, type Json } from '@caisson/contract';
import { auditView, EVENT_GENESIS, eventView, type EventRecord } from '@caisson/projection';
import { callIntent, denied, ended, execIntent, madeLog, writing } from './given.ts';

test('a call has the fields of a Rynxs audit record, with the sandbox it ran in', () => {
  const record = auditView(writing().add('intent', 'sbx-1', callIntent('build')));
  assert.deepEqual(record, { t: 1_700_000_000, agent: 'build', ns: 'caisson', tool: 'sandbox.shell', allowed: true, args_sha256: 'a'.repeat(64), sandbox_job: 'sbx-1' });
});

test('a refused exec says why and names no sandbox, and what is no call is no audit record', () => {
  const { add } = writing();
  const record = auditView(add('intent', 'exe-1', execIntent('build', 'sbx-1', denied)));
  assert.deepEqual([record?.allowed, record?.reason, record?.sandbox_job], [false, 'memoryBytes is above its maximum', null]);
  assert.equal(auditView(add('intent', 'exe-2', execIntent('build', 'sbx-1')))?.sandbox_job, 'sbx-1');
  assert.equal(auditView(add('outcome', 'exe-1', ended('exited'))), null);
  assert.equal(auditView(add('alert', 'x', { alert: 'y' })), null);
});

test('events are chained by the rule of the Rynxs log and each hash can be computed anew', () => {
  let prev = EVENT_GENESIS;
  for (const entry of madeLog('events', 100)) {
    const record: EventRecord = eventView(entry, prev);
    assert.deepEqual(Object.keys(record), ['prev_hash', 'event_hash', 'event']);
    assert.deepEqual(Object.keys(record.event).toSorted(), ['aggregate_id', 'hash_version', 'meta', 'payload', 'seq', 'ts', 'type']);
    assert.equal(record.prev_hash, prev);
    assert.equal(record.event_hash, createHash('sha256').update(prev + canonicalJson(record.event as unknown as Json)).digest('hex'));
    assert.equal(record.event.seq, entry.index);
    prev = record.event_hash;
  }
});

test('an event has a type that says whether it was decided, applied or failed', () => {
  const { add } = writing();
  const typeOf = (...entry: Parameters<typeof add>): string => eventView(add(...entry)).event.type;
  assert.deepEqual(
    [typeOf('intent', 'sbx-1', callIntent('a')), typeOf('outcome', 'sbx-1', ended('exited')), typeOf('outcome', 'sbx-1', ended('unknown')), typeOf('lifecycle', 'sbx-1', { event: 'pause', caller: 'a' }), typeOf('alert', 'x', { odd: true })],
    ['ActionsDecided', 'ActionApplied', 'ActionFailed', 'lifecycle.pause', 'alert'],
  );
});
