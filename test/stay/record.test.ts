import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import type { Entry } from '@caisson/contract';
import { readEntries, verifyLog } from '@caisson/evidence';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { ground } from './given.ts';

const { caisson, sandbox } = ground();
const skip = IS_ROOT ? false : NEEDS_ROOT;

async function ask(method: string, path: string, json?: unknown): Promise<{ readonly status: number; readonly body: string }> {
  const { paths } = await caisson();
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const asked = request({ socketPath: paths.apiSocket, method, path, headers: json === undefined ? {} : { 'content-type': 'application/json' } }, (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (text: string) => (body += text));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
  });
  asked.on('error', reject);
  asked.end(json === undefined ? undefined : JSON.stringify(json));
  return promise;
}

async function entries(): Promise<readonly Entry[]> {
  const { paths } = await caisson();
  return (await Array.fromAsync(readEntries(paths.evidence))).map(({ entry }) => entry);
}

test('whatever is done to a sandbox, a workspace, a snapshot or a token is on record under who did it', { skip, timeout: 60_000 }, async () => {
  const box = await sandbox({ workspace: 'recorded', limits: { workspaceBytes: 64 * 2 ** 20 } });
  await box.sh('echo 1 > f');
  await box.pause();
  await box.resume();
  await box.renew({ ttlMs: 60_000 });
  const { id: snapshot } = await box.snapshot();
  await box.restore(snapshot);
  await (await box.fork()).close();
  await box.files.write('g', 'text');
  await box.close();
  assert.equal((await ask('DELETE', `/v1/snapshots/${snapshot}`)).status, 204);
  assert.equal((await ask('DELETE', '/v1/workspaces/recorded')).status, 204);
  const made = JSON.parse((await ask('POST', '/v1/tokens', { name: 'one', scopes: ['exec'] })).body) as { id: string };
  assert.equal((await ask('DELETE', `/v1/tokens/${made.id}`)).status, 204);
  const events = (await entries()).filter(({ kind }) => kind === 'lifecycle').map(({ body }) => (body as { event: string }).event);
  const wanted = ['pause', 'resume', 'renew', 'snapshot', 'restore', 'fork', 'files', 'remove-snapshot', 'remove-workspace', 'make-token', 'revoke-token'];
  assert.deepEqual(wanted.filter((event) => !events.includes(event)), []);
});

test('at the end of a sandbox stands what its pid 1 and the launcher have counted, and it fits the commands in the log', { skip, timeout: 60_000 }, async () => {
  const box = await sandbox();
  for (const _ of [1, 2, 3]) await box.sh('true & true');
  await box.exec(['/nothing/of/the/kind']);
  await box.spawn(['sleep', '600']);
  await box.close();
  const outcome = (await entries()).findLast(({ kind, subject }) => kind === 'outcome' && subject === box.id);
  assert.ok(outcome !== undefined);
  const { usage } = outcome.body as { usage: { counts: { started: number; asked: number; cpuUs: number } } };
  assert.deepEqual([usage.counts.started, usage.counts.asked], [3, 4], 'pid 1 has told of those that have ended, the launcher counts the one that was cut, too');
  assert.ok(usage.counts.cpuUs > 0);
  const { paths } = await caisson();
  const { findings, unread } = await verifyLog(paths.evidence);
  assert.deepEqual([findings, unread], [[], { count: 0, first: null }], 'nothing is missed, and every body is of its kind');
});
