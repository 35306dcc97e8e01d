import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sandbox } from '@caisson/sdk';
import { apiInMemory, ask } from '../api/given.ts';
import { breakingWay } from './given.ts';

test('a sandbox is made with secrets by name, which are listed, taken from it, and leased anew to a fork that asks for them', async () => {
  await using place = await apiInMemory();
  const connection = { socket: place.socketPath };
  const box = await Sandbox.create({ secrets: ['openai', 'github'], network: ['api.test/https'] }, { connection });
  assert.deepEqual(place.double.asked.at(-1)?.detail, { secrets: ['openai', 'github'], network: { rules: [{ host: 'api.test', protocol: 'https' }] } });
  assert.deepEqual(await box.secrets.list(), [{ secret: 'openai', file: null, uses: 3, lastMs: 1, expiresMs: null }, { secret: 'github', file: null, uses: 0, lastMs: null, expiresMs: null }]);
  assert.deepEqual((await box.secrets.revoke('openai')).secrets, ['github']);
  assert.deepEqual(await box.secrets.list(), [{ secret: 'github', file: null, uses: 0, lastMs: null, expiresMs: null }]);
  await assert.rejects(box.secrets.revoke('openai'), { code: 'LEASE_NOT_FOUND' });
  await assert.rejects(box.secrets.revoke('../../tokens'), { code: 'REQUEST_INVALID' });
  const fork = await box.fork({ secrets: ['openai'] });
  assert.deepEqual((await fork.secrets.list()).map(({ secret }) => secret), ['openai']);
});

test('a sandbox that was made without secrets has none, with a network or without', async () => {
  await using place = await apiInMemory();
  const connection = { socket: place.socketPath };
  for (const options of [{}, { network: ['a.test'] }]) assert.deepEqual(await (await Sandbox.create(options, { connection })).secrets.list(), []);
});

test('a revocation whose answer was lost is asked for again: it is done, and the second answer says that nothing is there any more', async () => {
  await using place = await apiInMemory();
  const made = await ask(place, '/v1/sandboxes', { method: 'POST', body: { secrets: ['openai'] } });
  const id = String(made.json['id']);
  const budgets = [made.bytes.length + 600]; // all of the first answer and a part of the second, whose size is about the same
  await using way = await breakingWay(place.socketPath, () => budgets.shift() ?? 100_000);
  const box = await Sandbox.connect(id, { connection: way.connection });
  await assert.rejects(box.secrets.revoke('openai'), { code: 'LEASE_NOT_FOUND' });
  assert.equal(way.broken(), 1);
  assert.equal(place.double.asked.filter(({ verb }) => verb === 'revokeSecret').length, 1);
  assert.deepEqual(place.double.get(id).secrets, []);
});
