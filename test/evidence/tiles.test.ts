import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Alert } from '@caisson/contract';
import { openFileLog, readEntries, verifyLog, type FileLog } from '@caisson/evidence';
import { draft, tempDir, ticking } from './given.ts';

async function alertsOf(log: FileLog, when: (alerts: readonly Alert[]) => boolean): Promise<readonly Alert[]> {
  for (let waits = 0; ; waits++) {
    const alerts = await log.alerts();
    if (when(alerts)) return alerts;
    assert.ok(waits < 3_000, 'the alert comes and goes');
    await delay(10);
  }
}

/** A file where the folder of tiles would be: not even root can write tiles then. */
const stopTiles = (dir: string): void => writeFileSync(join(dir, 'tile'), '');

test('tiles that cannot be written raise an alert with the reason while appends go on, and it is cleared when they can', async (t) => {
  const dir = tempDir(t);
  await using log = await openFileLog({ dir, now: ticking(), publishEveryMs: 10 });
  stopTiles(dir);
  await log.append(draft('lifecycle', 'sbx-0'));
  const [alert] = await alertsOf(log, (alerts) => alerts.length > 0);
  assert.deepEqual([alert?.alert, alert?.severity, alert?.about], ['tiles-not-written', 'critical', ['evidence']]);
  assert.match(alert?.reason ?? '', /^tiles cannot be written: (ENOTDIR|EEXIST)/);
  await log.append(draft('lifecycle', 'sbx-1'));
  rmSync(join(dir, 'tile'));
  assert.deepEqual(await alertsOf(log, (alerts) => alerts.length === 0), []);
  await log.publish();
  const said = (await Array.fromAsync(readEntries(dir))).flatMap(({ entry: { kind, body } }) => (kind === 'alert' ? [body as { alert: string; cleared?: boolean }] : []));
  assert.deepEqual(said.map(({ alert: name, cleared = false }) => [name, cleared]), [['tiles-not-written', false], ['tiles-not-written', true]], 'each is told once');
  const { bad, findings } = await verifyLog(dir);
  assert.deepEqual([bad, findings], [null, []]);
});

test('an alert outlives the scribe, and the next one clears it when tiles are written', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking(), publishEveryMs: 10 });
    stopTiles(dir);
    await log.append(draft('lifecycle', 'sbx-0'));
    await alertsOf(log, (alerts) => alerts.length > 0);
  }
  rmSync(join(dir, 'tile'));
  await using log = await openFileLog({ dir, now: ticking(), publishEveryMs: 10 });
  assert.deepEqual(await alertsOf(log, (alerts) => alerts.length === 0), []);
});
