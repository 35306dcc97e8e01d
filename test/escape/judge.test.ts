import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { judge, PROBES, type Aftermath, type Observation } from '@caisson/cli';
import { MIB, type Ending, type RunResult } from '@caisson/contract';

const saw = (through: boolean | null): Observation => ({ through, saw: 'something' });
const anyObservation: fc.Arbitrary<Observation> = fc.record({ through: fc.constantFrom(true, false, null), saw: fc.string() });

const TABLE: readonly (readonly [inside: boolean | null, control: boolean | null, verdict: string])[] = [
  [false, true, 'held'],
  [true, true, 'through'],
  [true, false, 'through'],
  [true, null, 'through'],
  [false, false, 'unproven'],
  [false, null, 'broken'],
  [null, true, 'broken'],
  [null, false, 'broken'],
  [null, null, 'broken'],
];

const WORDS = new Map<boolean | null, string>([[true, 'works'], [false, 'fails'], [null, 'cannot be tried']]);

for (const [inside, control, verdict] of TABLE) {
  test(`an attack that ${WORDS.get(inside)} inside and ${WORDS.get(control)} outside is ${verdict}`, () => {
    assert.equal(judge(saw(inside), saw(control)).verdict, verdict);
  });
}

test('an attack that works inside is through, whatever the control says', () => {
  fc.assert(fc.property(anyObservation, (control) => judge(saw(true), control).verdict === 'through'));
});

test('nothing is held without an attack that failed inside and a control that worked', () => {
  fc.assert(fc.property(anyObservation, anyObservation, (inside, control) => {
    assert.equal(judge(inside, control).verdict === 'held', inside.through === false && control.through === true);
  }));
});

test('every judgement but held names what was seen', () => {
  assert.match(judge({ through: null, saw: 'no answer' }, saw(true)).why, /no answer/);
  assert.match(judge(saw(false), { through: false, saw: 'ENOSYS' }).why, /ENOSYS/);
  assert.match(judge(saw(false), { through: null, saw: 'died' }).why, /died/);
});

/** A run of the probe `id` that ended in one way, read as its entry says. */
function read(id: string, ending: Ending, more: Partial<Aftermath> & { readonly exit?: RunResult['exit']; readonly stdout?: Partial<RunResult['output']['stdout']> } = {}): boolean | null {
  const probe = PROBES.find((each) => each.id === id);
  const stdout = { written: 0, returned: 0, truncated: false, sha256: '', ...more.stdout };
  const result = {
    ending,
    exit: more.exit ?? 0,
    reason: 'because',
    output: { stdout },
    decision: { effect: 'allow', limits: { outputBytes: MIB } },
  } as unknown as RunResult;
  const observation = probe?.alone?.read?.({ result, line: more.line ?? null, survivors: more.survivors ?? [] });
  assert.ok(observation, `${id} has no reading of its own`);
  return observation.through;
}

const EXITED: Ending = { kind: 'exited', code: 0 };
const WORKED = { line: { through: true, saw: 'it worked' } };
const FAILED = { line: { through: false, saw: 'it failed' } };

test('a memory bomb is held by exit 137 with the reason, and by nothing else that ends it', () => {
  const ending: Ending = { kind: 'out-of-memory', limitBytes: MIB };
  assert.equal(read('take-memory', ending, { exit: 137 }), false);
  assert.equal(read('take-memory', ending, { exit: 0 }), null);
  assert.equal(read('take-memory', { kind: 'signaled', signal: 9 }, { exit: 137 }), null);
  assert.equal(read('take-memory', EXITED, WORKED), true);
});

test('a flood of output is held only when it was cut, said to be cut and within its limit', () => {
  assert.equal(read('flood-stdout', EXITED, { stdout: { written: 9 * MIB, returned: MIB, truncated: true } }), false);
  assert.equal(read('flood-stdout', EXITED, { stdout: { written: 9 * MIB, returned: MIB + 1, truncated: true } }), true);
  assert.equal(read('flood-stdout', EXITED, { stdout: { written: MIB, returned: MIB, truncated: false } }), null);
});

test('a time limit is held by exit 124 for that limit and no other', () => {
  const cpu: Ending = { kind: 'timed-out', limit: 'cpu', limitMs: 500 };
  assert.equal(read('spin', cpu, { exit: 124 }), false);
  assert.equal(read('spin', cpu, { exit: 0 }), null);
  assert.equal(read('spin', { ...cpu, limit: 'wall' }, { exit: 124 }), null);
  assert.equal(read('linger', cpu, { exit: 124 }), null);
  assert.equal(read('linger', EXITED, WORKED), true);
});

test('an attack that ends the sandbox instead of failing has killed pid 1', () => {
  assert.equal(read('kill-init', { kind: 'unknown', detail: 'pid 1 is gone' }), true);
  assert.equal(read('kill-init', { kind: 'timed-out', limit: 'wall', limitMs: 1 }), true);
  assert.equal(read('kill-init', { kind: 'refused', code: 'LEVEL_UNAVAILABLE', detail: 'no' }), null);
  assert.equal(read('kill-init', EXITED, FAILED), false);
});

test('a process that is left on the host is a way through, however the run ended', () => {
  assert.equal(read('outlive', EXITED, { ...FAILED, survivors: [4711] }), true);
  assert.equal(read('outlive', EXITED, FAILED), false);
  assert.equal(read('outlive', EXITED), null);
});
