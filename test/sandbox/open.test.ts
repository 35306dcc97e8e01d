import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type HostFacts, type RunResult } from '@caisson/contract';
import { FakeDriver } from '@caisson/runtime';
import { shippedPolicy } from '../isolation/given.ts';
import { chunksOf, fakeHost, openFake, type Options } from './given.ts';

const TRUE = { argv: ['true'] };

test('the intent is on record before anything is launched, and the outcome after everything is closed', async () => {
  const { result, steps } = await openFake(TRUE);
  assert.deepEqual(steps, ['append intent', 'launch', 'spawn', 'close', 'append outcome']);
  assert.equal(result.exit, 0);
  assert.deepEqual([result.evidence.intent?.index, result.evidence.outcome?.index], [0, 1]);
  assert.deepEqual(Object.keys(result.timings), ['decide', 'intent', 'compile', 'launch', 'attest', 'run', 'close', 'outcome']);
});

test('nothing is launched when the intent cannot be recorded', async () => {
  const { result, steps, doubts } = await openFake(TRUE, { refuse: 'intent' });
  assert.deepEqual(steps, ['append intent']);
  assert.deepEqual(result.ending, { kind: 'refused', code: 'EVIDENCE_UNAVAILABLE', detail: 'the evidence log cannot be written: the disk is full' });
  assert.equal(result.exit, 125);
  assert.deepEqual(result.evidence, { intent: null, outcome: null });
  assert.equal(doubts.length, 1, 'an append that failed may have reached the log, so its outcome is kept');
});

test('a command whose outcome cannot be recorded is unknown, whatever it exited with', async () => {
  const { result, driver, doubts } = await openFake(TRUE, { refuse: 'outcome' });
  assert.equal(result.exit, 'unknown');
  assert.equal(result.ending.kind, 'unknown');
  assert.match(result.reason, /the command exited with 0, but its outcome is not on record/);
  assert.equal(result.evidence.outcome, null);
  assert.equal(driver.live.size, 0);
  assert.deepEqual(doubts.map(({ subject }) => subject), [result.id]);
});

test('a refused request is on record with the rule that refused it, and launches nothing', async () => {
  const { result, steps, log } = await openFake({ ...TRUE, limits: { memoryBytes: 2 * shippedPolicy.limits.maximum.memoryBytes } });
  assert.deepEqual(steps, ['append intent', 'append outcome']);
  assert.equal((log.only('intent')['decision'] as { effect: string }).effect, 'deny');
  assert.deepEqual(log.only('outcome')['ending'], { ...result.ending });
  assert.equal(result.ending.kind, 'refused');
  assert.equal(result.decision.effect === 'deny' && result.decision.rule, 'limit-maximum');
});

const FAILURES: readonly (readonly [what: string, options: Options, kind: RunResult['ending']['kind'], steps: readonly string[]])[] = [
  ['a runtime that cannot launch', { script: { dieAt: 'launch' } }, 'failed', ['launch']],
  ['a sandbox that is weaker than its spec', { script: { hello: { seccomp: 0 } } }, 'failed', ['launch', 'close']],
  ['a sandbox that dies at the spawn', { script: { dieAt: 'spawn' } }, 'unknown', ['launch', 'spawn', 'close']],
  ['a sandbox that dies while it prints', { script: { dieAt: 'output', print: [{ stream: 'stdout', text: 'half' }] } }, 'unknown', ['launch', 'spawn', 'close']],
  ['a host that cannot be measured', { rooms: { host: () => Promise.reject(new TypeError('no host')) } }, 'failed', []],
  ['a sandbox that cannot be spoken to', { rooms: { launch: () => Promise.resolve(throwing()) } }, 'failed', []],
];

function throwing(): never {
  // A machine that is none: whatever is asked of it is a TypeError.
  return { hello: {}, runtime: 'fake', close: () => Promise.reject(new Error('not even this')) } as never;
}

for (const [what, options, kind, steps] of FAILURES) {
  test(`${what} leaves nothing open, and its outcome is on record`, async () => {
    const { result, steps: seen, driver, log } = await openFake(TRUE, options);
    assert.deepEqual(seen, ['append intent', ...steps, 'append outcome']);
    assert.equal(result.ending.kind, kind);
    assert.notEqual(result.exit, 0);
    assert.equal(driver.live.size, 0);
    assert.equal(log.only('outcome')['exit'], result.exit);
  });
}

test('a sandbox that is lost is unknown and never exit 0', async () => {
  const { result } = await openFake(TRUE, { script: { dieAt: 'spawn' } });
  assert.equal(result.exit, 'unknown');
  assert.match(result.reason, /^what became of the command is unknown: /);
});

test('usage that cannot be read is null and does not change how the command ended', async () => {
  const { result, driver } = await openFake(TRUE, { script: { dieAt: 'close', end: { kind: 'exited', code: 3 } } });
  assert.equal(result.exit, 3);
  assert.deepEqual(result.usage, { cpuMs: null, memoryPeakBytes: null, pidsPeak: null, oomKills: null });
  assert.equal(driver.live.size, 0);
});

test('a caller that goes away while the command runs cancels it', async () => {
  const gone = new AbortController();
  const call = openFake(TRUE, { script: { hang: true }, client: { signal: gone.signal } });
  await delay(20);
  gone.abort();
  const { result, driver, steps } = await call;
  assert.equal(result.ending.kind, 'cancelled');
  assert.equal(result.exit, 125);
  assert.deepEqual(steps.slice(-2), ['close', 'append outcome']);
  assert.equal(driver.live.size, 0);
});

test('a caller that is gone before the launch gets nothing launched', async () => {
  const { result, driver, log } = await openFake(TRUE, { client: { signal: AbortSignal.abort() } });
  assert.equal(result.ending.kind, 'cancelled');
  assert.equal(driver.live.size, 0);
  assert.equal(log.only('outcome')['exit'], 125);
});

test('stdin reaches the command when it is asked for, and is not even read when it is not', async () => {
  const script = { echo: true };
  const asked = await openFake({ ...TRUE, stdin: true }, { script, client: { stdin: chunksOf('a', '', 'b\n') } });
  assert.equal(asked.stdout, 'ab\n');
  let read = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    read += 1;
    yield Buffer.from('x');
  }
  await openFake(TRUE, { client: { stdin: counted() } });
  assert.equal(read, 0);
});

test('no output is taken from the sandbox ahead of a client that takes none', async () => {
  const print = Array.from({ length: 100 }, () => ({ stream: 'stdout' as const, text: 'x'.repeat(1000) }));
  const taken = Promise.withResolvers<void>();
  let offered = 0;
  const call = openFake(TRUE, { script: { print }, client: { write: async () => { offered += 1; await taken.promise; } } });
  await delay(50);
  assert.equal(offered, 1);
  taken.resolve();
  const { result } = await call;
  assert.equal(offered, 100);
  assert.equal(result.output.stdout.returned, 100_000);
});

test('output is counted, cut at its cap and identified by what was returned', async () => {
  const print = [{ stream: 'stdout', text: '0123456789' }, { stream: 'stdout', text: 'abc' }, { stream: 'stderr', text: 'e' }] as const;
  const { result, stdout } = await openFake({ ...TRUE, limits: { outputBytes: 4 } }, { script: { print } });
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
  assert.equal(stdout, '0123');
  assert.deepEqual(result.output, {
    stdout: { written: 13, returned: 4, truncated: true, sha256: sha256('0123') },
    stderr: { written: 1, returned: 1, truncated: false, sha256: sha256('e') },
  });
});

test('the record holds neither arguments nor variables nor output but in what is sealed, and the caller can prove what was asked', async () => {
  const secret = 'hunter2-hunter2';
  const request = { argv: ['sh', '-c', secret], env: { TOKEN: secret } };
  const { result, log } = await openFake(request, { script: { print: [{ stream: 'stdout', text: secret }] } });
  const recorded = JSON.stringify(log.entries.map((entry) => ({ ...entry, secret: null })));
  assert.doesNotMatch(recorded, /hunter2/);
  assert.ok(!recorded.includes(createHash('sha256').update(secret).digest('hex')), 'a bare digest would let a guess be tried');
  assert.ok(!recorded.includes(result.digests.salt));
  const canonical = `{"argv":["sh","-c","${secret}"],"env":{"TOKEN":"${secret}"}}`;
  const proof = createHash('sha256').update(`caisson-commitment-v1\n${result.digests.salt}\n${canonical}`).digest('hex');
  assert.equal(log.only('intent')['request'], proof);
});

test('a level that was missing when the host was measured is looked for again before it is refused', async () => {
  const found = fakeHost(new FakeDriver({}));
  let host: HostFacts = { ...found, runtimes: [] };
  const { result } = await openFake(TRUE, {
    rooms: {
      host: async ({ again }) => {
        if (again) host = found;
        return host;
      },
    },
  });
  assert.equal(result.exit, 0);
});

test('a refusal of the launcher keeps its code in the outcome', async () => {
  const launch = (): Promise<never> => Promise.reject(new CaissonError('FLOOR_VIOLATED', { violations: 'it runs as root' }));
  const { result, log } = await openFake(TRUE, { rooms: { launch } });
  assert.equal(result.ending.kind === 'failed' && result.ending.code, 'FLOOR_VIOLATED');
  assert.equal((log.only('outcome')['ending'] as { code: string }).code, 'FLOOR_VIOLATED');
});
