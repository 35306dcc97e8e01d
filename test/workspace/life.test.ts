import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { openWorkspaces } from '@caisson/workspace';
import { asAgent, freshId, ground, opened, AGENT, SKIP, SMALL } from './given.ts';

test('what an agent writes is there when its workspace is attached again, for another uid', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  const made = await store.create({ id, name: 'home', ...SMALL });
  assert.deepEqual({ ...made, createdMs: 0 }, { id, name: 'home', ...SMALL, createdMs: 0, parent: null, attachedTo: null, usedBytes: null, damaged: null });
  const first = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  assert.equal(store.get(id)?.attachedTo, 'sbx-one');
  assert.equal(asAgent(first.path, 'ls -A && umask 077 && echo kept >note').stdout, '');
  await first.detach();
  await first.detach();
  const second = await store.attach(id, { hostUid: AGENT - 7, sandbox: 'sbx-two' });
  assert.notEqual(asAgent(second.path, 'cat note').status, 0, 'the uid of the first has lost it');
  await second.detach();
  const third = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-three', readOnly: true });
  assert.equal(asAgent(third.path, 'cat note').stdout, 'kept\n');
  assert.match(asAgent(third.path, 'echo more >>note').stderr, /Read-only/);
  await third.detach();
  await store.remove(id);
  assert.deepEqual(store.list(), []);
});

test('a snapshot, a fork and a restore each have the files of their moment', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const [id, fork, layer] = [freshId('wsp'), freshId('wsp'), freshId('lay')];
  await store.create({ id, ...SMALL });
  const live = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  asAgent(live.path, 'echo one >file');
  const taken = await store.snapshot(id, { layer, label: 'first' });
  assert.equal(taken.label, 'first');
  asAgent(live.path, 'echo two >file; echo new >other');
  assert.equal((await store.fork(layer, { id: fork })).parent, layer);
  const forked = await store.attach(fork, { hostUid: AGENT, sandbox: 'sbx-two' });
  assert.equal(asAgent(forked.path, 'cat file; ls').stdout, 'one\nfile\n');
  asAgent(forked.path, 'echo three >file');
  assert.equal(asAgent(live.path, 'cat file').stdout, 'two\n');
  assert.deepEqual((await store.diff(layer, id)).changes.map(({ path, kind }) => `${kind} ${path}`), ['changed file', 'added other']);
  assert.deepEqual((await store.diff(id, fork)).changes.map(({ path, kind }) => `${kind} ${path}`), ['changed file', 'removed other']);
  await forked.detach();
  await live.detach();
  await store.restore(id, layer);
  const restored = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-three' });
  assert.equal(asAgent(restored.path, 'cat file; ls').stdout, 'one\nfile\n');
  await restored.detach();
});

test('on a file system that shares blocks the pool is the folder itself, with no file system in a file', SKIP, async () => {
  await using given = await opened();
  await using inner = ground(`${given.options.dir}/pool`);
  await using store = await openWorkspaces(inner.options);
  const [id, layer] = [freshId('wsp'), freshId('lay')];
  await store.create({ id, ...SMALL });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  asAgent(attached.path, 'echo one >file');
  await store.snapshot(id, { layer });
  assert.deepEqual((await store.diff(layer, id)).changes, []);
  assert.equal(existsSync(`${inner.options.dir}/pool.img`), false);
});

test('a passing workspace is gone with its store, and a snapshot of it is not', SKIP, async () => {
  await using place = ground();
  const [id, layer] = [freshId('wsp'), freshId('lay')];
  {
    await using store = await openWorkspaces(place.options);
    await store.create({ id, ...SMALL, passing: true });
    const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
    asAgent(attached.path, 'echo kept >file');
    await store.snapshot(id, { layer });
  }
  await using store = await openWorkspaces(place.options);
  assert.deepEqual(store.list(), []);
  assert.deepEqual(readdirSync(`${place.options.dir}/pool/images`), [`${layer}.0.img`]);
  await store.fork(layer, { id });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-two' });
  assert.equal(asAgent(attached.path, 'cat file').stdout, 'kept\n');
});
