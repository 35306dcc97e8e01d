import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonText } from '@caisson/cli';

test('JSON that names what a sandbox named drives no terminal, and says the same', () => {
  assert.equal(jsonText({ path: 'a\u009b31mb\u202ec' }), '{"path":"a\\u009b31mb\\u202ec"}');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
    const shown = jsonText({ [text]: text });
    assert.ok(!/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(shown));
    assert.deepEqual(JSON.parse(shown), JSON.parse(JSON.stringify({ [text]: text })));
  }));
});
