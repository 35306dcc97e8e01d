import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SCOPES } from '@caisson/contract/api';
import { Approvals } from '@caisson/sdk';
import { apiInMemory } from '../api/given.ts';

const ID = 'apr-0123456789abcdef';

test('what waits is listed, watched once each, allowed for as long as is said, and denied', async () => {
  await using place = await apiInMemory();
  const connection = { socket: place.socketPath };
  const [held] = await Approvals.list({ connection });
  assert.deepEqual([held?.id, held?.host, held?.port, held?.waiting], [ID, 'held.test', 443, 1]);
  assert.deepEqual(await Approvals.list({ connection, sandbox: 'sbx-ffffffffffffffff' }), []);
  assert.equal((await Approvals.list({ connection, sandbox: held?.sandbox ?? '' })).length, 1);
  assert.equal((await Approvals.allow(ID, { connection })).decision, 'allow');
  await Approvals.allow(ID, { connection, for: 60_000 });
  await Approvals.allow(ID, { connection, for: 'sandbox' });
  assert.equal((await Approvals.deny(ID, { connection })).decision, 'deny');
  assert.deepEqual(place.double.asked.map(({ detail }) => detail), [
    { decision: 'allow', for: 'once' }, { decision: 'allow', for: 60_000 }, { decision: 'allow', for: 'sandbox' }, { decision: 'deny' },
  ]);
  const stop = new AbortController();
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const { id } of Approvals.watch({ connection, everyMs: 5, signal: stop.signal })) {
      seen.push(id);
      setTimeout(() => stop.abort(new Error('enough')), 100);
    }
  }, /enough/);
  assert.deepEqual(seen, [ID]);
});

test('what does not wait, is no decision or is another path is refused', async () => {
  await using place = await apiInMemory();
  const connection = { socket: place.socketPath };
  await assert.rejects(Approvals.allow('apr-ffffffffffffffff', { connection }), { code: 'APPROVAL_NOT_FOUND' });
  await assert.rejects(Approvals.deny('../tokens', { connection }), { code: 'APPROVAL_NOT_FOUND' });
  for (const span of [0, -1, 1.5, 1e12]) await assert.rejects(Approvals.allow(ID, { connection, for: span }), { code: 'REQUEST_INVALID' });
  assert.deepEqual(place.double.asked, []);
});

test('SCOPE_MISSING: a token without the scope approvals neither lists nor decides, and one with it does', async () => {
  await using place = await apiInMemory({ tcp: { host: '127.0.0.1', port: 0 } });
  const url = `http://127.0.0.1:${place.api.tcpPort ?? 0}`;
  const agent = { url, token: place.tokens.make({ name: 'agent', scopes: SCOPES.filter((scope) => scope !== 'approvals') }).token };
  const person = { url, token: place.tokens.make({ name: 'person', scopes: ['approvals'] }).token };
  await assert.rejects(Approvals.list({ connection: agent }), { code: 'SCOPE_MISSING', status: 403 });
  await assert.rejects(Approvals.watch({ connection: agent }).next(), { code: 'SCOPE_MISSING' });
  await assert.rejects(Approvals.allow(ID, { connection: agent }), { code: 'SCOPE_MISSING' });
  await assert.rejects(Approvals.deny(ID, { connection: agent }), { code: 'SCOPE_MISSING' });
  assert.deepEqual(place.double.asked, []);
  assert.equal((await Approvals.list({ connection: person })).length, 1);
  assert.equal((await Approvals.allow(ID, { connection: person })).decision, 'allow');
});
