import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ENTRY_KINDS, type Entry, type Json } from '@caisson/contract';
import { encodeLine, GENESIS, MAX_LINE_BYTES, openFileLog, parseLine, verifyLog } from '@caisson/evidence';
import { draft, problem, tempDir, ticking } from './given.ts';

const entry: Entry = { index: 0, timeMs: 1, kind: 'intent', source: 'control', subject: 'sbx-0', body: { command: ['true'], n: 7 } };
const good = Buffer.from(encodeLine(entry, GENESIS).text);

test('any bytes are read as a line or a reason, and nothing but the exact encoding is a line', () => {
  const mangled = fc.tuple(fc.nat(good.length - 1), fc.nat(20), fc.uint8Array({ maxLength: 20 })).map(([at, cut, bytes]) =>
    Buffer.concat([good.subarray(0, at), bytes, good.subarray(at + cut)]),
  );
  const json = fc.json().map((text) => Buffer.from(text));
  const shaped = fc.record({ entry: fc.oneof(fc.jsonValue(), fc.constant(entry)), hash: fc.jsonValue(), prev: fc.jsonValue() }).map((value) => Buffer.from(JSON.stringify(value)));
  fc.assert(
    fc.property(fc.oneof(mangled, json, shaped, fc.uint8Array().map((bytes) => Buffer.from(bytes))), (bytes) => {
      const line = parseLine(bytes);
      if ('bad' in line) assert.match(line.bad, /./);
      else assert.equal(encodeLine(line.entry, line.prev).text, bytes.toString('utf8'));
      assert.equal('bad' in line, !bytes.equals(good));
    }),
    { numRuns: 2000 },
  );
});

test('a prev that is not a hash is a reason, whatever it is', () => {
  for (const prev of [null, 7, 'x', '0'.repeat(63), '0'.repeat(65), 'F'.repeat(64), [], { toString: 1 }, { toString: null, valueOf: null }]) {
    assert.deepEqual(parseLine(Buffer.from(JSON.stringify({ entry, hash: GENESIS, prev }))), { bad: 'its prev is not a hash' });
  }
});

test('what is encoded is read back as the same line', () => {
  const body = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value), (_, item: unknown) => (typeof item === 'number' ? Math.trunc(item % 1e9) + 0 : item)) as Json);
  const ascii = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 64 });
  const entries = fc.record({ index: fc.maxSafeNat(), timeMs: fc.nat(), kind: fc.constantFrom(...ENTRY_KINDS), source: ascii, subject: ascii, body });
  const hashes = fc.stringMatching(/^[0-9a-f]{64}$/);
  fc.assert(fc.property(entries, hashes, (value, prev) => {
    const { line, text } = encodeLine(value, prev);
    const read = parseLine(Buffer.from(text));
    if ('bad' in read) return assert.fail(read.bad);
    assert.equal(read.hash, line.hash);
    assert.equal(read.prev, prev);
    assert.equal(encodeLine(read.entry, prev).text, text);
  }));
});

const refused: readonly (readonly [string, Json, RegExp])[] = [
  ['a float', { cpus: 1.5 }, /body: .*integers only/],
  ['a number that is not exact', { n: 2 ** 53 }, /body: .*integers only/],
  ['a lone surrogate', { name: '\ud800' }, /body: .*surrogate/],
  ['a Date', new Date(0) as unknown as Json, /body: .*plain objects/],
  ['65 levels of nesting', nested(65), /body: is nested deeper/],
  ['a thousand levels of nesting', nested(1000), /body: is nested deeper/],
  ['a body over its length', 'x'.repeat(256 * 1024), /body: is more than/],
  ['a body that grows over its length in NFC', '\u0958'.repeat(200 * 1024), /body: is more than/],
  ['names that are one in NFC', { '\u00e9': 1, 'e\u0301': 2 }, /body: canonical JSON holds a name once/],
];

function nested(levels: number): Json {
  let value: Json = 0;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

for (const [name, body, message] of refused) {
  test(`append refuses ${name}, names the field, and the log stays good`, async (t) => {
    const dir = tempDir(t);
    {
      await using log = await openFileLog({ dir, now: ticking() });
      await assert.rejects(log.append(draft('intent', 'sbx-0', body)), problem('REQUEST_INVALID', message));
      await log.append(draft('intent', 'sbx-1'));
    }
    const { bad, entries } = await verifyLog(dir);
    assert.deepEqual([bad, entries], [null, 1]);
  });
}

test('append refuses an unknown kind, an unknown field, an empty subject and no body, and names them', async (t) => {
  await using log = await openFileLog({ dir: tempDir(t), now: ticking() });
  await assert.rejects(log.append({ ...draft('intent', 'a'), kind: 'verdict' as 'intent' }), problem('REQUEST_INVALID', /kind: /));
  await assert.rejects(log.append({ ...draft('intent', 'a'), index: 7 } as never), problem('REQUEST_INVALID', /index/));
  await assert.rejects(log.append(draft('intent', '')), problem('REQUEST_INVALID', /subject: /));
  await assert.rejects(log.append({ kind: 'intent', source: 'control', subject: 'a' } as never), problem('REQUEST_INVALID', /body: /));
  assert.equal(await log.head(), null);
});

test('the longest draft that is accepted fits a line and is read back', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    for (const character of ['x', '"', '\u20ac']) {
      const most = 256 * 1024 - 2;
      await log.append({ kind: 'lifecycle', source: '\u20ac'.repeat(64), subject: '\u0001'.repeat(128), body: character.repeat(character === '"' ? most / 2 : most) });
    }
    await log.append(draft('lifecycle', 'nested', nested(62)));
    await log.append(draft('lifecycle', 'reserved', JSON.parse('{"__proto__":{"a":1},"constructor":2}') as Json));
  }
  const { bad, entries } = await verifyLog(dir);
  assert.deepEqual([bad, entries], [null, 5]);
  assert.ok(256 * 1024 * 3 < MAX_LINE_BYTES);
});
