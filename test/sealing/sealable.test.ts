import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BODY_AND_SEALED_BYTES, canonicalJson, sealable, SEALED_TEXT_BYTES, type Json } from '@caisson/contract';
import { MAX_BODY_BYTES } from '@caisson/evidence';
import { MAX_TEXT_BYTES, seal } from '@caisson/sealing';
import { ABOUT, freshKey } from './given.ts';

const bytesOf = (value: Json): number => Buffer.byteLength(canonicalJson(value));
const sealedBytes = (value: Json): number => seal(value, { key: freshKey(), keyId: 'k', about: ABOUT, nonce: Buffer.alloc(12) }).text.length;

test('what is measured before it is sealed has the bounds of the seal and of the log', () => {
  assert.deepEqual([SEALED_TEXT_BYTES, BODY_AND_SEALED_BYTES], [MAX_TEXT_BYTES, MAX_BODY_BYTES]);
});

test('whatever a record holds and however large the body is, it can be sealed and fits beside it', () => {
  const text = fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: 'grapheme', maxLength: 40 }), fc.tuple(fc.constantFrom('a', 'é', '"', '\n', '😀'), fc.nat(60_000)).map(([unit, times]) => unit.repeat(times)));
  const env = fc.tuple(fc.nat(1_024), text).map(([names, value]) => Object.fromEntries(Array.from({ length: names }, (_, at) => [`NAME_${at}`, value.slice(0, 200)])));
  const record = fc.record({ salt: fc.constant('f'.repeat(64)), request: fc.record({ argv: fc.array(text, { maxLength: 12 }), env }) });
  const body = fc.nat(MAX_BODY_BYTES - 600).map((length) => 'b'.repeat(length));
  fc.assert(
    fc.property(record, body, (value, beside) => {
      fc.pre(isWellFormed(value));
      const fitted = sealable(value, beside);
      if (bytesOf(value) > 8_188) assert.ok(sealedBytes(fitted) + bytesOf(beside) <= MAX_BODY_BYTES, `${bytesOf(value)} beside ${bytesOf(beside)}`);
      else assert.deepEqual(fitted, value); // such a body is made of what is sealed, and no longer than it by much
      if (fitted !== value) assert.equal((fitted as { readonly shortened?: boolean }).shortened, true);
    }),
    { numRuns: 60 },
  );
});

test('a text that was cut says how long it was, a list how many it had', () => {
  const long = sealable({ salt: 's', argv: ['sh', 'x'.repeat(100_000)] }, null) as { readonly argv: readonly string[]; readonly salt: string; readonly shortened: boolean };
  assert.match(long.argv[1] ?? '', /^x{16384}… of 100000 characters$/);
  assert.deepEqual([long.salt, long.shortened], ['s', true]);
  const many = sealable({ salt: 's', argv: Array.from({ length: 4_000 }, () => 'y'.repeat(40)) }, null) as { readonly argv: readonly string[] };
  assert.equal(many.argv.at(-1), '… of 4000 items');
});

function isWellFormed(value: Json): boolean {
  return JSON.stringify(value).isWellFormed() && !/\\u[dD][89a-fA-F]/.test(JSON.stringify(value));
}
