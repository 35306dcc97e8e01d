import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { openFileLog, readEntries, verifyLog, type FileLog } from '@caisson/evidence';
import { failing, watched, type Faults } from './faulty-disk.ts';
import { tempDir } from './given.ts';

const START_MS = 1_700_000_000_000;

/** Clocks of a host that the test lets go on, sleep, and sets. */
class Host {
  wall = START_MS;
  monotonic = 5_000;
  boot = 9_000;

  pass(ms: number, wallMs = ms): void {
    this.monotonic += ms;
    this.boot += ms;
    this.wall += wallMs;
  }

  sleep(ms: number): void {
    this.boot += ms;
    this.wall += ms;
  }

  open(dir: string, more: Partial<Parameters<typeof openFileLog>[0]> = {}): Promise<FileLog> {
    return openFileLog({ dir, now: () => this.wall, clocks: { monotonicMs: () => this.monotonic, bootMs: () => this.boot }, ...more });
  }
}

const tell = (log: FileLog, subject: string): Promise<unknown> => log.append({ kind: 'lifecycle', source: 'control', subject, body: {} });

/** A log of its own, open until the callback is done. The first that it is told is `one`. */
async function record(t: TestContext, rest: (log: FileLog, host: Host) => Promise<void>, more: Parameters<Host['open']>[1] = {}): Promise<{ readonly dir: string; readonly host: Host }> {
  const [dir, host] = [tempDir(t), new Host()];
  await using log = await host.open(dir, more);
  await tell(log, 'one');
  await rest(log, host);
  return { dir, host };
}

/** Each entry by its subject, an alert by its reason. */
async function told(dir: string): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const { entry } of readEntries(dir)) lines.push(entry.kind === 'alert' ? (entry.body as { reason: string }).reason : entry.subject);
  return lines;
}

const BACK = 'the clock of this host was set back by 3600.000 s, to 2023-11-14T21:13:21.000Z';

test('a clock that is set is told before anything is dated by it, and the log is complete', async (t) => {
  const { dir } = await record(t, async (log, host) => {
    host.pass(1_000);
    host.wall -= 3_600_000;
    await tell(log, 'two');
    host.pass(500);
    host.wall += 5_000;
    await tell(log, 'three');
    host.pass(60_000);
    await tell(log, 'four');
    assert.deepEqual((await log.alerts()).map(({ alert, severity, about }) => [alert, severity, about]), [['clock-stepped', 'warning', ['evidence']], ['clock-stepped', 'warning', ['evidence']]]);
  });
  assert.deepEqual(await told(dir), ['one', BACK, 'two', 'the clock of this host was set forward by 5.000 s, to 2023-11-14T21:13:26.500Z', 'three', 'four']);
  const { bad, findings } = await verifyLog(dir);
  assert.deepEqual([bad, findings], [null, []]);
});

test('a clock that was set back while nobody looked is told by the next run', async (t) => {
  const { dir, host } = await record(t, async () => undefined);
  host.pass(1_000);
  host.wall -= 3_600_000;
  host.monotonic = 0; // another process, after another start of the host
  host.boot = 0;
  {
    await using log = await host.open(dir);
    await tell(log, 'two');
  }
  assert.deepEqual(await told(dir), ['one', 'the clock of this host was set back by 3599.000 s, to 2023-11-14T21:13:21.000Z', 'two']);
  assert.deepEqual((await verifyLog(dir)).findings, []);
});

test('a clock that is kept right, a host that slept, and a log that was long shut are no step', async (t) => {
  const { dir, host } = await record(t, async (log, clocks) => {
    clocks.pass(7_200_000, 7_200_000 + 3_600); // by 500 parts in a million
    await tell(log, 'two');
    clocks.sleep(30_000_000);
    await tell(log, 'three');
    clocks.sleep(8_000_000);
    clocks.pass(10);
    await tell(log, 'four');
    clocks.wall -= 900;
    await tell(log, 'five');
  });
  host.wall += 90_000_000;
  {
    await using log = await host.open(dir);
    await tell(log, 'six');
  }
  assert.deepEqual(await told(dir), ['one', 'two', 'three', 'four', 'five', 'six']);
  assert.deepEqual((await verifyLog(dir)).findings, []);
});

test('a clock that is set while the host sleeps is told, without the time of the sleep', async (t) => {
  const { dir } = await record(t, async (log, host) => {
    host.sleep(30_000_000);
    host.wall -= 10_000;
    await tell(log, 'two');
  });
  assert.match((await told(dir))[1] ?? '', /set back by 10\.000 s/);
});

test('a step that could not be recorded is told once there is room, before what is dated by it', async (t) => {
  const faults: Faults = {};
  const { dir } = await record(t, async (log, host) => {
    faults.write = failing('ENOSPC');
    host.wall -= 3_600_000;
    await assert.rejects(tell(log, 'two'), { code: 'EVIDENCE_UNAVAILABLE' });
    await assert.rejects(tell(log, 'three'), { code: 'EVIDENCE_UNAVAILABLE' });
    delete faults.write;
    await tell(log, 'four');
    await tell(log, 'five');
  }, { disk: watched([], faults) });
  assert.deepEqual(await told(dir), ['one', 'the clock of this host was set back by 3600.000 s, to 2023-11-14T21:13:20.000Z', 'four', 'for 0 ms nothing could be recorded, and 2 appends were refused: ENOSPC: simulated', 'five']);
});

test('a time that goes back in the log, and of which nothing tells, is found at its entry', async (t) => {
  const dir = tempDir(t);
  const host = new Host();
  {
    await using log = await openFileLog({ dir, now: () => host.wall });
    await tell(log, 'one');
    await tell(log, 'two');
    host.wall -= 60_000;
    await tell(log, 'three');
    host.wall += 120_000;
    await tell(log, 'four');
  }
  const { bad, findings } = await verifyLog(dir);
  assert.equal(bad, null);
  assert.deepEqual(findings, [{ index: 2, reason: 'is 60.000 s before the one before it, and nothing says that the clock was set' }]);
});

test('however a clock goes and is set, and wherever the log is shut, the log tells of each step and is complete', async (t) => {
  const move = fc.record({ passMs: fc.nat(100_000), sleepMs: fc.nat(100_000), setMs: fc.oneof(fc.constant(0), fc.integer({ min: -10_000_000, max: 10_000_000 })), shut: fc.boolean() });
  await fc.assert(fc.asyncProperty(fc.array(move, { maxLength: 12 }), async (moves) => {
    const dir = tempDir(t);
    const host = new Host();
    let log = await host.open(dir);
    try {
      await tell(log, 'first');
      let steps = 0;
      for (const { passMs, sleepMs, setMs, shut } of moves) {
        if (shut) {
          await log[Symbol.asyncDispose]();
          log = await host.open(dir);
          await tell(log, 'opened');
        }
        host.pass(passMs);
        host.sleep(sleepMs);
        host.wall += setMs;
        if (Math.abs(setMs) > 1_100) steps += 1;
        await tell(log, 'next');
      }
      const alerts = (await told(dir)).filter((line) => line.startsWith('the clock')).length;
      assert.ok(alerts >= steps, `${alerts} alerts for ${steps} steps`);
    } finally {
      await log[Symbol.asyncDispose]();
    }
    assert.deepEqual((await verifyLog(dir)).findings, []);
  }), { numRuns: 30 });
});
