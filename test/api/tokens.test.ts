import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { SCOPES } from '@caisson/contract/api';
import { openTokens, take, tcpPlace, type Bucket } from '@caisson/daemon';
import { apiInMemory, ask, everything, follow, type Place, type Where } from './given.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const overTcp = (place: Place): Where => ({ host: '127.0.0.1', port: place.api.tcpPort ?? 0 });
const bearer = (token: string): { readonly authorization: string } => ({ authorization: `Bearer ${token}` });

test('TOKEN_INVALID: over TCP nothing but health is answered without a valid token', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const where = overTcp(place);
  const { token, id } = place.tokens.make({ name: 'ci', scopes: ['sandboxes:read'] });
  const wrong = [
    undefined, '', 'Bearer', 'Bearer ', `Basic ${token}`, `Bearer ${token}x`, `Bearer ${token.slice(0, -1)}`, `Bearer csn_${id}_${'0'.repeat(64)}`,
    `Bearer csn_${'0'.repeat(12)}_${token.slice(-64)}`, `Bearer ${token.toUpperCase()}`, `Bearer  ${token}`, `Bearer csn__proto___${'0'.repeat(64)}`,
  ];
  for (const authorization of wrong) {
    for (const path of ['/v1/sandboxes', '/v1/nowhere', '/v1/openapi.json', '/v1/status']) {
      const said = await ask(where, path, { headers: authorization === undefined ? {} : { authorization } });
      assert.deepEqual([said.status, said.json['code'], said.headers['www-authenticate']], [401, 'TOKEN_INVALID', 'Bearer realm="caisson"'], `${path} ${authorization}`);
      assert.ok(!said.bytes.includes(token.slice(-64)));
    }
  }
  assert.equal((await ask(where, '/v1/health')).status, 200);
  assert.equal((await ask(where, '/v1/sandboxes', { headers: bearer(token) })).status, 200);
  assert.deepEqual(place.logged, []);
});

test('SCOPE_MISSING: a token names no file of the host as an image; the operator does', async () => {
  const imported: unknown[] = [];
  const images = { list: async () => [], get: async () => ({}), remove: async () => undefined, import: async (request: unknown) => (imported.push(request), {}) };
  await using place = await apiInMemory({ tcp: LOOPBACK, rooms: { images } });
  const headers = bearer(place.tokens.make({ name: 'images', scopes: ['images'] }).token);
  const said = await ask(overTcp(place), '/v1/images', { method: 'POST', body: { source: '/etc/shadow' }, headers });
  assert.deepEqual([said.status, said.json['code'], imported], [403, 'SCOPE_MISSING', []]);
  assert.equal((await ask(place, '/v1/images', { method: 'POST', body: { source: '/var/image.tar' } })).status, 200);
  assert.equal(imported.length, 1);
});

test('SCOPE_MISSING: a token that may do everything else may not decide what a sandbox waits for, and one that may does nothing else', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const where = overTcp(place);
  const agent = bearer(place.tokens.make({ name: 'agent', scopes: SCOPES.filter((scope) => scope !== 'approvals') }).token);
  const person = bearer(place.tokens.make({ name: 'person', scopes: ['approvals'] }).token);
  const one = '/v1/approvals/apr-0123456789abcdef';
  const allow = { method: 'POST', body: { decision: 'allow', for: 60_000 } } as const;
  for (const asked of [await ask(where, '/v1/approvals', { headers: agent }), await ask(where, one, { ...allow, headers: agent }), await ask(where, '/v1/sandboxes', { headers: person })]) {
    assert.deepEqual([asked.status, asked.json['code']], [403, 'SCOPE_MISSING']);
  }
  assert.deepEqual(place.double.asked, []);
  const [listed] = (await ask(where, '/v1/approvals', { headers: person })).json['approvals'] as readonly { readonly host: string }[];
  assert.equal(listed?.host, 'held.test');
  assert.equal((await ask(where, one, { ...allow, headers: person })).json['decision'], 'allow');
  assert.deepEqual(place.double.asked, [{ verb: 'approval', caller: 'person', key: undefined, detail: allow.body }]);
});

test('SCOPE_MISSING: a token does what its scopes say and nothing else; only the operator makes tokens', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const where = overTcp(place);
  const reader = bearer(place.tokens.make({ name: 'reader', scopes: ['sandboxes:read'] }).token);
  const all = bearer(place.tokens.make({ name: 'all', scopes: ['sandboxes:read', 'sandboxes:write', 'exec', 'files:read', 'files:write', 'workspaces', 'images', 'admin'] }).token);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  for (const [method, path, body] of [
    ['POST', '/v1/sandboxes', {}], ['DELETE', '/v1/sandboxes/a', undefined], ['PUT', '/v1/sandboxes/a/network', { rules: [] }], ['DELETE', '/v1/sandboxes/a/secrets/openai', undefined], ['POST', '/v1/secrets/openai/rotate', undefined], ['POST', '/v1/sandboxes/a/execs', { argv: ['true'] }], ['GET', '/v1/sandboxes/a/execs', undefined],
    ['GET', '/v1/sandboxes/a/files/stat?path=x', undefined], ['GET', '/v1/workspaces', undefined], ['GET', '/v1/images', undefined], ['GET', '/v1/status', undefined],
  ] as const) {
    const said = await ask(where, path, { method, body, headers: reader });
    assert.deepEqual([said.status, said.json['code']], [403, 'SCOPE_MISSING'], path);
  }
  for (const method of ['GET', 'POST']) assert.equal((await ask(where, '/v1/tokens', { method, headers: all })).json['code'], 'SCOPE_MISSING');
  assert.equal((await ask(where, '/v1/sandboxes/a', { method: 'DELETE', headers: all })).status, 200);
  assert.equal(place.double.asked.length, 1);
});

test('SCOPE_MISSING: whoever may write sandboxes takes a secret from one; only an admin has its value taken anew', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const where = overTcp(place);
  const writer = bearer(place.tokens.make({ name: 'writer', scopes: ['sandboxes:read', 'sandboxes:write', 'exec'] }).token);
  const admin = bearer(place.tokens.make({ name: 'admin', scopes: ['admin'] }).token);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a', secrets: ['openai'] } });
  const asked = async (method: string, path: string, headers: { readonly authorization: string }): Promise<unknown> => {
    const { status, json } = await ask(where, path, { method, headers });
    return json['code'] ?? status;
  };
  assert.equal(await asked('POST', '/v1/secrets/openai/rotate', writer), 'SCOPE_MISSING');
  assert.equal(await asked('DELETE', '/v1/sandboxes/a/secrets/openai', admin), 'SCOPE_MISSING');
  assert.equal(place.double.asked.length, 1);
  assert.equal(await asked('POST', '/v1/secrets/openai/rotate', admin), 200);
  assert.equal(await asked('DELETE', '/v1/sandboxes/a/secrets/openai', writer), 200);
  assert.deepEqual(place.double.asked.slice(1).map(({ verb, caller }) => [verb, caller]), [['rotateSecret', 'admin'], ['revokeSecret', 'writer']]);
});

test('a token is shown once, kept as a digest in a file that only its owner reads, and outlives a restart', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const made = await ask(place, '/v1/tokens', { method: 'POST', body: { name: 'ci', scopes: ['exec'] } });
  const token = String(made.json['token']);
  assert.match(token, /^csn_[0-9a-z]{12}_[0-9a-f]{64}$/);
  const listed = await ask(place, '/v1/tokens');
  const text = readFileSync(`${place.dir}/tokens.json`, 'utf8');
  for (const shown of [text, listed.bytes.toString()]) assert.ok(!shown.includes(token.slice(-64)));
  assert.equal(listed.bytes.toString().includes('sha256'), false);
  assert.equal(statSync(`${place.dir}/tokens.json`).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(place.dir).filter((name) => name.includes('.new')), []);
  const again = openTokens({ path: `${place.dir}/tokens.json`, now: Date.now });
  assert.equal(again.verify(`Bearer ${token}`)?.name, 'ci');
});

test('TOKENS_DAMAGED: a token file that is not ours is refused, never taken for an empty one', () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-tokens-`);
  try {
    for (const text of ['', '{}', '{"version":1}', '{"version":2,"tokens":[]}', '{"version":1,"tokens":[{"id":"x"}]}', '{"version":1,"tokens":[],"more":1}']) {
      writeFileSync(`${dir}/tokens.json`, text);
      assert.throws(() => openTokens({ path: `${dir}/tokens.json`, now: Date.now }), { code: 'TOKENS_DAMAGED' }, text);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a token that has expired opens nothing, and what it has open is cut', async () => {
  const clock = { ms: 1_000_000 };
  await using place = await apiInMemory({ tcp: LOOPBACK, now: () => clock.ms });
  const where = overTcp(place);
  const headers = bearer(place.tokens.make({ name: 'short', scopes: ['exec'], expiresMs: 1_000 }).token);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const exec = String((await ask(where, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['true'] }, headers })).json['id']);
  clock.ms += 900;
  using open = await follow(where, `/v1/sandboxes/a/execs/${exec}/output`, { headers });
  assert.deepEqual((await everything(open)).filter(({ event }) => event !== 'problem'), []);
  clock.ms += 200;
  assert.equal((await ask(where, '/v1/sandboxes/a/execs', { headers })).json['code'], 'TOKEN_INVALID');
});

test('a token that is revoked opens nothing from that moment on, and its streams are cut; those of others go on', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const where = overTcp(place);
  const [one, other] = [place.tokens.make({ name: 'one', scopes: ['exec'] }), place.tokens.make({ name: 'other', scopes: ['exec'] })];
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const { json } = await ask(where, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['true'] }, headers: bearer(one.token) });
  const exec = String(json['id']);
  using cut = await follow(where, `/v1/sandboxes/a/execs/${exec}/output`, { headers: bearer(one.token) });
  using kept = await follow(where, `/v1/sandboxes/a/execs/${exec}/output`, { headers: bearer(other.token) });
  while (place.double.followers() < 2) await delay(5);
  const ended = everything(cut);
  assert.equal((await ask(place, `/v1/tokens/${one.id}`, { method: 'DELETE' })).status, 204);
  assert.equal((await ask(where, '/v1/sandboxes/a/execs', { headers: bearer(one.token) })).json['code'], 'TOKEN_INVALID');
  assert.deepEqual((await ended).filter(({ event }) => event !== 'problem'), []);
  place.double.end(exec);
  assert.deepEqual((await everything(kept)).map(({ event }) => event), ['end']);
});

test('TOKEN_NOT_FOUND: a token that is not there cannot be revoked', async () => {
  await using place = await apiInMemory();
  assert.equal((await ask(place, '/v1/tokens/000000000000', { method: 'DELETE' })).json['code'], 'TOKEN_NOT_FOUND');
});

test('HOST_REFUSED: a name that was rebound to this address is not answered for', async () => {
  await using place = await apiInMemory({ tcp: { ...LOOPBACK, names: ['Caisson.Example'] } });
  const where = overTcp(place);
  for (const host of ['evil.example', 'evil.example:80', '127.0.0.1.evil.example', 'localhost.evil.example', '[::1].evil', 'caisson.example.evil']) {
    assert.equal((await ask(where, '/v1/health', { headers: { host } })).json['code'], 'HOST_REFUSED', host);
  }
  for (const host of ['127.0.0.1', 'localhost:1', '[::1]:8080', '192.0.2.7', 'caisson.example:443', 'CAISSON.example']) {
    assert.equal((await ask(where, '/v1/health', { headers: { host } })).status, 200, host);
  }
});

test('TLS_REQUIRED: without TLS nothing but a loopback address is listened on', async () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org', '128.0.0.1']) {
    await assert.rejects(apiInMemory({ tcp: { host, port: 0 } }), { code: 'TLS_REQUIRED' }, host);
  }
});

test('RATE_LIMITED: a token that asks too often is told when to come again; others and the operator are not held up', async () => {
  const clock = { ms: 0 };
  await using place = await apiInMemory({ tcp: LOOPBACK, now: () => clock.ms, rate: { perSecond: 2, burst: 3 } });
  const where = overTcp(place);
  const [busy, calm] = [place.tokens.make({ name: 'busy', scopes: ['exec'] }), place.tokens.make({ name: 'calm', scopes: ['sandboxes:read'] })];
  const statuses: number[] = [];
  for (let count = 0; count < 5; count++) statuses.push((await ask(where, '/v1/nowhere', { headers: bearer(busy.token) })).status);
  assert.deepEqual(statuses, [404, 404, 404, 429, 429]);
  const refused = await ask(where, '/v1/sandboxes', { headers: bearer(busy.token) });
  assert.deepEqual([refused.json['code'], refused.headers['retry-after']], ['RATE_LIMITED', '1']);
  assert.equal((await ask(where, '/v1/sandboxes', { headers: bearer(calm.token) })).status, 200);
  assert.equal((await ask(place, '/v1/sandboxes')).status, 200);
  clock.ms += 500;
  assert.equal((await ask(where, '/v1/nowhere', { headers: bearer(busy.token) })).status, 404);
});

test('RATE_LIMITED: a token has so many streams and no more, and one that ends makes room', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK, streamsPerToken: 2 });
  const where = overTcp(place);
  const headers = bearer(place.tokens.make({ name: 'ci', scopes: ['exec'] }).token);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const exec = String((await ask(place, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['true'] } })).json['id']);
  const path = `/v1/sandboxes/a/execs/${exec}/output`;
  const first = await follow(where, path, { headers });
  using second = await follow(where, path, { headers });
  assert.equal(second.status, 200);
  assert.equal((await ask(where, path, { headers })).json['code'], 'RATE_LIMITED');
  first[Symbol.dispose]();
  while (place.double.followers() > 1) await delay(5);
  using third = await follow(where, path, { headers });
  assert.equal(third.status, 200);
});

test('RATE_LIMITED: a command whose output cannot be followed is not started', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK, streamsPerToken: 1 });
  const where = overTcp(place);
  const headers = bearer(place.tokens.make({ name: 'ci', scopes: ['exec'] }).token);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const started = (): number => place.double.execs('a').length;
  const path = '/v1/sandboxes/a/execs';
  const first = await follow(where, path, { method: 'POST', body: { argv: ['first'] }, headers });
  assert.deepEqual([first.status, started()], [200, 1]);
  const refused = await ask(where, path, { method: 'POST', body: { argv: ['second'] }, headers: { ...headers, accept: 'text/event-stream' } });
  assert.deepEqual([refused.status, refused.json['code'], started()], [429, 'RATE_LIMITED', 1]);
  first[Symbol.dispose]();
  while (place.double.followers() > 0) await delay(5);
  // A command that is refused takes no stream either.
  assert.equal((await ask(where, '/v1/sandboxes/b/execs', { method: 'POST', body: { argv: ['x'] }, headers: { ...headers, accept: 'text/event-stream' } })).json['code'], 'SANDBOX_NOT_FOUND');
  using again = await follow(where, path, { method: 'POST', body: { argv: ['second'] }, headers });
  assert.deepEqual([again.status, started()], [200, 2]);
});

test('a stream of a token that is valid for longer than a timer can wait is cut when it expires', async (t) => {
  const clock = { ms: 1_000_000 };
  await using place = await apiInMemory({ tcp: LOOPBACK, now: () => clock.ms });
  const where = overTcp(place);
  const [TIMER_MS, lateMs] = [2 ** 31 - 1, 60_000];
  const headers = bearer(place.tokens.make({ name: 'long', scopes: ['exec'], expiresMs: TIMER_MS + lateMs }).token);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const exec = String((await ask(where, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['true'] }, headers })).json['id']);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  try {
    using open = await follow(where, `/v1/sandboxes/a/execs/${exec}/output`, { headers });
    const told = everything(open);
    for (const stepMs of [TIMER_MS, lateMs - 1]) {
      clock.ms += stepMs;
      t.mock.timers.tick(stepMs);
      await ask(where, '/v1/health');
      assert.equal(place.double.followers(), 1, 'it is cut before its time');
    }
    clock.ms += 1;
    t.mock.timers.tick(1);
    for (let round = 0; round < 50 && place.double.followers() > 0; round++) await ask(where, '/v1/health');
    assert.equal(place.double.followers(), 0, 'it goes on');
    assert.deepEqual((await told).filter(({ event }) => event !== 'problem'), []);
  } finally {
    t.mock.timers.reset();
  }
});

test('TOKEN_INVALID: whoever waits for the end of a command is told nothing more once the token is revoked or has expired', async () => {
  await using place = await apiInMemory({ tcp: LOOPBACK });
  const where = overTcp(place);
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  const exec = String((await ask(place, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['true'] } })).json['id']);
  const wait = (token: string, waitMs: number): ReturnType<typeof ask> => ask(where, `/v1/sandboxes/a/execs/${exec}?waitMs=${waitMs}`, { headers: bearer(token) });
  const [revoked, short, valid] = [place.tokens.make({ name: 'revoked', scopes: ['exec'] }), place.tokens.make({ name: 'short', scopes: ['exec'], expiresMs: 1_000 }), place.tokens.make({ name: 'valid', scopes: ['exec'] })];
  const waiting = [wait(revoked.token, 20_000), wait(short.token, 20_000)];
  const said = await wait(valid.token, 50);
  assert.deepEqual([said.status, said.json['state']], [200, 'running']);
  place.tokens.revoke(revoked.id);
  for (const { status, json } of await Promise.all(waiting)) assert.deepEqual([status, json['code'], json['state']], [401, 'TOKEN_INVALID', undefined]);
});

test('what is kept for a token goes when its time is over, as when it is revoked', async () => {
  await using place = await apiInMemory();
  const clock = { ms: 0 };
  const tokens = openTokens({ path: `${place.dir}/others.json`, now: () => clock.ms });
  const gone: string[] = [];
  tokens.onRevoked((id) => gone.push(id));
  const short = tokens.make({ name: 'short', scopes: ['exec'], expiresMs: 1_000 });
  const long = tokens.make({ name: 'long', scopes: ['exec'], expiresMs: 9_000 });
  clock.ms = 2_000;
  const next = tokens.make({ name: 'next', scopes: ['exec'] });
  assert.deepEqual([gone, tokens.list().map(({ id }) => id)], [[short.id], [long.id, next.id]]);
});

test('USAGE: a certificate without its key, or a key without its certificate, is not taken for no TLS at all', () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-tls-`);
  try {
    writeFileSync(`${dir}/pem`, 'pem');
    const listen = { CAISSON_API_LISTEN: '127.0.0.1:0' };
    for (const half of [{ CAISSON_API_TLS_CERT: `${dir}/pem` }, { CAISSON_API_TLS_KEY: `${dir}/pem` }, { CAISSON_API_TLS_CERT: `${dir}/pem`, CAISSON_API_TLS_KEY: '' }]) {
      assert.throws(() => tcpPlace({ ...listen, ...half }), { code: 'USAGE', message: /go together/ });
    }
    assert.deepEqual(tcpPlace({ ...listen, CAISSON_API_TLS_CERT: `${dir}/pem`, CAISSON_API_TLS_KEY: `${dir}/pem` })?.tls, { cert: 'pem', key: 'pem' });
    assert.equal(tcpPlace(listen)?.tls, undefined);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('within any stretch of time a bucket gives at most its burst and what came in since', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -50, max: 400 }), { maxLength: 200 }), fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), (steps, perSecond, burst) => {
      let bucket: Bucket | undefined;
      let now = 0;
      const first = steps[0] ?? 0;
      let latest = first;
      let given = 0;
      for (const step of steps) {
        now += step;
        latest = Math.max(latest, now);
        const taken = take(bucket, Math.max(now, bucket?.atMs ?? now), { perSecond, burst });
        ({ bucket } = taken);
        if (taken.waitMs === 0) given++;
        assert.ok(bucket.left >= 0 && bucket.left <= burst);
      }
      assert.ok(given <= burst + ((latest - first) * perSecond) / 1000 + 1e-6);
    }),
  );
});
