import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '@caisson/contract/errors';
import { readTitles, type Title } from '../../tools/titles.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A title names a code when it holds it, or begins with ${code} in a file whose table holds it. */
function names(title: Title, code: ErrorCode): boolean {
  if (new RegExp(`\\b${code}\\b`).test(title.text)) return true;
  return title.text.startsWith('${code}') && readFileSync(join(ROOT, title.file), 'utf8').includes(`'${code}'`);
}

test('every error code is provoked by a test whose title names it', () => {
  const titles = readTitles(ROOT);
  assert.deepEqual(ERROR_CODES.filter((code) => !titles.some((title) => names(title, code))), []);
});

test('api/errors.md has one row per error code', () => {
  const rows = readFileSync(join(ROOT, 'api/errors.md'), 'utf8').match(/^\| `\w+` \|/gm) ?? [];
  assert.deepEqual(rows.map((row) => row.slice(3, -3)), [...ERROR_CODES]);
});
