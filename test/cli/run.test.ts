import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunResult } from '@caisson/contract';
import { settledLeftovers } from '../faults/leftovers.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { memoryKib, sharedInstance } from '../limits/given.ts';
import { leastOf } from '../least.ts';
import { cli, endOf, startCli, type Said } from './given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const instance = sharedInstance();

/** Longest that a call takes which is over at once, its start and two records included. */
const AT_ONCE_MS = 3_000;

const run = async (args: readonly string[], stdin: Buffer | string = ''): Promise<Said> => cli((await instance()).env, ['run', ...args], stdin);
const sh = (script: string): readonly string[] => ['--', 'sh', '-c', script];

test('uname -a prints it and exits 0', { skip }, async () => {
  const { status, stdout, stderr } = await run(['--', 'uname', '-a']);
  assert.equal(status, 0);
  assert.match(stdout.toString(), /^Linux caisson /);
  assert.equal(stderr, '');
});

/** What a command does, the exit status that a shell sees, and what is said on stderr. */
const VOCABULARY: readonly (readonly [what: string, args: readonly string[], status: number, said: RegExp])[] = [
  ['the command\'s own', sh('exit 7'), 7, /^$/],
  ['the command\'s own, however large', sh('exit 255'), 255, /^$/],
  ['128 and the signal that killed it', sh('kill -TERM $$'), 143, /^caisson: the command was killed by signal 15$/m],
  ['137 and the limit when memory ran out', ['--memory', '64Mi', '--', 'python3', '-c', 'x = bytearray(10 ** 9)'], 137, /^caisson: .*more than its 64 MiB of memory$/m],
  ['124 when CPU time is used up', ['--cpu-time', '300ms', ...sh('while :; do :; done')], 124, /^caisson: .*CPU time of 300 ms was used up$/m],
  ['127 for a program that is not there', ['--', 'nosuchprogram'], 127, /^caisson: COMMAND_NOT_FOUND: nosuchprogram: no such program/m],
  ['126 for a file that is no program', ['--', '/etc/hosts'], 126, /^caisson: COMMAND_NOT_EXECUTABLE: /m],
  ['125 for what Caisson refuses', ['--memory', '100Gi', '--', 'true'], 125, /^caisson: LIMIT_EXCEEDS_POLICY: /m],
];

for (const [what, args, status, said] of VOCABULARY) {
  test(`exit status is ${what}`, { skip }, async () => {
    const ended = await run(args);
    assert.equal(ended.status, status);
    assert.match(ended.stderr, said);
    assert.equal(ended.stdout.length, 0);
  });
}

test('a command that runs into its wall time is over within a second of it', { skip }, async () => {
  const tookMs = await leastOf(2_000, async () => {
    const { status, stderr, tookMs: each } = await run(['--timeout', '1s', '--', 'sleep', '9']);
    assert.equal(status, 124);
    assert.match(stderr, /^caisson: the command was killed: wall time of 1000 ms was used up$/m);
    assert.ok(each >= 1_000, `${each} ms`);
    return each;
  });
  assert.ok(tookMs < 2_000, `${tookMs} ms`);
});

test('what was printed before the time was up is not lost', { skip }, async () => {
  const { status, stdout } = await run(['--timeout', '3s', ...sh('echo early; sleep 60')]);
  assert.equal(status, 124);
  assert.equal(stdout.toString(), 'early\n');
});

test('stdout and stderr of the command stay apart', { skip }, async () => {
  const { stdout, stderr } = await run(sh('echo out; echo err >&2'));
  assert.equal(stdout.toString(), 'out\n');
  assert.equal(stderr, 'err\n');
});

test('every byte value passes in both directions unchanged', { skip }, async () => {
  const bytes = Buffer.from(Array.from({ length: 256 * 257 }, (_, index) => index % 257 & 0xff));
  const { status, stdout } = await run(['--stdin', '--', 'cat'], bytes);
  assert.equal(status, 0);
  assert.ok(stdout.equals(bytes));
});

test('50 MiB of stdin arrive, through a pipe inside, in order', { skip }, async () => {
  const bytes = Buffer.alloc(50 * 1024 * 1024, 'caisson-stdin-');
  const { status, stdout } = await run(['--stdin', ...sh('cat | tee /dev/stderr | sha256sum; exit 0')], bytes);
  assert.equal(status, 0);
  assert.equal(stdout.toString().slice(0, 64), createHash('sha256').update(bytes).digest('hex'));
});

test('without --stdin the command reads end of file, and ours stays for the next program', { skip }, async () => {
  const { status, stdout } = await run(sh('wc -c'), 'for somebody else');
  assert.equal(status, 0);
  assert.equal(stdout.toString().trim(), '0');
});

test('a command that ends before its stdin does is not waited with', { skip }, async () => {
  const caisson = await instance();
  const tookMs = await leastOf(AT_ONCE_MS, async () => {
    const ended = await endOf(startCli(caisson.env, ['run', '--stdin', '--', 'true'])); // its stdin stays open
    assert.equal(ended.status, 0);
    return ended.tookMs;
  });
  assert.ok(tookMs < AT_ONCE_MS, `${tookMs} ms`);
});

test('arguments and variables arrive as they are: no shell reads them', { skip }, async () => {
  const odd = ['$HOME', '`id`', '*', 'a b', '', '--json', '--', '\n', 'ü€😀'];
  const { stdout } = await run(['--env', 'ODD=$x = "y"', '--', 'python3', '-c', 'import os, sys; print(ascii([*sys.argv[1:], os.environ["ODD"]]))', ...odd]);
  const expected = [...odd, '$x = "y"'];
  const seen = JSON.parse(stdout.toString().trim().replaceAll(/'((?:[^'\\]|\\.)*)'/g, (_, text: string) =>
    JSON.stringify(text.replaceAll(/\\U0001f600/g, '😀').replaceAll(/\\u20ac/g, '€').replaceAll(/\\xfc/g, 'ü').replaceAll('\\n', '\n')))) as string[];
  assert.deepEqual(seen, expected);
});

test('nothing of the host\'s environment is inherited', { skip }, async () => {
  const caisson = await instance();
  const { stdout } = await cli({ ...caisson.env, SECRET_OF_HOST: '1' }, ['run', '--env', 'A=1', '--', 'env']);
  const names = stdout.toString().trim().split('\n').map((line) => line.slice(0, line.indexOf('='))).sort();
  assert.deepEqual(names, ['A', 'HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'TMPDIR', 'USER']);
});

test('output beyond its cap is cut, and that is said with both numbers', { skip }, async () => {
  const { status, stdout, stderr } = await run(['--output-limit', '10Ki', ...sh('head -c 100k /dev/zero; echo err >&2')]);
  assert.equal(status, 0);
  assert.equal(stdout.length, 10 * 1024);
  assert.equal(stderr, 'err\ncaisson: stdout was cut: the command wrote 100 KiB, 10 KiB were returned (see --output-limit)\n');
});

test('a reader that goes away ends the call at once and leaves nothing', { skip }, async () => {
  const caisson = await instance();
  const tookMs = await leastOf(AT_ONCE_MS, async () => {
    const child = startCli(caisson.env, ['run', ...sh('while :; do echo line; done')]);
    const ended = endOf(child);
    await once(child.stdout ?? child, 'data');
    child.stdout?.destroy();
    const { status, stderr, tookMs: each } = await ended;
    assert.equal(status, 125);
    assert.doesNotMatch(stderr, /node:|at .*\.ts/, 'no stack trace');
    return each;
  });
  assert.ok(tookMs < AT_ONCE_MS, `${tookMs} ms`);
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});

test('a reader that is slow holds up the command, and nothing is piled up for it', { skip }, async () => {
  const { env } = await instance();
  const child = startCli(env, ['run', '--output-limit', '1G', '--', 'head', '-c', '600M', '/dev/zero']);
  await once(child.stdout ?? child, 'readable'); // the first bytes are there, and nobody takes them
  await delay(1_500);
  const peakKib = memoryKib(child.pid ?? 0, 'VmHWM');
  assert.ok(peakKib < 160 * 1024, `${peakKib} KiB`);
  child.stdout?.destroy();
  assert.equal((await endOf(child)).status, 125);
});

test('a reader that goes away after the last line changes nothing', { skip }, async () => {
  const caisson = await instance();
  const child = startCli(caisson.env, ['run', ...sh('echo all; sleep 0.3; exit 3')]);
  const ended = endOf(child);
  await once(child.stdout ?? child, 'data');
  child.stdout?.destroy();
  assert.equal((await ended).status, 3);
});

test('Ctrl-C, SIGTERM and SIGHUP end the call with 125 and leave nothing', { skip }, async () => {
  const caisson = await instance();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const tookMs = await leastOf(AT_ONCE_MS, async () => {
      const child = startCli(caisson.env, ['run', ...sh('echo up; trap "" INT TERM HUP; sleep 60')]);
      const ended = endOf(child);
      await once(child.stdout ?? child, 'data');
      child.kill(signal);
      const { status, stderr, tookMs: each } = await ended;
      assert.equal(status, 125);
      assert.match(stderr, /^caisson: CANCELLED: /m);
      return each;
    });
    assert.ok(tookMs < AT_ONCE_MS, `${tookMs} ms`);
  }
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});

/** The types of a value, as a value: null stays, lists become the types of their elements. */
function shapeOf(value: unknown): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, shapeOf(field)]));
  return typeof value;
}

const COUNT = { written: 'number', returned: 'number', truncated: 'boolean', sha256: 'string' };
const RECEIPT = { index: 'number', hash: 'string' };

test('--json prints one object with these fields and types', { skip }, async () => {
  const { status, stdout, stderr } = await run(['--json', ...sh('echo out; echo err >&2; exit 3')]);
  assert.equal(status, 3);
  assert.equal(stderr, '');
  assert.match(stdout.toString(), /^\{[^\n]*\}\n$/);
  const object = JSON.parse(stdout.toString()) as RunResult & { stdout: string; stderr: string };
  assert.deepEqual([object.exit, object.stdout, object.stderr], [3, 'out\n', 'err\n']);
  assert.deepEqual(shapeOf({ ...object, usage: Object.keys(object.usage).sort() }), {
    id: 'string',
    exit: 'number',
    reason: 'string',
    ending: { kind: 'string', code: 'number' },
    level: { requested: 'string', delivered: 'string', runtime: 'string', kernel: 'string' },
    decision: {
      effect: 'string', rule: 'string', reason: 'string', level: 'string', notEnforced: [],
      limits: Object.fromEntries(['wallMs', 'cpuMs', 'memoryBytes', 'pids', 'cpuMillis', 'outputBytes', 'workspaceBytes', 'tmpBytes', 'inodes', 'openFiles'].map((name) => [name, 'number'])),
    },
    digests: { request: 'string', salt: 'string', policy: 'string', spec: 'string' },
    usage: ['string', 'string', 'string', 'string'],
    network: null,
    output: { stdout: COUNT, stderr: COUNT },
    evidence: { intent: RECEIPT, outcome: RECEIPT },
    timings: Object.fromEntries(['decide', 'intent', 'compile', 'launch', 'attest', 'run', 'close', 'outcome'].map((step) => [step, 'number'])),
    stdout: 'string',
    stderr: 'string',
  });
  assert.equal(object.output.stdout.sha256, createHash('sha256').update('out\n').digest('hex'));
  const steps = Object.values(object.timings);
  assert.deepEqual(steps, steps.toSorted((a, b) => a - b), 'each step ends after the one before it');
});

test('--json gives output that is not text as base64', { skip }, async () => {
  const object = JSON.parse((await run(['--json', ...sh(String.raw`printf '\377\000'; printf ok >&2`)])).stdout.toString()) as Record<string, unknown>;
  assert.deepEqual([object['stdout'], object['stdoutBase64'], object['stderr']], [undefined, '/wA=', 'ok']);
});

for (const [what, args, status, exit, kind] of [
  ['a command that was killed for its time', ['--timeout', '200ms', '--', 'sleep', '9'], 124, 124, 'timed-out'],
  ['a refusal', ['--memory', '100Gi', '--', 'true'], 125, 125, 'refused'],
  ['a program that is not there', ['--', 'nosuchprogram'], 127, 127, 'not-started'],
] as const) {
  test(`--json tells of ${what} in the same object, and nothing on stderr`, { skip }, async () => {
    const said = await run(['--json', ...args]);
    const object = JSON.parse(said.stdout.toString()) as RunResult;
    assert.deepEqual([said.status, object.exit, object.ending.kind, said.stderr], [status, exit, kind, '']);
    assert.ok(object.reason.length > 10);
    assert.notEqual(object.evidence.outcome, null, 'refusals are on record too');
  });
}

test('--json of a call that cannot be asked for is one object, too', { skip }, async () => {
  const { status, stdout, stderr } = await run(['--json', '--memory', 'lots', '--', 'true']);
  const object = JSON.parse(stdout.toString()) as { exit: unknown; problem: { code: string } };
  assert.deepEqual([status, object.exit, object.problem.code, stderr], [125, 125, 'USAGE', '']);
});

test('--json of a call whose daemon is killed says unknown', { skip }, async () => {
  const caisson = await instance();
  const child = startCli(caisson.env, ['run', '--json', '--', 'sleep', '60']);
  while ((await caisson.control()).calls.length === 0) await delay(20);
  const control = (await caisson.status()).processes.find(({ name }) => name === 'control');
  process.kill(control?.pid ?? Number.NaN, 'SIGKILL');
  const { status, stdout } = await endOf(child);
  const object = JSON.parse(stdout.toString()) as { exit: unknown; problem: { code: string } };
  assert.deepEqual([status, object.exit, object.problem.code], [123, 'unknown', 'SANDBOX_LOST']);
});
