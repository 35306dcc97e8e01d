import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { openScene } from '../egress/given.ts';
import { noInternet } from '../egress/internet/internet.ts';
import { filesWith } from '../vault/host-search.ts';
import { canary } from '../vault/search-inside.ts';

const PUBLIC = '93.184.216.34';

test('what a request says in its query, its fields and its body is in no file of the evidence in the clear, and its query opens with the key', { skip: noInternet(), timeout: 120_000 }, async () => {
  await using scene = await openScene({ policy: ({ net }) => ({ network: { certificateAuthorities: [net.caPem] } }) });
  await scene.net.zone.set('api.example.test', { addresses: [PUBLIC], ttlSeconds: 3_600 });
  await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https', http: { methods: ['POST'] } }] });
  const [query, field, body, refused] = Array.from({ length: 4 }, canary) as [string, string, string, string];
  const ask = async (target: string, method: string): Promise<string> =>
    (await box.exec(['curl', '-sS', '--max-time', '10', '-o', '/dev/null', '-w', '%{http_code}', '-X', method, '-H', `X-Canary: ${field}`, '-d', body, `https://api.example.test${target}`])).stdout.toString();
  const mark = await scene.net.mark();
  assert.equal(await ask(`/bytes/1?key=${query}`, 'POST'), '200');
  assert.equal(await ask(`/bytes/1?key=${refused}`, 'GET'), '403');
  assert.equal(await ask('/bytes/1', 'POST'), '200');
  assert.ok(JSON.stringify((await scene.net.since(mark)).requests).includes(query), 'control: the server got it');
  await box.refusals([/GET/]);
  for (const each of [query, field, body, refused]) assert.deepEqual(filesWith(scene.paths.evidence, each), [], each);

  const requests = (await Array.fromAsync(readEntries(scene.paths.evidence))).map(({ entry }) => entry).filter(({ kind, body: told }) => kind === 'egress' && (told as { readonly event: string }).event === 'request');
  const [asked, plain] = requests as [Entry, Entry];
  assert.equal((asked.body as { readonly path: string }).path, '/bytes/1');
  assert.equal(plain.sealed, undefined, 'a path without a query is in the open whole, and nothing is sealed');
  const said = await scene.caisson(['audit', 'unseal', String(asked.index)]);
  assert.deepEqual([said.status, said.stdout.toString()], [0, `{"target":"/bytes/1?key=${query}"}\n`], said.stderr);
  assert.equal((await scene.caisson(['audit', 'verify'])).status, 0);
});
