import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { emptyState, foldAll, openProjection, stateHash } from '@caisson/projection';
import { folder, logged, madeLog } from './given.ts';
import { stream } from './streams.ts';

const LENGTH = 2_000;
const KILLS = 20;

test('kill -9 while a database takes entries leaves one that goes on to the same state', async () => {
  const lines = logged(madeLog('kill', LENGTH));
  const whole = stateHash(foldAll(emptyState(), lines.map(({ entry }) => entry)));
  const random = stream('kill', 'moments');
  const reached: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    using place = folder();
    const path = join(place.path, 'projection.db');
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'applier.ts'), path, 'kill', String(LENGTH), '2'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    await once(child.stdout, 'data');
    await delay(random.below(160));
    child.kill('SIGKILL');
    await exited;
    using projection = openProjection(path);
    const entries = projection.state.entries;
    reached.push(entries);
    assert.equal(stateHash(projection.state), stateHash(foldAll(emptyState(), lines.slice(0, entries).map(({ entry }) => entry))));
    projection.apply(lines.slice(entries));
    assert.equal(stateHash(projection.state), whole);
  }
  assert.ok(reached.some((entries) => entries > 0 && entries < LENGTH), `no kill came in the middle: ${reached.join(' ')}`);
});
