import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePolicy } from '@caisson/authority';
import { CaissonError, LIMIT_NAMES, type Policy } from '@caisson/contract';
import fc from 'fast-check';
import { anyPolicy, POLICY_PATH, policyText, shippedPolicy } from './given.ts';

function assertInvalid(text: string, detail: string | RegExp): void {
  assert.throws(() => parsePolicy(text, '/etc/policy.json'), (error) => {
    assert.ok(error instanceof CaissonError);
    assert.equal(error.code, 'POLICY_INVALID');
    assert.match(error.message, /^the policy file \/etc\/policy\.json is not valid: /);
    assert.match(error.message, typeof detail === 'string' ? new RegExp(`: ${detail.replaceAll('.', '\\.')}`) : detail);
    return true;
  });
}

type Fields = Record<string, unknown>;
interface Draft {
  readonly levels: Fields;
  readonly limits: { readonly default: Fields; readonly maximum: Fields };
}

const withPolicy = (change: (policy: Draft) => void): string => {
  const policy = JSON.parse(policyText) as Draft;
  change(policy);
  return JSON.stringify(policy);
};

test('the shipped policy is a policy', () => {
  const policy = parsePolicy(policyText, POLICY_PATH);
  assert.deepEqual(policy, shippedPolicy);
  assert.deepEqual(policy.levels, { default: 'container', minimum: 'container' });
});

test('the shipped defaults are those of the specification', () => {
  assert.deepEqual(shippedPolicy.limits.default, {
    wallMs: 60_000,
    cpuMs: 60_000,
    memoryBytes: 512 * 2 ** 20,
    pids: 50,
    cpuMillis: 1000,
    outputBytes: 16 * 2 ** 20,
    workspaceBytes: 256 * 2 ** 20,
    tmpBytes: 64 * 2 ** 20,
    inodes: 65_536,
    openFiles: 1024,
  });
});

test('every policy that obeys its own maxima is read back as it was written', () => {
  fc.assert(fc.property(anyPolicy, (policy) => {
    const text = JSON.stringify(policy);
    assert.deepEqual(parsePolicy(text, 'policy.json'), JSON.parse(text));
  }));
});

test('POLICY_INVALID: text that is not JSON', () => assertInvalid('{ "version": 1,', /it is not JSON/));

const invalid: readonly (readonly [string, string, string | RegExp])[] = [
  ['is not an object', '[]', /the file: .*object/],
  ['has an unknown field', withPolicy((policy) => (policy.limits.default['memroyBytes'] = 1)), /limits\.default: .*memroyBytes/],
  ['has an unknown section', withPolicy((policy) => Object.assign(policy, { alow: [] })), /the file: .*alow/],
  ['lacks a field', withPolicy((policy) => delete policy.limits.maximum['pids']), 'limits.maximum.pids'],
  ['gives a field of the wrong type', withPolicy((policy) => (policy.limits.default['wallMs'] = '60s')), 'limits.default.wallMs'],
  ['gives a fraction', withPolicy((policy) => (policy.limits.default['pids'] = 1.5)), 'limits.default.pids'],
  ['gives a limit below its range', withPolicy((policy) => (policy.limits.default['memoryBytes'] = 1)), 'limits.default.memoryBytes'],
  ['gives a level that there is not', withPolicy((policy) => (policy.levels['minimum'] = 'none')), 'levels.minimum'],
  ['is of another version', policyText.replace('"version": 1', '"version": 2'), 'version'],
  ['has a default level below its minimum', withPolicy((policy) => (policy.levels['minimum'] = 'gvisor')), 'levels.default of container is below levels.minimum of gvisor'],
  ['gives a field twice', policyText.replace('"pids": 50,', '"pids": 50, "pids": 60,'), 'pids is given twice'],
  ['gives a field twice in another spelling', policyText.replace('"pids": 50,', String.raw`"pids": 50, "p\u0069ds": 60,`), 'pids is given twice'],
];
for (const [what, text, detail] of invalid) {
  test(`POLICY_INVALID: a policy that ${what}`, () => assertInvalid(text, detail));
}

test('POLICY_INVALID: a policy with any default above its maximum', () => {
  for (const name of LIMIT_NAMES) {
    const below = shippedPolicy.limits.default[name] - 1;
    const text = withPolicy((policy) => (policy.limits.maximum[name] = below));
    assertInvalid(text, `limits.default.${name} of ${below + 1} is more than limits.maximum.${name} of ${below}`);
  }
});

test('a name inside a string is not a field', () => {
  assertInvalid(policyText.replace('"container",', String.raw`"{\"a\":1,\"a\":2}",`), 'levels.default');
});

test('any text is either a policy or POLICY_INVALID', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
    assert.throws(() => parsePolicy(text, 'p'), (error) => error instanceof CaissonError && error.code === 'POLICY_INVALID');
  }));
});

/** A policy from which one character was taken: never read as one that says something else without a word. */
test('a policy with one character lost is refused or still a policy that obeys its own maxima', () => {
  for (let at = 0; at < policyText.length; at++) {
    let policy: Policy;
    try {
      policy = parsePolicy(policyText.slice(0, at) + policyText.slice(at + 1), 'p');
    } catch (error) {
      assert.ok(error instanceof CaissonError, String(error));
      continue;
    }
    for (const name of LIMIT_NAMES) assert.ok(policy.limits.default[name] <= policy.limits.maximum[name]);
  }
});
