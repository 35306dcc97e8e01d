import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SecretRule, type KubernetesKey } from '@caisson/contract';
import { base64, cluster, secret, status, TOKEN } from './cluster.ts';
import { CANARY, files, GROUND, HOST, json, kvServer, look, type Files } from './given.ts';

const inSecret = (more: Partial<KubernetesKey> = {}): { readonly kubernetes: KubernetesKey } => ({ kubernetes: { name: 'app', key: 'token', ...more } });
/** A server that is named, with what it takes. */
const named = (dir: Files, server: string): Partial<KubernetesKey> => ({ server, namespace: 'agents', token: `file:/${dir.dir.slice(1)}/token`, ca: `file:/${dir.dir.slice(1)}/ca.crt` });

test('in a pod a key of a Secret is asked for as its service account, at the path of the API', async () => {
  using dir = files();
  await using api = await cluster(dir, json(secret({ token: base64(CANARY), 'tls.key': base64('other') })));
  assert.equal(await look(inSecret(), api.ground), CANARY);
  assert.equal(await look(inSecret({ name: 'app.of-it', key: 'tls.key', namespace: 'others' }), api.ground), 'other');
  assert.deepEqual(api.asked.map(({ method, url, headers }) => [method, url, headers.authorization, headers.accept]), [
    ['GET', '/api/v1/namespaces/agents/secrets/app', `Bearer ${TOKEN}`, 'application/json'],
    ['GET', '/api/v1/namespaces/others/secrets/app.of-it', `Bearer ${TOKEN}`, 'application/json'],
  ]);
});

test('a server that is named gets the token that is named, and nothing of the pod', async () => {
  using dir = files();
  await using api = await cluster(dir, json(secret({ token: base64(CANARY) })));
  const ground = { ...GROUND, env: { ...GROUND.env, KUBE_TOKEN: 'of-the-operator' } };
  assert.equal(await look(inSecret({ ...named(dir, `https://127.0.0.1:${api.port}/clusters/c1/`), token: 'env:KUBE_TOKEN' }), ground), CANARY);
  assert.deepEqual(api.asked.map(({ url, headers }) => [url, headers.authorization]), [['/clusters/c1/api/v1/namespaces/agents/secrets/app', 'Bearer of-the-operator']]);
});

test('without a pod, a token, a namespace or an authority nothing is asked', async () => {
  using dir = files();
  await using api = await cluster(dir, json(secret({ token: base64(CANARY) })));
  assert.match(await look(inSecret(), { ...api.ground, env: {} }), /^refused: no server is named, and this is no pod/);
  for (const host of ['evil.test/x', 'a@b', '127.0.0.1#', '']) assert.match(await look(inSecret(), { ...api.ground, env: { ...api.ground.env, KUBERNETES_SERVICE_HOST: host } }), /^refused: no server is named/);
  assert.match(await look(inSecret(), { ...api.ground, serviceAccount: '/nonexistent' }), /^refused: the namespace of the pod: the file cannot be opened \(ENOENT\)/);
  dir.file('namespace', '../kube-system', 0o644);
  assert.equal(await look(inSecret(), api.ground), 'refused: the namespace of the pod is no name');
  assert.match(await look(inSecret({ token: 'env:NONE', namespace: 'agents' }), api.ground), /^refused: its token: the variable was not set/);
  assert.match(await look(inSecret({ ca: 'env:NONE', namespace: 'agents' }), api.ground), /^refused: its ca: the variable was not set/);
  assert.equal(api.asked.length, 0);
  assert.equal(await look(inSecret({ namespace: 'agents' }), api.ground), CANARY, 'control');
});

test('a server that does not prove its name by that authority gets no token', async () => {
  using dir = files();
  using other = files();
  await using api = await cluster(dir, json(secret({ token: base64(CANARY) })));
  await using stranger = await cluster(other, json(secret({ token: base64(CANARY) })));
  assert.match(await look(inSecret({ ca: `file:/${other.dir.slice(1)}/ca.crt` }), api.ground), /^refused: the server cannot be asked \((?:DEPTH_ZERO_SELF_SIGNED_CERT|[A-Z_]*SIGNATURE[A-Z_]*|UNABLE_TO[A-Z_]+)\)$/);
  using misnamed = files();
  await using wrong = await cluster(misnamed, json(secret({ token: base64(CANARY) })), 'DNS:kubernetes.default.svc');
  assert.equal(await look(inSecret(), wrong.ground), 'refused: the server cannot be asked (ERR_TLS_CERT_ALTNAME_INVALID)');
  const { ca: _, ...unproved } = named(dir, `https://127.0.0.1:${api.port}`);
  assert.equal(await look(inSecret(unproved)), 'refused: the server cannot be asked (DEPTH_ZERO_SELF_SIGNED_CERT)');
  assert.deepEqual([api.asked.length, stranger.asked.length, wrong.asked.length], [0, 0, 0]);
});

test('plain http goes to this host alone', async () => {
  using dir = files();
  await using api = await kvServer(json(secret({ token: base64(CANARY) })));
  dir.file('token', TOKEN);
  const { ca: _, ...plain } = named(dir, api.address);
  assert.equal(await look(inSecret(plain)), CANARY);
  for (const server of ['http://10.0.0.1:6443', 'http://kubernetes.default.svc']) assert.equal(await look(inSecret({ ...plain, server })), 'refused: its address must be https, or http of this host');
});

test('an answer that is refused is told by its kind, and nothing of it is', async () => {
  for (const [code, why] of [
    [401, /does not know its token \(status 401\)/], [403, /may not get this Secret \(status 403\): a Role needs the verb get/], [404, /has no such Secret in this namespace \(status 404\)/], [500, /answers with status 500/], [429, /answers with status 429/],
  ] as const) {
    using dir = files();
    await using api = await cluster(dir, json(status(code, 'Refused'), code));
    const said = await look(inSecret(), api.ground);
    assert.match(said, why);
    assert.ok(!said.includes('cnry') && !said.includes(TOKEN), said);
  }
});

test('no redirect is followed, and no token goes where one leads', async () => {
  await using elsewhere = await kvServer(json(secret({ token: base64(CANARY) })));
  for (const code of [301, 302, 307, 308]) {
    using dir = files();
    await using api = await cluster(dir, (_request, response) => void response.writeHead(code, { location: `${elsewhere.address}/api/v1/namespaces/agents/secrets/app` }).end());
    assert.equal(await look(inSecret(), api.ground), `refused: the server answers with status ${code}`);
  }
  assert.equal(elsewhere.asked.length, 0);
});

test('an answer that is no Secret, has no such key, or has one that is not base64, is refused', async () => {
  using dir = files();
  let body: unknown;
  await using api = await cluster(dir, (request, response) => json(body)(request, response));
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    [CANARY, /not answer with JSON/], ['', /not answer with JSON/], [null, /not answer as the API/], [[], /not answer as the API/], [{ ...(secret({}) as object), kind: 'ConfigMap', data: { token: CANARY } }, /not answer as the API/],
    [status(200, 'Success'), /not answer as the API/], [secret({ token: { value: CANARY } }), /not answer as the API/], [secret({ token: 7 }), /not answer as the API/],
    [secret({}), /no such key/], [secret(null), /no such key/], [secret({ Token: base64(CANARY) }), /no such key/],
    [secret({ token: CANARY }), /not base64/], [secret({ token: `${base64(CANARY)}\n` }), /not base64/], [secret({ token: base64(CANARY).replaceAll('=', '') }), /not base64/], [secret({ token: 'QR==' }), /not base64/], [secret({ token: Buffer.from([0xfb, 0xff]).toString('base64url') }), /not base64/],
    [secret({ token: '' }), /it is empty/], [secret({ token: base64(`a\n${CANARY}`) }), /line break/], [secret({ token: base64(Buffer.from([0xff])) }), /not text in UTF-8/], [secret({ token: base64('x'.repeat(70_000)) }), /longer than 65536 bytes/],
    [secret({ token: base64(CANARY), more: 'x'.repeat(1_100_000) }), /more than 1048576 bytes/],
  ];
  for (const [answer, why] of wrong) {
    body = answer;
    const said = await look(inSecret(), api.ground);
    assert.match(said, why, JSON.stringify(answer).slice(0, 200));
    assert.ok(said.startsWith('refused: ') && !said.includes('cnry'), said);
  }
  for (const key of ['__proto__', 'constructor', 'toString']) assert.equal(await look(inSecret({ key }), api.ground), 'refused: the server answers with more than 1048576 bytes');
  body = secret({ token: base64(CANARY) });
  for (const key of ['__proto__', 'constructor', 'toString']) assert.equal(await look(inSecret({ key }), api.ground), 'refused: the Secret has no such key');
  assert.equal(await look(inSecret(), api.ground), CANARY, 'control');
});

test('a server that says nothing is not waited for', async () => {
  using dir = files();
  await using api = await cluster(dir, () => undefined);
  assert.equal(await look(inSecret(), { ...api.ground, timeoutMs: 300 }), 'refused: the server cannot be asked (it took too long)');
});

test('names are names of Kubernetes and lead to no other path, and a server has its own token', () => {
  const parsed = (more: object): boolean => SecretRule.safeParse({ from: { kubernetes: { name: 'app', key: 'token', ...more } }, hosts: [HOST] }).success;
  for (const good of [{}, { name: 'a.b-c', key: '.dot_-ok', namespace: 'kube-system' }, { server: 'https://10.0.0.1:6443', token: 'env:T', namespace: 'a' }, { server: 'https://k.test', token: 'file:/t', ca: 'file:/c', namespace: 'a' }]) assert.ok(parsed(good), JSON.stringify(good));
  for (const bad of [
    { name: '../app' }, { name: 'a/b' }, { name: 'a%2fb' }, { name: '..' }, { name: 'a..b' }, { name: '' }, { name: 'App' }, { name: 'a?x' }, { name: 'a'.repeat(254) }, { name: '-a' },
    { namespace: 'a.b' }, { namespace: 'a/b' }, { namespace: '' }, { namespace: '..' }, { namespace: 'a'.repeat(64) }, { key: '' }, { key: 'a/b' }, { key: 'a b' },
    { server: 'https://k.test' }, { server: 'https://k.test', token: 'env:T' }, { server: 'https://k.test', namespace: 'a' }, { server: 'ftp://k.test', token: 'env:T', namespace: 'a' }, { token: 'a-token' }, { ca: '-----BEGIN' }, { other: 1 },
  ]) assert.ok(!parsed(bad), JSON.stringify(bad));
});
