import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { openWorkspaces } from '@caisson/workspace';
import { freshId, ground, opened, AGENT, MIB, SKIP, SMALL } from './given.ts';

test('WORKSPACE_INVALID: a size, a name or an id that no workspace can have is refused', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  for (const bad of [{ sizeBytes: MIB }, { sizeBytes: 2 ** 60 }, { inodes: 1 }, { inodes: 1e7 }, { name: '../x' }, { name: '' }, { id: 'wsp-../../etc/passwd' }, { sizeBytes: NaN }]) {
    await assert.rejects(store.create({ id, ...SMALL, ...bad }), { code: 'WORKSPACE_INVALID' }, JSON.stringify(bad));
  }
  await store.create({ id, ...SMALL });
  await assert.rejects(store.snapshot(id, { layer: '../x' }), { code: 'WORKSPACE_INVALID' });
  await assert.rejects(store.snapshot(id, { layer: freshId('lay'), label: 'x'.repeat(300) }), { code: 'WORKSPACE_INVALID' });
});

test('WORKSPACE_CONFLICT: an id stands for one thing and a name for one workspace; asking the same again is no conflict', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const [id, other, layer] = [freshId('wsp'), freshId('wsp'), freshId('lay')];
  const both = await Promise.all([store.create({ id, name: 'one', ...SMALL }), store.create({ id, name: 'one', ...SMALL })]);
  assert.deepEqual(both[0], both[1]);
  await assert.rejects(store.create({ id, name: 'one', sizeBytes: 64 * MIB, inodes: SMALL.inodes }), { code: 'WORKSPACE_CONFLICT' });
  await assert.rejects(store.create({ id: other, name: 'one', ...SMALL }), { code: 'WORKSPACE_CONFLICT' });
  const racing = await Promise.allSettled([freshId('wsp'), freshId('wsp')].map((each) => store.create({ id: each, name: 'race', ...SMALL })));
  assert.deepEqual(racing.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  await store.create({ id: other, ...SMALL });
  assert.deepEqual(await store.snapshot(id, { layer }), await store.snapshot(id, { layer }));
  await assert.rejects(store.snapshot(other, { layer }), { code: 'WORKSPACE_CONFLICT' });
  await assert.rejects(store.fork(layer, { id }), { code: 'WORKSPACE_CONFLICT' });
});

test('WORKSPACE_ATTACHED: a workspace belongs to one sandbox, and what is in use is neither restored nor removed', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const [id, layer] = [freshId('wsp'), freshId('lay')];
  await store.create({ id, ...SMALL });
  const racing = await Promise.allSettled([1, 2, 3].map((n) => store.attach(id, { hostUid: AGENT, sandbox: `sbx-${n}` })));
  assert.equal(racing.filter(({ status }) => status === 'fulfilled').length, 1);
  await store.snapshot(id, { layer });
  await assert.rejects(store.attach(id, { hostUid: AGENT, sandbox: 'sbx-4' }), { code: 'WORKSPACE_ATTACHED', message: /sbx-1/ });
  await assert.rejects(store.restore(id, layer), { code: 'WORKSPACE_ATTACHED' });
  await assert.rejects(store.remove(id), { code: 'WORKSPACE_ATTACHED' });
});

test('WORKSPACE_DAMAGED: a workspace whose image is gone is told and not made anew, and can be removed', SKIP, async () => {
  await using place = ground();
  const id = freshId('wsp');
  {
    await using store = await openWorkspaces(place.options);
    await store.create({ id, ...SMALL });
    rmSync(`${place.options.dir}/pool/images/${id}.0.img`);
  }
  await using store = await openWorkspaces(place.options);
  assert.match(store.get(id)?.damaged ?? '', /is missing/);
  await assert.rejects(store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' }), { code: 'WORKSPACE_DAMAGED' });
  await assert.rejects(store.fork(id, { id: freshId('wsp') }), { code: 'WORKSPACE_DAMAGED' });
  await store.remove(id);
});

test('WORKSPACE_POOL_FULL: nothing is made when the reserve is reached', SKIP, async () => {
  await using place = ground();
  const id = freshId('wsp');
  {
    await using store = await openWorkspaces(place.options);
    await store.create({ id, ...SMALL });
  }
  await using store = await openWorkspaces({ ...place.options, reserveBytes: 2 ** 60, reserveShare: 1 });
  await assert.rejects(store.create({ id: freshId('wsp'), ...SMALL }), { code: 'WORKSPACE_POOL_FULL' });
  await assert.rejects(store.snapshot(id, { layer: freshId('lay') }), { code: 'WORKSPACE_POOL_FULL' });
  assert.equal(store.list().length, 1);
});

test('WORKSPACE_FAILED: what the kernel refuses is told and changes nothing', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  writeFileSync(`${options.dir}/pool/images/${id}.0.img`, 'no file system');
  await assert.rejects(store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' }), { code: 'WORKSPACE_FAILED' });
  assert.equal(store.get(id)?.attachedTo, null);
});

test('WORKSPACES_UNAVAILABLE: two launchers never have the same workspaces', SKIP, async () => {
  await using given = await opened();
  await assert.rejects(openWorkspaces({ ...given.options, patienceMs: 100 }), { code: 'WORKSPACES_UNAVAILABLE' });
});

test('WORKSPACE_NOT_FOUND and SNAPSHOT_NOT_FOUND: nothing is made up for an id that nothing has', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  for (const refused of [store.attach(freshId('wsp'), { hostUid: AGENT, sandbox: 's' }), store.remove(freshId('wsp')), store.fork(freshId('wsp'), { id: freshId('wsp') })]) {
    await assert.rejects(refused, { code: 'WORKSPACE_NOT_FOUND' });
  }
  for (const refused of [store.removeLayer(freshId('lay')), store.fork(freshId('lay'), { id: freshId('wsp') })]) {
    await assert.rejects(refused, { code: 'SNAPSHOT_NOT_FOUND' });
  }
});

test('what a crash left is collected, and nothing while a record cannot be read', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  writeFileSync(`${options.dir}/pool/images/wsp-zzzzzzzzzzzzzzzz.0.img`, 'x');
  assert.deepEqual((await store.collect()).removed, ['wsp-zzzzzzzzzzzzzzzz.0.img']);
  writeFileSync(`${options.dir}/pool/images/wsp-zzzzzzzzzzzzzzzz.0.img`, 'x');
  writeFileSync(`${options.dir}/pool/records/wsp-zzzzzzzzzzzzzzzz.json`, '{"half":');
  await store[Symbol.asyncDispose]();
  await using again = await openWorkspaces(options);
  assert.deepEqual((await again.collect()).removed, []);
  assert.notEqual(again.get(id), null);
});
