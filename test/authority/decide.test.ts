import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from '@caisson/authority';
import { isBelow, LIMIT_NAMES, MIB, type Allowed, type Decision, type Policy, type RunRequest, type SomeLimits } from '@caisson/contract';
import fc from 'fast-check';
import { anyPolicy, anyRequest, shippedPolicy } from './given.ts';

function allowed(decision: Decision): Allowed {
  assert.equal(decision.effect, 'allow', decision.reason);
  return decision;
}

const limitsFor = (limits: SomeLimits): Allowed['limits'] => allowed(decide({ argv: ['true'], limits }, shippedPolicy)).limits;

test('a request that asks for nothing gets the level and limits of the policy', () => {
  const decision = allowed(decide({ argv: ['true'] }, shippedPolicy));
  assert.equal(decision.level, 'container');
  assert.deepEqual(decision.limits, shippedPolicy.limits.default);
  assert.equal(decision.rule, 'within-policy');
});

test('LIMIT_EXCEEDS_POLICY: each limit is refused one above its maximum and allowed at it', () => {
  for (const limit of LIMIT_NAMES) {
    const maximum = shippedPolicy.limits.maximum[limit];
    const atMaximum = allowed(decide({ argv: ['true'], limits: { [limit]: maximum } }, shippedPolicy));
    assert.equal(atMaximum.limits[limit], maximum);
    assert.deepEqual(decide({ argv: ['true'], limits: { [limit]: maximum + 1 } }, shippedPolicy), {
      effect: 'deny',
      rule: 'limit-maximum',
      reason: `${limit} of ${maximum + 1} is more than the ${maximum} that the policy allows`,
      wouldAllow: `${limit} of at most ${maximum}`,
      code: 'LIMIT_EXCEEDS_POLICY',
      context: { limit, asked: maximum + 1, allowed: maximum },
    });
  }
});

test('LEVEL_BELOW_POLICY: a level below the minimum is refused and the minimum is named', () => {
  const policy: Policy = { ...shippedPolicy, levels: { default: 'gvisor', minimum: 'gvisor' } };
  assert.deepEqual(decide({ argv: ['true'], level: 'container' }, policy), {
    effect: 'deny',
    rule: 'level-minimum',
    reason: 'level container is below gvisor, the minimum of the policy',
    wouldAllow: 'level gvisor',
    code: 'LEVEL_BELOW_POLICY',
    context: { asked: 'container', minimum: 'gvisor' },
  });
  assert.equal(allowed(decide({ argv: ['true'] }, policy)).level, 'gvisor');
  assert.equal(allowed(decide({ argv: ['true'], level: 'microvm' }, policy)).level, 'microvm');
});

test('a level that is refused is refused before its limits are looked at', () => {
  const policy: Policy = { ...shippedPolicy, levels: { default: 'gvisor', minimum: 'gvisor' } };
  const decision = decide({ argv: ['true'], level: 'container', limits: { pids: 1_000_000 } }, policy);
  assert.equal(decision.rule, 'level-minimum');
});

test('a limit that is no number at all is refused', () => {
  const decision = decide({ argv: ['true'], limits: { pids: Number.NaN } }, shippedPolicy);
  assert.equal(decision.effect, 'deny');
});

test('little memory shrinks the unasked /workspace to half of it and /tmp to an eighth', () => {
  const { memoryBytes, workspaceBytes, tmpBytes } = limitsFor({ memoryBytes: 64 * MIB });
  assert.deepEqual({ memoryBytes, workspaceBytes, tmpBytes }, { memoryBytes: 64 * MIB, workspaceBytes: 32 * MIB, tmpBytes: 8 * MIB });
});

test('an asked size of /workspace and /tmp is kept whatever the memory', () => {
  const { workspaceBytes, tmpBytes } = limitsFor({ memoryBytes: 16 * MIB, workspaceBytes: 100 * MIB, tmpBytes: 50 * MIB });
  assert.deepEqual({ workspaceBytes, tmpBytes }, { workspaceBytes: 100 * MIB, tmpBytes: 50 * MIB });
});

test('much memory does not grow /workspace or /tmp beyond the defaults', () => {
  const { workspaceBytes, tmpBytes } = limitsFor({ memoryBytes: 8192 * MIB });
  assert.equal(workspaceBytes, shippedPolicy.limits.default.workspaceBytes);
  assert.equal(tmpBytes, shippedPolicy.limits.default.tmpBytes);
});

const cpuTimes: readonly (readonly [string, SomeLimits, number])[] = [
  ['follows an asked wall time', { wallMs: 5_000 }, 5_000],
  ['covers every core that was asked for, the last one as a whole', { cpuMillis: 2_500 }, 180_000],
  ['is the product of both', { wallMs: 10_000, cpuMillis: 4_000 }, 40_000],
  ['stops at the maximum of the policy', { wallMs: 86_400_000, cpuMillis: 64_000 }, 604_800_000],
  ['is what was asked for', { wallMs: 10_000, cpuMs: 1_000 }, 1_000],
];
for (const [claim, limits, expected] of cpuTimes) {
  test(`CPU time ${claim}`, () => assert.equal(limitsFor(limits).cpuMs, expected));
}

test('the limits of an allowed request are never above the maximum', () => {
  fc.assert(fc.property(anyRequest, anyPolicy, (request, policy) => {
    const decision = decide(request, policy);
    if (decision.effect === 'deny') return;
    for (const name of LIMIT_NAMES) {
      assert.ok(decision.limits[name] <= policy.limits.maximum[name], name);
      if (request.limits?.[name] !== undefined) assert.equal(decision.limits[name], request.limits[name]);
    }
    assert.ok(!isBelow(decision.level, policy.levels.minimum));
  }));
});

test('raising a maximum never turns an allowed request into a refused one', () => {
  fc.assert(fc.property(anyRequest, anyPolicy, fc.constantFrom(...LIMIT_NAMES), fc.nat(), (request, policy, limit, more) => {
    fc.pre(decide(request, policy).effect === 'allow');
    const maximum = { ...policy.limits.maximum, [limit]: policy.limits.maximum[limit] + more };
    const raised: Policy = { ...policy, limits: { ...policy.limits, maximum } };
    assert.equal(decide(request, raised).effect, 'allow');
  }));
});

test('doing what wouldAllow says turns a refused limit into an allowed one', () => {
  fc.assert(fc.property(anyRequest, anyPolicy, (request, policy) => {
    let asked: RunRequest = request;
    for (let step = 0; step <= LIMIT_NAMES.length + 2; step++) {
      const decision = decide(asked, policy);
      if (decision.effect === 'allow') return;
      const limit = LIMIT_NAMES.find((name) => name === decision.context['limit']);
      if (limit === undefined) {
        assert.equal(decision.code, 'LEVEL_BELOW_POLICY');
        asked = { ...asked, level: policy.levels.minimum };
      } else if (decision.rule === 'level-cannot-limit') {
        const { [limit]: _, ...others } = asked.limits ?? {};
        asked = { ...asked, limits: others };
      } else if (decision.rule === 'level-needs') {
        const needed = decision.context['needed'] as number;
        if (needed > policy.limits.maximum[limit]) return; // such a policy allows no sandbox of this level
        asked = { ...asked, limits: { ...asked.limits, [limit]: needed } };
      } else {
        assert.ok(decision.wouldAllow.startsWith(limit));
        asked = { ...asked, limits: { ...asked.limits, [limit]: decision.context['allowed'] as number } };
      }
    }
    assert.equal(decide(asked, policy).effect, 'allow');
  }));
});

test('the order in which fields were written does not change a decision', () => {
  fc.assert(fc.property(anyRequest, anyPolicy, (request, policy) => {
    assert.deepEqual(decide(reversed(request), reversed(policy)), decide(request, policy));
  }));
});

function reversed<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toReversed().map(([name, field]) => [name, reversed(field)])) as T;
}

test('two secrets that commands would look for in one variable are refused, also in the second one of a pair', () => {
  const rule = { from: 'env:A', hosts: ['api.example.test'] } as const;
  const policy: Policy = { ...shippedPolicy, secrets: { 'a-b': rule, a_b: rule, one: { ...rule, at: 'sigv4' }, two: { ...rule, at: 'sigv4' }, apart: { ...rule, at: 'sigv4', env: 'OTHER_ACCESS_KEY_ID' }, key: { ...rule, env: 'AWS_SECRET_ACCESS_KEY' } } };
  const decided = (...secrets: readonly string[]): Decision => decide({ argv: ['true'], secrets }, policy);
  for (const secrets of [['a-b', 'one', 'apart'], ['a_b', 'two'], ['key', 'apart']]) allowed(decided(...secrets));
  for (const [secrets, name] of [[['a-b', 'a_b'], 'A_B'], [['one', 'two'], 'AWS_ACCESS_KEY_ID'], [['one', 'key'], 'AWS_SECRET_ACCESS_KEY']] as const) {
    const denied = decided(...secrets);
    assert.ok(denied.effect === 'deny');
    assert.deepEqual([denied.code, denied.reason], ['REQUEST_INVALID', `secrets ${secrets[0]} and ${secrets[1]} would be in one variable, ${name}`]);
  }
});

test('two secrets that would be in one file are refused by both names', () => {
  const rule = { from: 'env:A', file: 'key.pem' } as const;
  const policy: Policy = { ...shippedPolicy, secrets: { one: rule, two: rule, apart: { ...rule, file: 'KEY.pem' } } };
  const decided = (...secrets: readonly string[]): Decision => decide({ argv: ['true'], secrets }, policy);
  for (const secrets of [['one', 'apart'], ['two', 'apart']]) allowed(decided(...secrets));
  const denied = decided('one', 'apart', 'two');
  assert.ok(denied.effect === 'deny');
  assert.deepEqual([denied.code, denied.reason], ['REQUEST_INVALID', 'secrets one and two would be in one file, key.pem']);
  assert.equal(denied.wouldAllow, 'one of the two, or another file of secrets.two in the policy file');
});
