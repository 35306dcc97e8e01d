import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { test } from 'node:test';
import { errorRow, type ErrorCode } from '@caisson/contract';
import { apiInMemory, ask, type Said } from './given.ts';

function isProblem(said: Said, code: ErrorCode, detail: RegExp): void {
  const { status } = errorRow(code);
  assert.deepEqual([said.status, said.json['code'], said.json['status'], said.json['type']], [status, code, status, `urn:caisson:error:${code}`]);
  assert.match(String(said.headers['content-type']), /^application\/problem\+json/);
  assert.match(String(said.json['detail']), detail);
  assert.deepEqual(Object.keys(said.json).sort(), ['code', 'detail', 'hint', 'status', 'title', 'type']);
}

/** Requests that are refused, and what the refusal names. */
const REFUSED: readonly (readonly [code: ErrorCode, what: string, method: string, path: string, body: unknown, headers: Record<string, string>, detail: RegExp])[] = [
  ['REQUEST_INVALID', 'an unknown field is named', 'POST', '/v1/sandboxes', { colour: true }, {}, /"colour"/],
  ['REQUEST_INVALID', 'a field of the wrong type is named', 'POST', '/v1/sandboxes', { ttlMs: 'soon' }, {}, /ttlMs: /],
  ['REQUEST_INVALID', 'a field below another is named', 'POST', '/v1/sandboxes', { limits: { pids: 0 } }, {}, /limits\.pids: /],
  ['REQUEST_INVALID', 'an unknown query parameter is named', 'GET', '/v1/sandboxes?color=red', undefined, {}, /"color"/],
  ['REQUEST_INVALID', 'a name that will be taken for the id of another sandbox', 'POST', '/v1/sandboxes', { name: 'sbx-0123456789abcdef' }, {}, /name: must not be like an id/],
  ['REQUEST_INVALID', 'a name that will be taken for the id of another workspace', 'POST', '/v1/sandboxes', { workspace: 'wsp-0123456789abcdef' }, {}, /workspace: must not be like an id/],
  ['REQUEST_INVALID', 'a name of what is imported that is like an id', 'POST', '/v1/workspaces/import?name=wsp-0123456789abcdef', undefined, {}, /name: must not be like an id/],
  ['REQUEST_INVALID', 'a query parameter that comes twice is named', 'GET', '/v1/sandboxes?limit=1&limit=2', undefined, {}, /limit: /],
  ['REQUEST_INVALID', 'a query that is not UTF-8', 'GET', '/v1/sandboxes?cursor=%ff', undefined, {}, /not percent-encoded UTF-8/],
  ['REQUEST_INVALID', 'a path that is not UTF-8', 'GET', '/v1/sandboxes/%ff', undefined, {}, /not percent-encoded UTF-8/],
  ['REQUEST_INVALID', 'a body that is not JSON', 'POST', '/v1/sandboxes', '{"name":', { 'content-type': 'application/json' }, /body: /],
  ['REQUEST_INVALID', 'a body that is not UTF-8', 'POST', '/v1/sandboxes', Buffer.from([0x22, 0xff, 0x22]), { 'content-type': 'application/json' }, /body: /],
  ['REQUEST_INVALID', 'a key that names the prototype', 'POST', '/v1/sandboxes', '{"env":{"__proto__":"x"}}', {}, /__proto__/],
  ['REQUEST_INVALID', 'a key that names the prototype by escapes', 'POST', '/v1/sandboxes', '{"env":{"\\u005f_pr\\u006fto__" :"x"}}', {}, /__proto__/],
  ['REQUEST_INVALID', 'a body that is missing', 'POST', '/v1/sandboxes', undefined, {}, /body: /],
  ['REQUEST_INVALID', 'a body where none is read', 'POST', '/v1/sandboxes/a/pause', { now: true }, {}, /"now"/],
  ['REQUEST_INVALID', 'a GET with a body', 'GET', '/v1/sandboxes', {}, {}, /a GET has none/],
  ['REQUEST_INVALID', 'a key of no use', 'POST', '/v1/sandboxes', {}, { 'idempotency-key': 'x'.repeat(129) }, /Idempotency-Key/],
  ['REQUEST_INVALID', 'a cursor that is not ours', 'GET', '/v1/sandboxes?cursor=e30', undefined, {}, /cursor: /],
  ['REQUEST_INVALID', 'an exec without a program', 'POST', '/v1/sandboxes/a/execs', { argv: [] }, {}, /argv: needs a program/],
  ['REQUEST_INVALID', 'a signal that is none', 'POST', '/v1/sandboxes/a/execs/e/signal', { signal: 'SIGNOT' }, {}, /signal: must be 1 to 64/],
  ['REQUEST_INVALID', 'a fork that says where it is from', 'POST', '/v1/sandboxes/a/fork', { from: 'lay-0000000000000000' }, {}, /"from"/],
  ['SANDBOX_NOT_FOUND', 'no such sandbox', 'GET', '/v1/sandboxes/nobody', undefined, {}, /nobody/],
  ['SANDBOX_NOT_FOUND', 'control characters of a name do not reach the reader', 'GET', '/v1/sandboxes/a%0d%0aX-Evil:%201', undefined, {}, /a\\x0d\\x0aX-Evil/],
  ['EXEC_NOT_FOUND', 'no such exec', 'GET', '/v1/sandboxes/a/execs/exe-0000000000000000', undefined, {}, /exe-0000000000000000/],
  ['EXEC_NOT_FOUND', 'no such exec to follow', 'GET', '/v1/sandboxes/a/execs/exe-0000000000000000/output', undefined, {}, /exe-0/],
  ['REQUEST_INVALID', 'rules that are none', 'PUT', '/v1/sandboxes/a/network', { rules: [{ host: '10.0.0.1' }] }, {}, /rules\.0\.host: /],
  ['REQUEST_INVALID', 'a name of everybody', 'PUT', '/v1/sandboxes/a/network', { rules: [{ host: '*.com' }] }, {}, /too broad/],
  ['NETWORK_ABSENT', 'the network of a sandbox that was made without', 'GET', '/v1/sandboxes/a/network', undefined, {}, /sandbox sbx-\w+ was made without a network/],
  ['NETWORK_ABSENT', 'rules for a sandbox that was made without a network', 'PUT', '/v1/sandboxes/a/network', { rules: [] }, {}, /without a network/],
  ['REQUEST_INVALID', 'a secret that is asked for twice', 'POST', '/v1/sandboxes', { secrets: ['openai', 'openai'] }, {}, /secrets: names one twice/],
  ['REQUEST_INVALID', 'a name that no secret has', 'DELETE', '/v1/sandboxes/a/secrets/Open%20AI', undefined, {}, /secret: must be 1 to 63/],
  ['REQUEST_INVALID', 'a name of a secret that is a path', 'DELETE', '/v1/sandboxes/a/secrets/..%2F..%2Fetc', undefined, {}, /secret: must be 1 to 63/],
  ['REQUEST_INVALID', 'a name of a secret that is longer than any', 'POST', `/v1/secrets/${'a'.repeat(64)}/rotate`, undefined, {}, /secret: must be 1 to 63/],
  ['REQUEST_INVALID', 'a value for a secret that is rotated', 'POST', '/v1/secrets/openai/rotate', { value: 'sk-1' }, {}, /"value"/],
  ['LEASE_NOT_FOUND', 'a secret that the sandbox has not', 'DELETE', '/v1/sandboxes/a/secrets/openai', undefined, {}, /sandbox sbx-\w+ has no lease of secret openai/],
  ['SANDBOX_NOT_FOUND', 'a secret of no sandbox', 'DELETE', '/v1/sandboxes/nobody/secrets/openai', undefined, {}, /nobody/],
  ['SECRET_UNKNOWN', 'a secret that the policy has not', 'POST', '/v1/secrets/elsewhere/rotate', undefined, {}, /no secret elsewhere/],
  ['ROUTE_NOT_FOUND', 'a secret without a name', 'DELETE', '/v1/sandboxes/a/secrets/', undefined, {}, /./],
  ['METHOD_NOT_ALLOWED', 'reading a secret', 'GET', '/v1/sandboxes/a/secrets/openai', undefined, {}, /does not take GET/],
  ['APPROVAL_NOT_FOUND', 'a decision of what does not wait', 'POST', '/v1/approvals/apr-ffffffffffffffff', { decision: 'allow' }, {}, /under the id apr-ffffffffffffffff/],
  ['REQUEST_INVALID', 'a decision that is none', 'POST', '/v1/approvals/apr-0123456789abcdef', { decision: 'maybe' }, {}, /decision: /],
  ['REQUEST_INVALID', 'a denial for a time', 'POST', '/v1/approvals/apr-0123456789abcdef', { decision: 'deny', for: 'once' }, {}, /for: is of a decision that allows/],
  ['REQUEST_INVALID', 'an approval without an end', 'POST', '/v1/approvals/apr-0123456789abcdef', { decision: 'allow', for: 1e12 }, {}, /for: /],
  ['SANDBOX_STATE', 'a closed sandbox is not paused', 'POST', '/v1/sandboxes/closed/pause', undefined, {}, /while sandbox closed is closed/],
  ['ROUTE_NOT_FOUND', 'an unknown route', 'GET', '/v2/sandboxes', undefined, {}, /GET \/v2\/sandboxes/],
  ['ROUTE_NOT_FOUND', 'a slash too many', 'GET', '/v1/sandboxes/', undefined, {}, /./],
  ['METHOD_NOT_ALLOWED', 'a method that the route does not take', 'PUT', '/v1/sandboxes/a', {}, {}, /does not take PUT/],
  ['REQUEST_TOO_LARGE', 'more JSON than is read', 'POST', '/v1/sandboxes', `{"name":"${'x'.repeat(1_100_000)}"}`, {}, /1048576 bytes/],
  ['MEDIA_TYPE_UNSUPPORTED', 'a form where JSON is read', 'POST', '/v1/sandboxes', 'name=a', { 'content-type': 'application/x-www-form-urlencoded' }, /x-www-form-urlencoded/],
  ['MEDIA_TYPE_UNSUPPORTED', 'JSON where bytes are read', 'PUT', '/v1/sandboxes/a/execs/e/stdin', {}, {}, /application\/json/],
  ['UPGRADE_REQUIRED', 'a connection that is asked for as a document', 'GET', '/v1/sandboxes/a/ports/80/connect', undefined, {}, /is a connection/],
  ['NOT_OFFERED', 'workspaces of an instance without any', 'GET', '/v1/workspaces', undefined, {}, /not offered here/],
];

for (const [code, what, method, path, body, headers, detail] of REFUSED) {
  test(`${code}: ${what}`, async () => {
    await using place = await apiInMemory();
    await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
    await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'closed' } });
    await ask(place, '/v1/sandboxes/closed', { method: 'DELETE' });
    const said = await ask(place, path, { method, body, headers });
    isProblem(said, code, detail);
    assert.equal(said.headers['x-evil'], undefined);
    assert.equal((await ask(place, '/v1/health')).status, 200);
  });
}

test('METHOD_NOT_ALLOWED: Allow names the methods of the path', async () => {
  await using place = await apiInMemory();
  assert.equal((await ask(place, '/v1/sandboxes/a', { method: 'PUT' })).headers['allow'], 'GET, PATCH, DELETE');
  assert.equal((await ask(place, '/v1/health', { method: 'HEAD' })).status, 405);
});

test('a sandbox is made, read by id and by name, renewed, paused, resumed, measured, listed and closed', async () => {
  await using place = await apiInMemory();
  const made = await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'one', labels: { team: 'a' } } });
  assert.equal(made.status, 201);
  const id = String(made.json['id']);
  assert.deepEqual((await ask(place, '/v1/sandboxes/one')).json, (await ask(place, `/v1/sandboxes/${id}`)).json);
  assert.equal((await ask(place, '/v1/sandboxes/one', { method: 'PATCH', body: { idleMs: 5_000 } })).json['idleMs'], 5_000);
  assert.equal((await ask(place, '/v1/sandboxes/one/pause', { method: 'POST' })).json['state'], 'paused');
  assert.equal((await ask(place, '/v1/sandboxes/one/resume', { method: 'POST', body: {} })).json['state'], 'running');
  assert.equal((await ask(place, '/v1/sandboxes/one/usage')).json['memoryBytes'], 2);
  assert.equal((await ask(place, '/v1/sandboxes/one', { method: 'DELETE' })).json['state'], 'closed');
});

test('the network of a sandbox is told and changed, by whoever asks', async () => {
  await using place = await apiInMemory();
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'one', network: { rules: [] } } });
  const told = await ask(place, '/v1/sandboxes/one/network');
  assert.deepEqual([told.status, Object.keys(told.json), told.json['rules']], [200, ['rules', 'secrets', 'connections', 'passed', 'refused', 'refusedTotal'], []]);
  const rules = [{ host: 'a.test' }, { host: '*.b.test', port: 80, protocol: 'http', http: { methods: ['GET'] } }];
  const changed = await ask(place, '/v1/sandboxes/one/network', { method: 'PUT', body: { rules } });
  assert.deepEqual([changed.status, changed.json['rules'], changed.json['refusedTotal']], [200, rules, 7]);
  assert.deepEqual(place.double.asked.at(-1), { verb: 'network', caller: 'operator', key: undefined, detail: { rules } });
  assert.deepEqual((await ask(place, '/v1/sandboxes/one')).json['network'], { rules });
});

test('a secret is taken from one sandbox, once, and from no other', async () => {
  await using place = await apiInMemory();
  const make = async (name: string): Promise<string> => String((await ask(place, '/v1/sandboxes', { method: 'POST', body: { name, secrets: ['openai', 'github'] } })).json['id']);
  const [one, other] = [await make('one'), await make('other')];
  const taken = await ask(place, '/v1/sandboxes/one/secrets/openai', { method: 'DELETE' });
  assert.deepEqual([taken.status, taken.json['id'], taken.json['secrets']], [200, one, ['github']]);
  assert.deepEqual(place.double.asked.at(-1), { verb: 'revokeSecret', caller: 'operator', key: undefined, detail: { sandbox: one, secret: 'openai' } });
  isProblem(await ask(place, `/v1/sandboxes/${one}/secrets/openai`, { method: 'DELETE' }), 'LEASE_NOT_FOUND', /no lease of secret openai/);
  assert.deepEqual((await ask(place, `/v1/sandboxes/${other}`)).json['secrets'], ['openai', 'github']);
});

test('the value of a secret is taken anew, and the answer names the sandboxes that have it, and no value', async () => {
  await using place = await apiInMemory();
  const made = await ask(place, '/v1/sandboxes', { method: 'POST', body: { secrets: ['github'] } });
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { secrets: ['openai'] } });
  const rotated = await ask(place, '/v1/secrets/github/rotate', { method: 'POST' });
  assert.deepEqual([rotated.status, rotated.json], [200, { sandboxes: [made.json['id']] }]);
  assert.deepEqual(place.double.asked.at(-1), { verb: 'rotateSecret', caller: 'operator', key: undefined, detail: 'github' });
  assert.equal((await ask(place, '/v1/secrets/openai/rotate', { method: 'POST', body: {} })).status, 200);
});

test('a list is filtered by state and by all labels, and its pages hold each sandbox once while others are made', async () => {
  await using place = await apiInMemory();
  const make = (name: string): Promise<Said> => ask(place, '/v1/sandboxes', { method: 'POST', body: { name, labels: { team: name < 'e' ? 'x' : 'y', own: name } } });
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await make(name);
  await ask(place, '/v1/sandboxes/a', { method: 'DELETE' });
  const names = (said: Said): string[] => (said.json['sandboxes'] as { name: string }[]).map(({ name }) => name).sort();
  assert.deepEqual(names(await ask(place, '/v1/sandboxes?label=team%3Dx&state=running')), ['b', 'c', 'd']);
  assert.deepEqual(names(await ask(place, '/v1/sandboxes?label=team=x&label=own=b')), ['b']);
  assert.deepEqual(names(await ask(place, '/v1/sandboxes?label=constructor=x')), []);
  const seen: string[] = [];
  for (let cursor = '', pages = 0; pages < 9; pages++) {
    const page = await ask(place, `/v1/sandboxes?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
    seen.push(...names(page));
    if (page.json['next'] === null) break;
    cursor = page.json['next'] as string;
    await make(`later${pages}`);
  }
  assert.deepEqual(seen.filter((name) => !name.startsWith('later')).sort(), ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
  assert.equal(new Set(seen).size, seen.length);
});

test('who asks and the Idempotency-Key reach the sandboxes', async () => {
  await using place = await apiInMemory();
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' }, headers: { 'idempotency-key': 'once-1' } });
  assert.deepEqual(place.double.asked, [{ verb: 'create', caller: 'operator', key: 'operator:once-1', detail: { name: 'a' } }]);
});

test('many requests are answered on one connection', async () => {
  await using place = await apiInMemory();
  using agent = Object.assign(new Agent({ keepAlive: true, maxSockets: 1 }), { [Symbol.dispose]: () => agent.destroy() });
  for (let round = 0; round < 50; round++) {
    assert.equal((await ask(place, '/v1/sandboxes/none', { agent })).status, 404);
    assert.equal((await ask(place, '/v1/health', { agent })).status, 200);
  }
  assert.equal(Object.values(agent.freeSockets).flat().length, 1);
});

test('an answer is neither cached nor sniffed, and no other origin is let in', async () => {
  await using place = await apiInMemory();
  const { headers } = await ask(place, '/v1/health', { headers: { origin: 'https://evil.example' } });
  assert.deepEqual([headers['cache-control'], headers['x-content-type-options'], headers['access-control-allow-origin']], ['no-store', 'nosniff', undefined]);
});

test('a defect is told to the operator and to the log', async () => {
  await using place = await apiInMemory();
  place.double.usage = () => Promise.reject(new Error('boom'));
  const said = await ask(place, '/v1/sandboxes/a/usage');
  isProblem(said, 'INTERNAL', /boom/);
  assert.match(place.logged.join(), /boom/);
});
