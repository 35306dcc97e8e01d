import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Later } from '@caisson/daemon';
import type { EntryDraft } from '@caisson/contract';

const over = (subject: string): EntryDraft => ({ kind: 'egress', source: 'gate', subject, body: { event: 'closed', connection: 1, bytesOut: 0, bytesIn: 0, cut: null } });

test('what is over at the gate and could not be recorded is offered again, as the same entry and in its order, until it is, and told once', async () => {
  const offered: EntryDraft[] = [];
  let isFull = true;
  using later = new Later(async (draft) => {
    offered.push(draft);
    if (isFull) throw new Error('full');
    return { index: 0, hash: '' };
  });
  const drafts = [over('a'), over('b'), over('c')];
  const recorded: string[] = [];
  for (const draft of drafts) later.add(draft, () => recorded.push(draft.subject));
  for (const untilMs = Date.now() + 10_000; offered.length < 2; await delay(20)) assert.ok(Date.now() < untilMs, 'it is offered again and again');
  assert.deepEqual([...new Set(offered)], [drafts[0]], 'nothing is asked behind what is refused');
  assert.deepEqual(recorded, []);
  isFull = false;
  offered.length = 0;
  for (const untilMs = Date.now() + 10_000; recorded.length < 3; await delay(20)) assert.ok(Date.now() < untilMs, 'all are recorded');
  assert.ok(offered.every((draft, at) => draft === drafts[at]), 'the very same, so that each keeps its number');
  await delay(1_200);
  assert.deepEqual([recorded, offered.length], [['a', 'b', 'c'], 3], 'and once');
});
