import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOver } from '@caisson/contract';
import { Sandbox } from '@caisson/sdk';
import { callApi } from './call-api.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { leastOf } from '../least.ts';
import { ground } from './given.ts';

const { caisson, connection, sandbox } = ground();
const AS_ROOT = { skip: IS_ROOT ? false : NEEDS_ROOT };

async function post(path: string, body: unknown, key?: string): ReturnType<typeof callApi> {
  return callApi((await caisson()).paths.apiSocket, 'POST', path, body, key === undefined ? {} : { 'idempotency-key': key });
}

test('of many who take one name at once, one gets it', AS_ROOT, async () => {
  const made = await Promise.allSettled(Array.from({ length: 6 }, () => sandbox({ name: 'the-one' })));
  const got = made.filter((each) => each.status === 'fulfilled');
  const codes = made.filter((each) => each.status === 'rejected').map(({ reason }) => (reason as { code?: unknown }).code);
  for (const { value } of got) await value.close();
  assert.deepEqual([got.length, codes], [1, Array(5).fill('SANDBOX_NAME_TAKEN')]);
  await using again = await sandbox({ name: 'the-one' });
  assert.equal((await again.info()).name, 'the-one');
});

test('a snapshot and a fork that are asked for again with their key are those that were made', AS_ROOT, async () => {
  await using box = await sandbox();
  const [first, again] = [await post(`/v1/sandboxes/${box.id}/snapshots`, { label: 'a' }, 'key-1'), await post(`/v1/sandboxes/${box.id}/snapshots`, { label: 'a' }, 'key-1')];
  assert.equal(first.status, 201);
  assert.equal(again.body['id'], first.body['id']);
  assert.equal((await post(`/v1/sandboxes/${box.id}/snapshots`, { label: 'b' }, 'key-1')).body['code'], 'IDEMPOTENCY_MISMATCH');
  const forks = [await post(`/v1/sandboxes/${box.id}/fork`, {}, 'key-2'), await post(`/v1/sandboxes/${box.id}/fork`, {}, 'key-2')];
  assert.equal(forks[1]?.body['id'], forks[0]?.body['id']);
  await (await Sandbox.connect(String(forks[0]?.body['id']), { connection: await connection() })).close();
});

test('a fork of running processes that is asked for again with its key is the one that was made', AS_ROOT, async (t) => {
  if (!(await (await caisson()).levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  await using box = await sandbox({ level: 'gvisor' });
  const forks = [await post(`/v1/sandboxes/${box.id}/fork`, { memory: true }, 'key-3'), await post(`/v1/sandboxes/${box.id}/fork`, { memory: true }, 'key-3')];
  assert.deepEqual(forks.map(({ status }) => status), [201, 201]);
  assert.equal(forks[1]?.body['id'], forks[0]?.body['id']);
  await (await Sandbox.connect(String(forks[0]?.body['id']), { connection: await connection() })).close();
});

test('a pause does not hold up a close that comes with it, and nothing is left of the sandbox then', AS_ROOT, async () => {
  for (let delayMs = 0; delayMs < 12; delayMs++) {
    const tookMs = await leastOf(3_000, async () => {
      const box = await sandbox();
      await box.spawn(['sh', '-c', 'sleep 300 & sleep 300 & sleep 300']);
      const beganMs = Date.now();
      const paused = box.pause().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, delayMs % 5));
      await box.close();
      await paused;
      assert.ok(isOver((await box.info()).state));
      return Date.now() - beganMs;
    });
    assert.ok(tookMs < 3_000, `the close took ${tookMs} ms`);
  }
});

test('a sandbox that is closed while it is being restored is closed, whoever was first', AS_ROOT, async () => {
  for (let delayMs = 0; delayMs <= 60; delayMs += 15) {
    const box = await sandbox();
    const { body } = await post(`/v1/sandboxes/${box.id}/snapshots`, {});
    const restored = post(`/v1/sandboxes/${box.id}/restore`, { snapshot: body['id'] });
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    await box.close();
    await restored;
    assert.equal((await box.info()).state, 'closed');
  }
});
