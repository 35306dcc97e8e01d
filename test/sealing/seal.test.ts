import assert from 'node:assert/strict';
import { createCipheriv, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, type Json, type Sealed } from '@caisson/contract';
import { MAX_TEXT_BYTES, NONCE_BYTES, pad, seal, unpad, unseal, type About, type SealWith } from '@caisson/sealing';
import { ABOUT, freshKey } from './given.ts';

const VALUE: Json = { argv: ['curl', '-H', 'Authorization: Bearer canary'], env: { TOKEN: 'canary' } };

function by(change: Partial<SealWith> = {}): SealWith {
  return { key: freshKey(), keyId: 'k.0.0', about: ABOUT, nonce: randomBytes(NONCE_BYTES), ...change };
}

const json = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, fc.string({ unit: 'grapheme' }), fc.maxSafeInteger(), fc.boolean(), fc.constant(null), fc.array(tie('value'), { maxLength: 4 }), fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), tie('value'), { maxKeys: 4 })),
})).value.filter((value) => {
  try {
    return Buffer.byteLength(canonicalJson(value)) <= MAX_TEXT_BYTES;
  } catch {
    return false; // -0
  }
});

test('what is sealed for an entry opens for that entry, whatever it is', () => {
  fc.assert(fc.property(json, fc.string({ unit: 'grapheme' }), (value, subject) => {
    const given = by({ about: { ...ABOUT, subject } });
    const opened = unseal(seal(value, given), given);
    assert.ok('value' in opened);
    assert.equal(canonicalJson(opened.value), canonicalJson(value));
  }));
});

test('a sealed text that is moved to an entry of another subject, kind or source does not open', () => {
  const given = by();
  const sealed = seal(VALUE, given);
  const others: readonly Partial<About>[] = [{ subject: 'sbx-2' }, { kind: 'outcome' }, { source: 'gate' }];
  for (const other of others) assert.ok('bad' in unseal(sealed, { key: given.key, about: { ...ABOUT, ...other } }));
});

test('a sealed text with any bit changed, or cut anywhere, does not open', () => {
  const given = by();
  const sealed = seal(VALUE, given);
  const bytes = { nonce: Buffer.from(sealed.nonce, 'base64'), text: Buffer.from(sealed.text, 'base64') };
  for (const field of ['nonce', 'text'] as const) {
    for (let bit = 0; bit < 8 * bytes[field].length; bit += 1) {
      const changed = Buffer.from(bytes[field]);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.ok('bad' in unseal({ ...sealed, [field]: changed.toString('base64') }, given), `${field} bit ${bit}`);
    }
    for (let length = 0; length < bytes[field].length; length += 1) assert.ok('bad' in unseal({ ...sealed, [field]: bytes[field].subarray(0, length).toString('base64') }, given));
  }
});

test('a sealed text does not open by another key, nor under another name of its own key', () => {
  const given = by();
  const sealed = seal(VALUE, given);
  assert.ok('bad' in unseal(sealed, { ...given, key: freshKey() }));
  assert.ok('bad' in unseal({ ...sealed, key: 'k.1.0' }, given));
});

test('nothing that a log could hold as a sealed text makes unseal throw', () => {
  const given = by();
  fc.assert(fc.property(fc.string(), fc.oneof(fc.string(), fc.base64String()), fc.oneof(fc.string(), fc.base64String()), (key, nonce, text) => {
    assert.ok('bad' in unseal({ key, nonce, text }, given));
  }));
  for (const text of [null, 7, {}]) assert.ok('bad' in unseal({ key: 'k.0.0', nonce: 'AAAAAAAAAAAAAAAA', text } as unknown as Sealed, given));
});

test('of the length of what is sealed only its size class shows, and there are eight', () => {
  const sizes = new Set<number>();
  for (let length = 0; length <= MAX_TEXT_BYTES; length += 61) sizes.add(pad(Buffer.alloc(length, 65))?.length ?? 0);
  sizes.add(pad(Buffer.alloc(MAX_TEXT_BYTES))?.length ?? 0);
  assert.deepEqual([...sizes], [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768]);
  assert.equal(seal('y', by()).text.length, seal('n'.repeat(200), by()).text.length);
});

test('padding gives back the text, and takes only what it made itself', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 3_000 }), (bytes) => {
    const padded = pad(Buffer.from(bytes));
    assert.ok(padded !== null && unpad(padded)?.equals(Buffer.from(bytes)) === true);
    const dirty = Buffer.concat([padded, Buffer.alloc(padded.length)]); // the same text in a larger class
    assert.equal(unpad(dirty), null);
  }));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1_024 }), (bytes) => {
    const text = unpad(Buffer.from(bytes));
    assert.ok(text === null || pad(text)?.equals(Buffer.from(bytes)) === true);
  }));
});

test('padding that hides bytes does not open, though the key is right', () => {
  const given = by();
  const padded = pad(Buffer.from('"x"')) as Buffer;
  padded.writeUInt8(1, padded.length - 1);
  const cipher = createCipheriv('aes-256-gcm', given.key, given.nonce);
  cipher.setAAD(Buffer.from(`caisson-sealed-v1\n${canonicalJson([given.keyId, ABOUT.kind, ABOUT.source, ABOUT.subject])}`));
  const text = Buffer.concat([cipher.update(padded), cipher.final(), cipher.getAuthTag()]).toString('base64');
  assert.deepEqual(unseal({ key: given.keyId, nonce: given.nonce.toString('base64'), text }, given), { bad: 'its padding is not one that is made here' });
});

test('what is longer than can be sealed is refused, never cut; the longest leaves room in an entry of 65,535 bytes', () => {
  const longest = seal('x'.repeat(MAX_TEXT_BYTES - 2), by());
  assert.ok(JSON.stringify(longest).length < 44 * 1024, String(JSON.stringify(longest).length));
  assert.throws(() => seal('x'.repeat(MAX_TEXT_BYTES - 1), by()), { code: 'REQUEST_INVALID', message: /secret: is \d+ bytes, of 32764 that can be sealed/ });
});
