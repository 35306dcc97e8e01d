import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ALERTS, type AlertName } from '@caisson/contract';
import type { Proof } from '../requirement.ts';
import { readTitles } from '../../tools/titles.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const ARCHIVE = 'test/archive/alarm.test.ts';
const WITNESS = 'test/witness/feed.test.ts';

const STAMPED: Proof = ['test/timestamp/stamper.test.ts', 'a log that ${name} is not stamped, over a new start neither, what is kept stays, and the alarm is told'];

/** The test that injects the fault of an alert and sees it raised. */
const RAISED: Readonly<Record<AlertName, Proof>> = {
  'orphan-intents': ['test/faults/kill.test.ts', 'kill -9 of control between an intent and its outcome raises an alert that the log, status and doctor show'],
  'tiles-not-written': ['test/evidence/tiles.test.ts', 'tiles that cannot be written raise an alert with the reason while appends go on, and it is cleared when they can'],
  'evidence-not-written': ['test/faults/disk.test.ts', 'a full disk of the evidence refuses what is new before it happens, lets what runs go on, and has all of it once there is room'],
  'clock-stepped': ['test/evidence/clock.test.ts', 'a clock that is set is told before anything is dated by it, and the log is complete'],
  'key-rotated': ['test/evidence/rotate.test.ts', 'has the rotation among the alerts that somebody has to look at, now and after the next start'],
  'archive-fenced': [ARCHIVE, 'archive-${state}: ${what} is an alert, and is cleared when it is over'],
  'archive-forked': [ARCHIVE, 'archive-${state}: ${what} is an alert, and is cleared when it is over'],
  'archive-damaged': [ARCHIVE, 'archive-${state}: ${what} is an alert, and is cleared when it is over'],
  'witness-fork': [WITNESS, 'a log that ${name} is not countersigned, the witnessed head stays, over a new start of the feeder too, and the alarm is told'],
  'witness-rollback': [WITNESS, 'a running instance takes its heads to a witness; an old copy of the log that is put back and goes on is BAD against the witnessed head, and an alert says so'],
  'timestamp-fork': STAMPED,
  'timestamp-rollback': ['test/timestamp/live.test.ts', 'a running instance has its heads stamped; offline they verify by two public keys, also with openssl; an old copy that is put back and goes on is BAD, and an alert says so'],
  'timestamp-clock': ['test/timestamp/stamper.test.ts', 'a clock here that is far from the authority’s is an alarm, on either side, for as long as it lasts, and the stamp is kept'],
  'mirror-behind': ['test/escape/mirror-alarm.test.ts', 'mirror-behind: a mirror that cannot be written, and a writer that hangs, are alerts, and are cleared when it is over and all is written'],
};

test('every alert has a row that says what to do, and no row is of none', () => {
  const [, table = ''] = readFileSync(join(ROOT, 'docs/audit.md'), 'utf8').split('\n## Alerts\n');
  const rows = (table.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  assert.deepEqual(new Set(named), new Set(ALERTS));
  assert.equal(named.length, ALERTS.length, 'each is there once');
  for (const row of rows) assert.ok(row.split('|').slice(1, 4).every((cell) => cell.trim() !== ''), row);
});

test('every alert is raised by a test that injects its fault', () => {
  const titles = new Set(readTitles(ROOT).map(({ file, text }) => `${file}: ${text}`));
  assert.deepEqual(new Set(Object.keys(RAISED)), new Set(ALERTS));
  assert.deepEqual(Object.values(RAISED).map(([file, title]) => `${file}: ${title}`).filter((proof) => !titles.has(proof)), []);
});
