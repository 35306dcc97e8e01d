import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openScribe, remoteLog, verifyLog, type Disk } from '@caisson/evidence';
import { diskFailing, outcomeOf, intentOf, problem, tempPaths, ticking } from './given.ts';

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (const untilMs = Date.now() + 15_000; !(await isTrue()); await delay(25)) assert.ok(Date.now() < untilMs, isTrue.toString());
}

test('a scribe whose disk fails a sync refuses, says why, and opens its log again by itself: what was acknowledged is there, once, and so is what comes after', async (t) => {
  const paths = tempPaths(t);
  let isFailing = false;
  let opened = 0;
  const disk = (file: FileHandle): Disk => {
    opened += 1;
    return diskFailing(file, () => (isFailing ? 'EIO' : null));
  };
  await using _ = await openScribe({ dir: paths.evidence, socketPath: paths.scribeSocket, now: ticking(), disk });
  using log = remoteLog(paths.scribeSocket);
  for (const subject of ['sbx-0', 'sbx-1']) await log.append(intentOf(subject));
  const inode = readFileSync(`${paths.evidence}/journal-0`);
  isFailing = true;
  await assert.rejects(log.append(intentOf('sbx-2')), problem('EVIDENCE_UNAVAILABLE', /EIO/));
  for (let at = 0; at < 3; at++) await assert.rejects(log.append(outcomeOf('sbx-0')), problem('EVIDENCE_UNAVAILABLE', /EIO/));
  const [alert] = (await log.alerts?.()) ?? [];
  assert.deepEqual([alert?.alert, alert?.severity], ['evidence-not-written', 'critical']);
  assert.match(alert?.reason ?? '', /EIO/);
  isFailing = false;
  await until(async () => log.append(outcomeOf('sbx-0')).then(() => true, () => false));
  assert.ok(opened > 1, 'it was opened again');
  assert.deepEqual(await log.alerts?.(), []);
  await until(async () => { const { published, entries } = await verifyLog(paths.evidence); return published === entries; });
  const { bad, openIntents } = await verifyLog(paths.evidence);
  assert.equal(bad, null);
  assert.deepEqual(openIntents.filter((subject) => subject !== 'sbx-2'), ['sbx-1']); // the one that was refused may be there
  assert.ok(readFileSync(`${paths.evidence}/journal-0`).subarray(0, inode.length).equals(inode));
});

test('a scribe that is started again where its log cannot be opened answers with the reason, and goes on when it can', async (t) => {
  const paths = tempPaths(t);
  let isFailing = true;
  const options = { dir: paths.evidence, socketPath: paths.scribeSocket, now: ticking(), disk: (file: FileHandle) => diskFailing(file, () => (isFailing ? 'EROFS' : null)) };
  await assert.rejects(openScribe(options), problem('EVIDENCE_UNAVAILABLE', /EROFS/));
  await using _ = await openScribe({ ...options, isPatient: true });
  using log = remoteLog(paths.scribeSocket);
  await assert.rejects(log.append(intentOf('sbx-0')), problem('EVIDENCE_UNAVAILABLE', /EROFS/));
  assert.match((await log.alerts?.())?.[0]?.reason ?? '', /EROFS/);
  isFailing = false;
  await until(async () => log.append(intentOf('sbx-0')).then(() => true, () => false));
  assert.deepEqual(await log.openIntents(), ['sbx-0']);
});
