import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROBES } from '@caisson/cli';
import { readTitles } from '../tools/titles.ts';
import { REQUIREMENTS, WALLS } from './requirements.ts';

/** PREFIX first…last, numbers padded to two digits unless the prefix is H. */
function range(prefix: string, first: number, last: number): readonly string[] {
  const pad = prefix === 'H' ? 1 : 2;
  return Array.from({ length: last - first + 1 }, (_, index) => `${prefix}${String(first + index).padStart(pad, '0')}`);
}

const ASKED = [
  ...range('RX-', 1, 5), 'RX-14', 'RX-22', 'BB-01', 'BB-11', ...range('BB-', 14, 16),
  ...range('RL-', 1, 9), ...range('RL-', 13, 19), 'KA-02', ...range('H', 1, 11),
  'RX-06', 'BB-04', 'BB-09', 'BB-10', 'BB-12', 'H13', 'H14', 'H16', 'H17', 'BS-01', 'BS-03', 'BS-04', 'BS-07', 'H45', 'H46', 'H47',
  'EN-12', 'EN-13', ...range('S3-', 1, 4), 'RX-25', 'BV-04',
  'EN-14', 'EN-15', 'EN-17', 'EN-19', 'RX-21', 'H54', 'H58', 'EN-10',
  'EN-16', 'EN-18', 'RX-12', 'H24',
  'KA-08', 'KA-09', 'KA-12', 'H26', 'H29', 'H30',
  'RX-11', ...range('EN-', 1, 5), 'EN-07', 'EN-09', 'EN-11', 'EN-20', 'H28', 'H31', 'H32', 'H34', 'H52', 'H53', ...range('DEF-', 9, 18), 'H25', 'H27', 'H33',
];

test('every requirement that is asked for is in the table once', () => {
  assert.deepEqual(REQUIREMENTS.map(({ id }) => id), ASKED);
});

test('every requirement has a proof', () => {
  assert.deepEqual(REQUIREMENTS.filter(({ proofs }) => proofs.length === 0).map(({ id }) => id), []);
});

test('every test that proves a requirement exists under its exact title in the file that is named', () => {
  const titles = new Set(readTitles(join(import.meta.dirname, '..')).map(({ file, text }) => `${file}: ${text}`));
  const missing = REQUIREMENTS.flatMap(({ id, proofs }) =>
    proofs.map(([file, title]) => `${file}: ${title}`).filter((proof) => !titles.has(proof)).map((proof) => `${id}: ${proof}`));
  assert.deepEqual(missing, []);
});

test('what the walls prove is attacked by a probe that names it', () => {
  const attacked = new Set(PROBES.flatMap(({ requirements }) => requirements));
  const claimed = REQUIREMENTS.filter(({ proofs }) => proofs.includes(WALLS));
  assert.deepEqual(claimed.filter(({ id }) => !attacked.has(id)).map(({ id }) => id), []);
});
