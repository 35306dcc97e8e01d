import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ENTRY_KINDS, type Entry, type Json } from '@caisson/contract';
import { encodeEntry, MAX_BODY_BYTES, openFileLog, parseEntry, verifyLog } from '@caisson/evidence';
import { draft, problem, tempDir, ticking } from './given.ts';

const entry: Entry = { index: 0, timeMs: 1, kind: 'intent', source: 'control', subject: 'sbx-0', body: { command: ['true'], n: 7 } };
const good = Buffer.from(encodeEntry(entry));

test('any bytes are read as an entry or a reason, and nothing but the exact encoding is an entry', () => {
  const mangled = fc.tuple(fc.nat(good.length - 1), fc.nat(20), fc.uint8Array({ maxLength: 20 })).map(([at, cut, bytes]) =>
    Buffer.concat([good.subarray(0, at), bytes, good.subarray(at + cut)]),
  );
  const json = fc.json().map((text) => Buffer.from(text));
  const shaped = fc.record({ ...Object.fromEntries(Object.keys(entry).map((name) => [name, fc.jsonValue()])), origin: fc.option(fc.jsonValue()) }).map((value) => Buffer.from(JSON.stringify(value)));
  fc.assert(
    fc.property(fc.oneof(mangled, json, shaped, fc.uint8Array().map((bytes) => Buffer.from(bytes))), (bytes) => {
      const read = parseEntry(bytes);
      if ('bad' in read) assert.match(read.bad, /./);
      else assert.equal(encodeEntry(read), bytes.toString('utf8'));
    }),
    { numRuns: 2000 },
  );
});

test('what is encoded is read back as the same entry', () => {
  const body = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value), (_, item: unknown) => (typeof item === 'number' ? Math.trunc(item % 1e9) + 0 : item)) as Json);
  const ascii = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 64 });
  const origin = fc.record({ run: fc.stringMatching(/^[0-9a-f]{32}$/), seq: fc.integer({ min: 1 }) });
  const base64 = fc.stringMatching(/^[A-Za-z0-9+/]{1,40}$/);
  const sealed = fc.record({ key: fc.stringMatching(/^[A-Za-z0-9._-]{1,128}$/), nonce: base64, text: base64, digest: base64 }, { requiredKeys: ['key', 'nonce', 'text'] });
  const required = fc.record({ index: fc.maxSafeNat(), timeMs: fc.nat(), kind: fc.constantFrom(...ENTRY_KINDS), source: ascii, subject: ascii, body });
  const entries = fc.tuple(required, fc.option(origin), fc.option(sealed)).map(([fields, from, text]): Entry => ({ ...fields, ...(from && { origin: from }), ...(text && { sealed: text }) }));
  fc.assert(fc.property(entries, (value) => {
    const text = encodeEntry(value);
    const read = parseEntry(Buffer.from(text));
    if (/[{,]"__proto__":/.test(text)) return assert.ok('bad' in read);
    if ('bad' in read) return assert.fail(read.bad);
    assert.equal(encodeEntry(read), text);
  }));
});

const refused: readonly (readonly [string, Json, RegExp])[] = [
  ['a float', { cpus: 1.5 }, /body: .*integers only/],
  ['a number that is not exact', { n: 2 ** 53 }, /body: .*integers only/],
  ['a lone surrogate', { name: '\ud800' }, /body: .*surrogate/],
  ['a Date', new Date(0) as unknown as Json, /body: .*plain objects/],
  ['65 levels of nesting', nested(65), /body: is nested deeper/],
  ['a thousand levels of nesting', nested(1000), /body: is nested deeper/],
  ['a field that some readers take for something else', JSON.parse('{"a":{"__proto__":{"b":1}}}') as Json, /__proto__/],
  ['a body over its length', 'x'.repeat(MAX_BODY_BYTES - 1), /body: is more than/],
  ['a body that grows over its length in NFC', '\u0958'.repeat(15 * 1024), /body: is more than/],
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

test('the longest draft that is accepted fits a bundle and is read back', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    for (const character of ['x', '"', '\u20ac']) {
      const most = MAX_BODY_BYTES - 2;
      await log.append({ kind: 'lifecycle', source: '\u20ac'.repeat(64), subject: '\u0001'.repeat(128), body: character.repeat(Math.floor(most / Buffer.byteLength(JSON.stringify(character).slice(1, -1)))) });
    }
    await log.append(draft('lifecycle', 'nested', nested(62)));
    await log.append(draft('lifecycle', 'reserved', JSON.parse('{"constructor":2,"toString":1}') as Json));
  }
  const { bad, entries } = await verifyLog(dir);
  assert.deepEqual([bad, entries], [null, 5]);
});

test('a secret is refused by a log that seals nothing', async (t) => {
  await using log = await openFileLog({ dir: tempDir(t), now: ticking() });
  await assert.rejects(log.append({ ...draft('intent', 'sbx-0'), secret: { tenant: 'a', value: 1 } }), problem('REQUEST_INVALID', /seals nothing/));
  assert.equal((await log.append(draft('intent', 'sbx-0'))).index, 0);
});
