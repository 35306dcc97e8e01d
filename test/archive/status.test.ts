import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { Archiver, fetchFromDirectory, newCounters, waitMs, type ObjectStore, type StoreFailure } from '@caisson/archive';
import { appendBound, readStatus, type ArchiveStatus } from '@caisson/archive/status';
import { leastMs } from '../least.ts';
import { folder, openDirectory } from './given.ts';
import { makeLog, type Log } from './log.ts';

async function until(what: () => boolean): Promise<void> {
  const untilMs = Date.now() + 10_000;
  while (!what()) {
    assert.ok(Date.now() < untilMs, `not within 10 s: ${what.toString()}`);
    await delay(10);
  }
}

const statusOf = (log: Log): ArchiveStatus | null => readStatus(`${log.archive}/status.json`);

/** A store that can be made to fail. */
function failing(path: string): ObjectStore & { failure: StoreFailure | undefined } {
  const store = openDirectory(path);
  const guarded = {
    ...store,
    failure: undefined as StoreFailure | undefined,
    put: async (put: Parameters<ObjectStore['put']>[0]) => guarded.failure ?? store.put(put),
    get: async (key: string, maxBytes: number) => guarded.failure ?? store.get(key, maxBytes),
  };
  return guarded;
}

const open = (log: Log, store: ObjectStore): Promise<Archiver> =>
  Archiver.open({ store, local: fetchFromDirectory(log.dir), dir: log.archive, everyMs: 20, nowMs: Date.now, random: () => 0 });

test('the file says how far the archive is, what the last failure was and of which class, and counts every one', async () => {
  using log = makeLog();
  using own = folder();
  const store = failing(own.path);
  await using archiver = await open(log, store);
  await until(() => statusOf(log)?.state === 'empty');
  await log.grow(300);
  await until(() => statusOf(log)?.state === 'current');
  assert.deepEqual([statusOf(log)?.publishedEntries, statusOf(log)?.storedEntries, statusOf(log)?.lagEntries], [300, 300, 0]);
  for (const failed of ['AccessDenied', 'NoSuchBucket', 'Network', 'Other'] as const) {
    store.failure = { failed, detail: 'as the test wants' };
    await log.grow(log.size() + 10);
    await until(() => (statusOf(log)?.lastError?.class ?? '') === failed);
    assert.ok((statusOf(log)?.counters.errors[failed] ?? 0) > 0);
    assert.equal(statusOf(log)?.state, 'away');
    assert.deepEqual([statusOf(log)?.storedEntries, statusOf(log)?.lagEntries], [log.size() - 10, 10]);
    store.failure = undefined;
    await until(() => statusOf(log)?.state === 'current' && statusOf(log)?.storedEntries === log.size());
  }
  assert.equal(archiver.status.failures, 0);
});

test('a fence holds over new starts, and its reason is in the file', async () => {
  using log = makeLog();
  using own = folder();
  await log.grow(10);
  {
    await using archiver = await open(log, openDirectory(own.path));
    await until(() => archiver.status.state === 'current');
    writeFileSync(`${own.path}/checkpoint`, 'other\n\nbytes\n');
    await log.grow(20);
    await until(() => statusOf(log)?.state === 'forked');
  }
  writeFileSync(`${own.path}/checkpoint`, log.published().get('checkpoint') ?? '');
  await using archiver = await open(log, openDirectory(own.path));
  await until(() => archiver.status.state !== 'starting');
  assert.equal(archiver.status.state, 'forked');
  await delay(100);
  assert.equal(existsSync(`${own.path}/tile/0/000.p/21`), false);
  assert.match(statusOf(log)?.detail ?? '', /the head there/);
});

interface Told {
  nowMs: number;
  say(status: Partial<ArchiveStatus>): void;
  readonly may: (entries?: number) => string | undefined;
}

function told(log: Log): Told {
  const path = `${log.archive}/status.json`;
  const clock = { nowMs: 1_000_000 };
  const may = appendBound({ path, maxLagMs: 10_000, maxLagEntries: 100, nowMs: () => clock.nowMs });
  const one: Told = Object.assign(clock, {
    may,
    say(status: Partial<ArchiveStatus>) {
      const whole: ArchiveStatus = {
        pid: 1, store: 's', state: 'current', updatedMs: one.nowMs, wholeMs: one.nowMs, publishedEntries: 0, storedEntries: 0, lagEntries: 0, lagMs: 0, failures: 0, lastError: null,
        counters: newCounters(), ...status,
      };
      writeFileSync(path, JSON.stringify(whole));
      one.nowMs += 300;
    },
  });
  return one;
}

test('a log may grow while its archive is within the bounds, and not beyond: by time, by entries, by a fence, by an archiver that is dead or never was', () => {
  using log = makeLog();
  const one = told(log);
  assert.equal(one.may(), undefined, 'there is time for an archiver to come up');
  one.nowMs += 10_001;
  assert.match(one.may() ?? '', /not been whole for 10001 ms, and 10000 are allowed \(no archiver has said anything\)/);
  one.say({});
  assert.equal(one.may(), undefined);
  one.nowMs += 9_700;
  assert.equal(one.may(), undefined);
  one.nowMs += 1;
  assert.match(one.may() ?? '', /has not been whole/, 'the archiver died');
  one.say({ state: 'away', wholeMs: one.nowMs - 9_000, lastError: { class: 'Network', detail: 'x', timeMs: 1 } });
  assert.equal(one.may(), undefined, 'away, but not for long');
  one.say({ state: 'away', wholeMs: one.nowMs - 11_000, lastError: { class: 'Network', detail: 'x', timeMs: 1 } });
  assert.match(one.may() ?? '', /\(away, Network\)/);
  one.say({ publishedEntries: 150, storedEntries: 50 });
  assert.equal(one.may(), undefined);
  assert.match(one.may(151) ?? '', /lacks 101 entries, and 100 are allowed/, 'entries that the archiver has not seen yet count');
  one.say({ state: 'fenced', detail: 'another writer' });
  assert.match(one.may() ?? '', /takes nothing any more: another writer/);
});

test('a status file that is no status counts as none, and asking ten thousand times reads it at most once', () => {
  using log = makeLog();
  const one = told(log);
  one.nowMs += 20_000;
  for (const text of ['', '{', 'null', '{"pid":1}', '[]']) {
    writeFileSync(`${log.archive}/status.json`, text);
    one.nowMs += 300;
    assert.match(one.may() ?? '', /no archiver has said anything/);
  }
  one.say({});
  assert.equal(one.may(), undefined);
  rmSync(`${log.archive}/status.json`);
  const tookMs = leastMs(500, () => {
    for (let asked = 0; asked < 10_000; asked += 1) assert.equal(one.may(), undefined);
  });
  assert.ok(tookMs < 500, `${tookMs} ms`);
});

test('the wait after a failure grows from a tenth of a second to half a minute, and is never nothing', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 100_000 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (nth, random) => {
    const wait = waitMs(nth, random);
    assert.ok(wait >= 100 && wait <= 30_000 && Number.isInteger(wait));
    assert.ok(wait >= waitMs(nth, 0) && waitMs(nth + 1, 0) >= waitMs(nth, 0));
  }));
  assert.deepEqual([waitMs(1, 0), waitMs(2, 0), waitMs(1, 0.5), waitMs(50, 0)], [100, 200, 150, 15_000]);
});
