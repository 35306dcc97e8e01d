import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, type Json } from '@caisson/contract';

const text = fc.string({ unit: 'binary' }).filter((value) => value.isWellFormed()).map((value) => value.normalize('NFC'));
const integer = fc.maxSafeInteger().map((value) => value + 0);
const { json } = fc.letrec<{ json: Json; list: Json[]; object: Record<string, Json> }>((tie) => ({
  json: fc.oneof({ depthSize: 'small' }, fc.constant(null), fc.boolean(), integer, text, tie('list'), tie('object')),
  list: fc.array(tie('json'), { maxLength: 5 }),
  object: fc.dictionary(text, tie('json'), { maxKeys: 5 }),
}));

/** The same value with the fields of every object in another order. */
function shuffled(value: Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => shuffled(item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).toReversed().map(([name, item]) => [name, shuffled(item as Json)]));
}

test('canonical JSON reads back to itself', () => {
  fc.assert(fc.property(json, (value) => assert.equal(canonicalJson(JSON.parse(canonicalJson(value)) as Json), canonicalJson(value))));
});

test('the order in which fields were set does not show in canonical JSON', () => {
  fc.assert(fc.property(json, (value) => assert.equal(canonicalJson(shuffled(value)), canonicalJson(value))));
});

test('two values have one canonical text exactly when they are equal', () => {
  const same = (a: Json, b: Json): boolean => {
    try {
      assert.deepEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(fc.property(json, json, (a, b) => assert.equal(canonicalJson(a) === canonicalJson(b), same(a, b))));
  fc.assert(fc.property(json, (value) => assert.equal(canonicalJson(structuredClone(value)), canonicalJson(value))));
});

test('canonical JSON has no white space and the fields in order of their code units', () => {
  assert.equal(canonicalJson({ b: [1, 'x y', null], a: { '\u{1f600}': true, '\uffee': false }, B: undefined }), '{"a":{"\u{1f600}":true,"\uffee":false},"b":[1,"x y",null]}');
});

test('strings that Unicode calls equal have one canonical text', () => {
  assert.equal(canonicalJson('e\u0301'), canonicalJson('\u00e9'));
});

test('canonical JSON refuses every number that is not a safe integer', () => {
  const inexact = fc.double().filter((value) => !Number.isSafeInteger(value) || Object.is(value, -0));
  fc.assert(fc.property(inexact, (value) => assert.throws(() => canonicalJson([{ n: value }]), TypeError)));
});

test('canonical JSON refuses what is not JSON', () => {
  for (const value of [undefined, 1n, Symbol('s'), () => 0, new Date(), new Map(), Buffer.from('a'), '\udc00', [undefined]]) {
    assert.throws(() => canonicalJson(value as Json), TypeError);
  }
});

test('two names that NFC makes equal are refused, and names are sorted after NFC', () => {
  assert.throws(() => canonicalJson({ 'e\u0301': 1, '\u00e9': 2 }), TypeError);
  assert.equal(canonicalJson({ 'e\u0301': 1, z: 2 }), '{"z":2,"\u00e9":1}');
});
