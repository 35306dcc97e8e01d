import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExecInfo, LiveUsage, Problem, SandboxInfo, SCOPES } from '@caisson/contract/api';
import { openApiDocument, ROUTES } from '@caisson/daemon';
import { apiInMemory, ask } from './given.ts';

const document = JSON.parse(JSON.stringify(openApiDocument())) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string; readonly 'x-scope'?: string; readonly parameters?: readonly { readonly name: string; readonly in: string }[] }>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
};

test('the document that is served is made from the table that is served', async () => {
  await using place = await apiInMemory();
  const served = await ask(place, '/v1/openapi.json');
  assert.deepEqual(served.json, document);
});

test('every reference of the document leads somewhere, and nothing stands in it that nobody refers to by its name', () => {
  const text = JSON.stringify(document);
  const refs = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref);
  assert.ok(refs.length > 50);
  for (const ref of refs) assert.ok(ref.replace('#/components/schemas/', '') in document.components.schemas, ref);
});

test('every operation has an id of its own, a right that exists, and the parameters that its path names', () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.values(methods).map((operation) => ({ path, ...operation })));
  assert.equal(operations.length, ROUTES.length + 3);
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  for (const { path, parameters = [], 'x-scope': scope } of operations) {
    assert.ok(scope === undefined || [...SCOPES, 'operator'].includes(scope), path);
    assert.deepEqual(parameters.filter((one) => one.in === 'path').map(({ name }) => name), [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name), path);
  }
});

test('what is answered is what the document says', async () => {
  await using place = await apiInMemory();
  SandboxInfo.parse((await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } })).json);
  SandboxInfo.parse((await ask(place, '/v1/sandboxes/a')).json);
  LiveUsage.parse((await ask(place, '/v1/sandboxes/a/usage')).json);
  ExecInfo.parse((await ask(place, '/v1/sandboxes/a/execs', { method: 'POST', body: { argv: ['true'] } })).json);
  Problem.parse((await ask(place, '/v1/sandboxes/b')).json);
});
