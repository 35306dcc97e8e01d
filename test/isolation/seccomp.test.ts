import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Level, SeccompRule } from '@caisson/contract';
import { shippedSeccomp } from './given.ts';

const { rules, defaultErrno } = shippedSeccomp;
const EPERM = 1;
const ENOSYS = 38;
const label = (rule: SeccompRule): string => rule.names.join(' ').slice(0, 60);

test('what the filter does not name is refused with EPERM', () => assert.equal(defaultErrno, EPERM));

test('every rule of the filter says why in a sentence of its own', () => {
  for (const rule of rules) assert.ok(rule.why.split(' ').length >= 5, label(rule));
  assert.equal(new Set(rules.map(({ why }) => why)).size, rules.length);
});

test('no call stands in two rules unless each has its condition, or the first is a refusal for the one level that reads rules in order', () => {
  const seen = new Map<string, SeccompRule>();
  for (const rule of rules) {
    for (const name of rule.names) {
      const other = seen.get(name);
      const refusedFirst = other?.errno !== undefined && other.level === 'gvisor';
      assert.ok(other === undefined || refusedFirst || (other.when !== undefined && rule.when !== undefined), name);
      seen.set(name, rule);
    }
  }
});

test('a rule never compares one argument twice, which runtimes read differently', () => {
  for (const { names, when = [] } of rules) assert.equal(new Set(when.map(({ argument }) => argument)).size, when.length, names.join());
});

test('an argument is compared in ways that bits above it cannot get round', () => {
  for (const rule of rules) {
    for (const { operator, mask, value } of rule.when ?? []) {
      // A 32-bit argument reaches the filter with whatever the caller put above it; "not equal" would let that pass.
      assert.notEqual(operator, 'not-equal', label(rule));
      if (operator === 'masked-not-equal') assert.equal(mask, 0xffff_ffff, `${label(rule)} takes some values for others`);
      if (operator !== 'masked-equal' && operator !== 'masked-not-equal') continue;
      assert.ok(mask !== undefined && mask > 0, label(rule));
      assert.equal(Number(BigInt(value) & ~BigInt(mask)), 0, `${label(rule)} compares bits that its mask takes away`);
    }
  }
});

test('clone3 alone is refused with another error, so that libc falls back to clone', () => {
  const refusals = rules.filter(({ errno, level }) => errno !== undefined && level === undefined);
  assert.deepEqual(refusals.map(({ names, errno }) => [names, errno]), [[['clone3'], ENOSYS]]);
});

test('sockets are of four families, with protocols that load no kernel module', () => {
  const sockets = rules.filter(({ names }) => names.includes('socket'));
  const triples = (level: Level): unknown => sockets
    .filter((rule) => rule.level === undefined || rule.level === level)
    .map(({ when = [] }) => [0, 1, 2].map((index) => when.find(({ argument }) => argument === index)?.value ?? null));
  assert.deepEqual(triples('container'), [[1, null, null], [2, 1, 0], [2, 1, 6], [10, 1, 0], [10, 1, 6], [16, null, 0]]);
  assert.deepEqual(triples('gvisor'), [
    [1, null, null], [2, 1, 6], [2, null, 0], [2, null, 17], [2, null, 1], [10, 1, 6], [10, null, 0], [10, null, 17], [10, null, 58], [16, null, 0],
  ]);
});
