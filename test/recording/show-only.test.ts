import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { showOnly } from '@caisson/cli';

const shown = (text: string, pieces: number = text.length): string => {
  const show = showOnly();
  const bytes = Buffer.from(text, 'latin1');
  let out = '';
  for (let at = 0; at < bytes.length; at += pieces) out += Buffer.from(show(bytes.subarray(at, at + pieces))).toString('latin1');
  return out;
};

const TAKEN_OUT: readonly (readonly [string, string])[] = [
  ['a title', '\u001b]0;pwned\u0007'],
  ['the clipboard', '\u001b]52;c;cm0gLXJmIC8K\u001b\\'],
  ['a link', '\u001b]8;;http://evil.example\u0007'],
  ['a notification', '\u001b]777;notify;a;b\u0007'],
  ['the C1 control that begins a title', '\u00c2\u009d'],
  ['a device control string', '\u001bP+q544e\u001b\\'],
  ['a question where the cursor is', '\u001b[6n'],
  ['a question what it is', '\u001b[c'],
  ['its title, typed', '\u001b[21t'],
  ['printing', '\u001b[5i'],
  ['an enquiry', '\u0005'],
  ['a title that a title breaks off', '\u001b]0;one\u001b]0;two\u0007'],
];

for (const [what, sequence] of TAKEN_OUT) {
  test(`a replay to a terminal does without ${what}, however it is cut`, () => {
    for (const pieces of [1, 2, 3, 100]) assert.equal(shown(`a${sequence}b`, pieces), 'ab');
  });
}

test('a replay to a terminal keeps colour, cursor and text as they are', () => {
  for (const text of ['\u001b[1;38;5;208mhot\u001b[0m', '\u001b[2J\u001b[H', '\u001b[?25l', '\u001b[?1049h', '\u001b(B', '\u001b7\u001b8', Buffer.from('größe ✓ Â').toString('latin1'), 'plain\r\n']) {
    for (const pieces of [1, 100]) assert.equal(shown(`${text}.`, pieces), `${text}.`);
  }
});

test('nothing that a recording can hold reaches a terminal as a control string or a C1 control', () => {
  const hostile = fc.string({ unit: fc.constantFrom('\u001b', ']', 'P', '_', '[', '\\', '\u0007', '\u00c2', '\u009d', '\u009b', '5', '2', ';', 'c', 'n', 'm', '?', 'u', ' ', '\u0005'), maxLength: 40 });
  fc.assert(fc.property(hostile, fc.integer({ min: 1, max: 5 }), (text, pieces) => {
    const out = shown(text, pieces);
    assert.doesNotMatch(out, /\u001b[\]PX^_]|\u001b\[[?\d;]*[cn]|\u00c2[\u0080-\u009f]|\u0005|\u001b$/);
  }), { numRuns: 20_000 });
});
