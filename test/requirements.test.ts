import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { isNamed, readTitles } from '../tools/titles.ts';
import { REQUIREMENTS } from './requirements.ts';

/** PREFIX first…last, numbers padded to two digits unless the prefix is H. */
function range(prefix: string, first: number, last: number): readonly string[] {
  const pad = prefix === 'H' ? 1 : 2;
  return Array.from({ length: last - first + 1 }, (_, index) => `${prefix}${String(first + index).padStart(pad, '0')}`);
}

const ASKED = [
  ...range('RX-', 1, 5), 'RX-14', 'RX-22', 'BB-01', 'BB-11', ...range('BB-', 14, 16),
  ...range('RL-', 1, 9), ...range('RL-', 13, 19), ...range('H', 1, 11),
];

test('every requirement that is asked for is in the table once', () => {
  assert.deepEqual(REQUIREMENTS.map(({ id }) => id), ASKED);
});

test('every requirement has a proof, or says why it comes later', () => {
  const unproven = REQUIREMENTS.filter(({ proofs, later }) => proofs.length === 0 && later === undefined);
  assert.deepEqual(unproven.map(({ id, promise }) => `${id}: ${promise}`), []);
});

test('every test that proves a requirement exists under its exact name', () => {
  const titles = readTitles(join(import.meta.dirname, '..'));
  const missing = REQUIREMENTS.flatMap(({ id, proofs }) =>
    proofs.filter(([file, name]) => !titles.some((title) => title.file === file && isNamed(title, name))).map(([file, name]) => `${id}: ${file}: ${name}`));
  assert.deepEqual(missing, []);
});

test('a test of another name or in another file proves nothing', () => {
  const titles = [{ file: 'test/a.test.ts', text: 'refuses ${what} at once' }];
  const proves = (file: string, name: string): boolean => titles.some((title) => title.file === file && isNamed(title, name));
  assert.ok(proves('test/a.test.ts', 'refuses a mount at once'));
  assert.ok(!proves('test/a.test.ts', 'refuses a mount'));
  assert.ok(!proves('test/b.test.ts', 'refuses a mount at once'));
});
