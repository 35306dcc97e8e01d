import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { emptyState, foldAll, stateHash } from '@caisson/projection';
import { readFixture, replayFixture, type Replayed } from './fixture.ts';
import { madeLog } from './given.ts';
import { stream } from './streams.ts';

const FIXTURES = join(import.meta.dirname, 'fixtures');
const expected = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8')) as { readonly hash: string };

test('a hundred replays of one log, each cut at other places, give one hash, and it is the one that is kept', () => {
  const entries = readFixture(FIXTURES);
  const cuts = stream('determinism', 'cuts');
  const hashes = Array.from({ length: 100 }, () => {
    let state = emptyState();
    for (let at = 0; at < entries.length;) {
      const next = at + 1 + cuts.below(entries.length);
      state = foldAll(state, entries.slice(at, next));
      at = next;
    }
    return stateHash(state);
  });
  assert.deepEqual([...new Set(hashes)], [expected.hash]);
});

const PLACES: readonly Readonly<Record<string, string>>[] = [
  { TZ: 'UTC', LANG: 'C' }, { TZ: 'Pacific/Kiritimati', LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8' }, { TZ: 'America/St_Johns', LANG: 'de_DE.UTF-8' },
];

test('another process, time zone or language gives the same state', () => {
  const here = replayFixture(FIXTURES);
  for (const env of PLACES) {
    const out = execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'replay-fixture.ts'), FIXTURES], { env: { PATH: process.env['PATH'], ...env }, encoding: 'utf8' });
    assert.deepEqual(JSON.parse(out) as Replayed, here);
  }
});

test('streams of one seed are apart: one that draws more does not change what another gives', () => {
  const first = stream('seed', 'one');
  first.below(10);
  first.hex(8);
  const alone = stream('seed', 'two');
  const beside = stream('seed', 'two');
  assert.deepEqual([alone.hex(16), alone.below(1_000)], [beside.hex(16), beside.below(1_000)]);
  assert.notEqual(stream('seed', 'one').hex(16), stream('seed', 'two').hex(16));
  assert.notEqual(stream('seed', 'one').hex(16), stream('other', 'one').hex(16));
});

test('the log that is kept is the one that its seed gives', () => {
  assert.deepEqual(madeLog('caisson-fixture-1', 500), readFixture(FIXTURES));
});
