import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HeldAttempt } from '@caisson/contract';
import { ASKING, stage } from './stay-given.ts';

const HELD: HeldAttempt = { id: 'apr-0123456789abcdef', sandbox: 'sbx-0123456789abcdef', what: 'request', host: 'a.test', port: 443, method: 'POST', path: '/x', rules: ['allow a.test:443'], sinceMs: 1, expiresMs: 2, waiting: 1 };

test('who decides is on record before it takes effect', async () => {
  await using on = await stage();
  on.gate.waiting = [HELD];
  assert.deepEqual(await on.sandboxes.approvals(), [HELD]);
  const decide = on.gate.decide.bind(on.gate);
  on.gate.decide = async (decision) => {
    const last = on.log.entries.at(-1);
    assert.deepEqual([last?.kind, last?.subject, last?.body], ['lifecycle', HELD.sandbox, { event: 'approval', caller: 'test', approval: HELD.id, decision: 'allow', for: 600_000, what: 'request', host: 'a.test', port: 443, method: 'POST', rules: ['allow a.test:443'] }]);
    return decide(decision);
  };
  assert.equal((await on.sandboxes.decideApproval(HELD.id, { decision: 'allow', for: 600_000 }, ASKING)).decision, 'allow');
  assert.deepEqual(on.gate.asked, [`allow ${HELD.id}`]);
});

test('EVIDENCE_UNAVAILABLE: a decision that cannot be put on record is none', async () => {
  await using on = await stage({}, { refuse: 'lifecycle' });
  on.gate.waiting = [HELD];
  await assert.rejects(on.sandboxes.decideApproval(HELD.id, { decision: 'allow' }, ASKING), { code: 'EVIDENCE_UNAVAILABLE' });
  assert.deepEqual([on.gate.asked, on.gate.waiting], [[], [HELD]]);
});

test('APPROVAL_NOT_FOUND: what does not wait is not decided, nor said to be', async () => {
  await using on = await stage();
  await assert.rejects(on.sandboxes.decideApproval(HELD.id, { decision: 'allow' }, ASKING), { code: 'APPROVAL_NOT_FOUND' });
  assert.deepEqual([on.gate.asked, on.log.entries], [[], []]);
  on.gate.waiting = [HELD];
  on.gate.decide = async () => null; // it ended while that was written
  await assert.rejects(on.sandboxes.decideApproval(HELD.id, { decision: 'allow' }, ASKING), { code: 'APPROVAL_NOT_FOUND' });
});
