import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CaissonError } from '@caisson/contract';
import { parseBytes, parseCount, parseCpuMillis, parseDurationMs } from '@caisson/cli';
import fc from 'fast-check';

const PARSERS = { parseBytes, parseCount, parseCpuMillis, parseDurationMs };

test('a quantity that is none is USAGE', () => {
  const none = ['5constructor', '5toString', '1hasOwnProperty', '9'.repeat(400), '9'.repeat(17), `${'9'.repeat(15)}gi`, '', '-', '-1', '1e3', '0x10', '1.', 'NaN', 'Infinity', '5 5'];
  for (const [name, parse] of Object.entries(PARSERS)) {
    for (const text of none) assert.throws(() => parse('--it', text), (error) => error instanceof CaissonError && error.code === 'USAGE' && error.message.includes('--it'), `${name} of ${text}`);
  }
});

test('whatever is given, a quantity is a whole number that JSON can hold, or USAGE', () => {
  const names = Object.getOwnPropertyNames(Object.prototype);
  const text = fc.oneof(fc.string(), fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 40n }), fc.constantFrom('', '.5', '.999'), fc.constantFrom('', 'ms', 's', 'm', 'h', 'Ki', 'GiB', ...names)).map((parts) => parts.join('')));
  fc.assert(fc.property(text, fc.constantFrom(...Object.values(PARSERS)), (given, parse) => {
    try {
      assert.ok(Number.isSafeInteger(parse('--it', given)), given);
    } catch (error) {
      assert.ok(error instanceof CaissonError && error.code === 'USAGE', given);
    }
  }));
});
