import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from '@caisson/authority';
import { MIB } from '@caisson/contract';
import { shippedPolicy } from './given.ts';

test('LIMIT_BELOW_LEVEL: a sandbox too small for its own kernel is refused with what it needs', () => {
  const decision = decide({ argv: ['true'], level: 'gvisor', limits: { memoryBytes: 16 * MIB } }, shippedPolicy);
  assert.ok(decision.effect === 'deny');
  assert.equal(decision.code, 'LIMIT_BELOW_LEVEL');
  assert.equal(decision.context['needed'], 32 * MIB);
  assert.equal(decide({ argv: ['true'], level: 'container', limits: { memoryBytes: 16 * MIB } }, shippedPolicy).effect, 'allow');
  assert.equal(decide({ argv: ['true'], level: 'gvisor', limits: { memoryBytes: 32 * MIB } }, shippedPolicy).effect, 'allow');
});

test('LIMIT_NOT_ENFORCEABLE: a limit that a level cannot hold is refused when asked for and named when it is a default', () => {
  const asked = decide({ argv: ['true'], level: 'gvisor', limits: { inodes: 500 } }, shippedPolicy);
  assert.ok(asked.effect === 'deny');
  assert.equal(asked.code, 'LIMIT_NOT_ENFORCEABLE');
  const usual = decide({ argv: ['true'], level: 'gvisor' }, shippedPolicy);
  assert.ok(usual.effect === 'allow');
  assert.deepEqual(usual.notEnforced, ['inodes']);
  const container = decide({ argv: ['true'], level: 'container', limits: { inodes: 500 } }, shippedPolicy);
  assert.ok(container.effect === 'allow');
  assert.deepEqual(container.notEnforced, []);
});
