import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { parseSettings, readStatusFile, writeStatusFile } from '@caisson/follower';

const Settings = z.strictObject({ everyMs: z.int().min(1).default(5), place: z.strictObject({ url: z.string() }) });

function refusalOf(text: string): string {
  const refused = new Error('refused');
  let said = '';
  assert.throws(() => parseSettings(text, Settings, (detail) => {
    said = detail;
    throw refused;
  }), refused);
  return said;
}

test('settings are read with their defaults, and what is wrong begins with the field at fault', () => {
  assert.deepEqual(parseSettings('{"place":{"url":"x"}}', Settings, assert.fail), { everyMs: 5, place: { url: 'x' } });
  for (const [text, begins] of [['{"place":{"url":1}}', 'place.url: '], ['{"place":{"url":"x","tpyo":1}}', 'place.tpyo: is not a field'], ['{"everyMs":0,"place":{"url":"x"}}', 'everyMs: '], ['[]', 'the file: '], ['{}', 'place: ']] as const) {
    assert.ok(refusalOf(text).startsWith(begins), `${text}: ${refusalOf(text)}`);
  }
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.match(refusalOf(text), /./)));
});

test('a status is replaced whole, and one that cannot be written leaves the one before', () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  try {
    const path = `${dir}/status.json`;
    const Status = z.strictObject({ looks: z.int() });
    assert.equal(readStatusFile(path, Status), null, 'nothing is said');
    writeStatusFile(path, { looks: 1 });
    assert.deepEqual([readStatusFile(path, Status), readdirSync(dir)], [{ looks: 1 }, ['status.json']]);
    mkdirSync(`${path}.new`); // stands in the way, also of root
    writeStatusFile(path, { looks: 2 });
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { looks: 1 });
    for (const other of ['', '{', '{"looks":"many"}', '{"looks":1,"more":2}']) {
      writeFileSync(path, other);
      assert.equal(readStatusFile(path, Status), null, other);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
