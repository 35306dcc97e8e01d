import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { CaissonError } from '@caisson/contract';
import { openStore, parseConfig, parseCredentials } from '@caisson/archive';
import { folder } from './given.ts';

const DIRECTORY = { kind: 'directory', path: '/mnt/archive' };
const S3 = { kind: 's3', bucket: 'evidence', region: 'eu-central-1' };
const parse = (value: unknown): unknown => parseConfig(JSON.stringify(value), 'archive.json');

test('a configuration has these defaults', () => {
  const bounds = { whenAway: 'queue', maxLagMs: 60_000, maxLagEntries: 100_000, everyMs: 1_000, timeoutMs: 15_000 };
  assert.deepEqual(parse(DIRECTORY), { ...DIRECTORY, ...bounds });
  assert.deepEqual(parse(S3), { ...S3, prefix: '', credentials: 'default', ...bounds });
  const full = { ...S3, prefix: 'a/b/', endpoint: 'http://127.0.0.1:9000', credentials: { file: '/etc/keys' }, objectLock: { mode: 'COMPLIANCE', days: 2_555 }, ...bounds, whenAway: 'stop' };
  assert.deepEqual(parse(full), full);
});

const BAD: readonly (readonly [unknown, RegExp])[] = [
  [{ ...S3, lock: true }, /: lock: is not a field/],
  [{ ...S3, objectLock: { mode: 'COMPLIANCE', days: 1, years: 7 } }, /: objectLock\.years: is not a field/],
  [{ ...S3, objectLock: { mode: 'compliance', days: 1 } }, /: objectLock\.mode: /],
  [{ ...S3, prefix: '../x/' }, /: prefix: must be empty, or names/],
  [{ ...S3, prefix: 'events' }, /: prefix: must be empty, or names/],
  [{ ...S3, bucket: 'a*' }, /: bucket: must be the name of a bucket/],
  [{ ...S3, endpoint: 'file:///x' }, /: endpoint: /],
  [{ ...S3, credentials: { file: 'keys' } }, /: credentials/],
  [{ ...S3, maxLagMs: 1 }, /: maxLagMs: /],
  [{ ...S3, whenAway: 'ignore' }, /: whenAway: /],
  [{ ...DIRECTORY, path: 'relative' }, /: path: must be an absolute path/],
  [{ ...DIRECTORY, bucket: 'x' }, /: bucket: is not a field/],
  [{ kind: 'ftp' }, /: kind: /],
  [null, /: the file: /],
];

for (const [value, message] of BAD) {
  test(`a configuration ${JSON.stringify(value)} is refused, and the field is named`, () => {
    assert.throws(() => parse(value), (error) => error instanceof CaissonError && error.code === 'EVIDENCE_ARCHIVE_INVALID' && message.test(error.message));
  });
}

test('whatever the file holds, it is a configuration or refused as none', () => {
  fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
    try {
      parseConfig(text, 'archive.json');
    } catch (error) {
      assert.equal((error as CaissonError).code, 'EVIDENCE_ARCHIVE_INVALID');
    }
  }));
});

test('keys are read from the profile default, and a file without them is refused without a word of what it holds', async () => {
  const text = '# comment\n[other]\naws_access_key_id = no\n\n[default]\naws_access_key_id = AKIA\naws_secret_access_key=s3cr3t/+=\n[last]\naws_secret_access_key = no\n';
  assert.deepEqual(parseCredentials(text, 'f'), { accessKeyId: 'AKIA', secretAccessKey: 's3cr3t/+=' });
  assert.deepEqual(parseCredentials(`${text}[default]\naws_session_token = t\n`, 'f'), { accessKeyId: 'AKIA', secretAccessKey: 's3cr3t/+=', sessionToken: 't' });
  assert.throws(() => parseCredentials('[default]\naws_secret_access_key = canary\n', 'f'), (error: Error) => !error.message.includes('canary'));
  using own = folder();
  const file = `${own.path}/keys`;
  const config = parseConfig(JSON.stringify({ ...S3, credentials: { file } }), 'archive.json');
  await assert.rejects(openStore(config, Date.now), { code: 'EVIDENCE_ARCHIVE_INVALID', message: /credentials\.file: ENOENT/ });
  writeFileSync(file, text);
  (await openStore(config, Date.now))[Symbol.dispose]();
});
