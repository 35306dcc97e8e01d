import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Entry } from '@caisson/contract';
import { emptyState, foldAll, holdingOf, inspectAgent, openProjection, stateBytes } from '@caisson/projection';
import { folder, logged, madeLog } from './given.ts';

const damaged = { code: 'EVIDENCE_DAMAGED' };

test('the state that a database gives has the bytes of the pure fold, opened again after every batch', () => {
  const lines = logged(madeLog('database', 300));
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 4, maxLength: 8 }), (batches) => {
    using place = folder();
    const path = join(place.path, 'projection.db');
    let done = 0;
    for (const size of batches) {
      using projection = openProjection(path);
      projection.apply(lines.slice(done, done + size));
      done = Math.min(lines.length, done + size);
      assert.ok(stateBytes(projection.state).equals(stateBytes(foldAll(emptyState(), lines.slice(0, done).map(({ entry }) => entry)))));
    }
    using again = openProjection(path);
    assert.ok(stateBytes(again.state).equals(stateBytes(foldAll(emptyState(), lines.slice(0, done).map(({ entry }) => entry)))));
    assert.deepEqual(again.position, { index: done - 1, hash: lines[done - 1]?.hash });
  }), { numRuns: 8 });
});

test('entries that it has are passed over, a gap is refused, and so is another log', () => {
  using place = folder();
  using projection = openProjection(join(place.path, 'projection.db'));
  const lines = logged(madeLog('idempotent', 40));
  projection.apply(lines.slice(0, 20));
  const before = stateBytes(projection.state);
  projection.apply(lines.slice(0, 20));
  projection.apply([]);
  assert.ok(stateBytes(projection.state).equals(before));
  assert.throws(() => projection.apply(lines.slice(21)), damaged);
  assert.throws(() => projection.apply(logged(madeLog('another', 40))), damaged);
  assert.ok(stateBytes(projection.state).equals(before));
  projection.apply(lines);
  assert.equal(projection.position?.index, 39);
});

test('a batch that cannot be applied as a whole is not applied in part', () => {
  using place = folder();
  const path = join(place.path, 'projection.db');
  const lines = logged(madeLog('atomic', 30));
  {
    using projection = openProjection(path);
    projection.apply(lines.slice(0, 10));
    assert.throws(() => projection.apply([...lines.slice(10, 20), ...lines.slice(25)]), damaged);
    assert.equal(projection.position?.index, 9);
  }
  using again = openProjection(path);
  assert.equal(again.position?.index, 9);
});

test('a database that was dropped is made again from the log and comes to the same state', () => {
  using place = folder();
  const path = join(place.path, 'projection.db');
  const lines = logged(madeLog('dropped', 200));
  const build = (): Buffer => {
    using projection = openProjection(path);
    projection.apply(lines);
    return stateBytes(projection.state);
  };
  const first = build();
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
  assert.ok(build().equals(first));
});

test('what a database says of an agent is what the state says, and others than its owner may not read it', () => {
  using place = folder();
  const path = join(place.path, 'projection.db');
  const entries: readonly Entry[] = madeLog('inspect', 300);
  using projection = openProjection(path);
  projection.apply(logged(entries));
  const state = foldAll(emptyState(), entries);
  assert.ok(state.agents.size >= 4);
  for (const agent of state.agents.keys()) assert.deepEqual(inspectAgent(projection, agent), inspectAgent(holdingOf(state), agent));
  assert.equal(inspectAgent(projection, 'nobody'), null);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});
