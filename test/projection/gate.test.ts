import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HOME } from '../harness.ts';
import { CHECKS, runGate } from '../../tools/ok.ts';
import { folder } from './given.ts';

const FIXTURES = join(import.meta.dirname, 'fixtures');
/** As many as it takes for every list of places to come round. */
const PROCESSES = '7';

const held: { place: ReturnType<typeof folder> | null } = { place: null };
const at = (name: string): string => join(held.place?.path ?? '', name);

before(() => {
  held.place = folder();
  writeFileSync(at('good.test.ts'), `import { test } from 'node:test';\ntest('it holds', () => {});\n`);
});
after(() => held.place?.[Symbol.dispose]());

interface Ran {
  readonly status: number | null;
  readonly text: string;
}

/** Runs the gate as a user does: of one process, with a test that passes, unless others are named. */
function gate(...args: readonly string[]): Ran {
  const env = { ...process.env };
  delete env['NODE_TEST_CONTEXT']; // node:test runs no tests below a test of its own
  const { status, stdout, stderr } = spawnSync(join(HOME, 'dev'), ['gate', 'determinism', '--tests', at('good.test.ts'), '--processes', '1', '--replays', '1', ...args], { encoding: 'utf8', env });
  return { status, text: stdout + stderr };
}

function fails(args: readonly string[], why: RegExp): void {
  const { status, text } = gate(...args);
  assert.equal(status, 1, text);
  assert.match(text, why);
  assert.doesNotMatch(text, /^ok/m);
}

/** A replayer whose state is the right one but where this expression is true. */
function replayer(name: string, wrongWhere: string): string {
  writeFileSync(at(name), `
import { emptyState, foldAll, stateHash } from '${HOME}/core/projection/src/index.ts';
import { readFixture, replayFixture } from '${HOME}/test/projection/fixture.ts';
const folder = process.argv[2] ?? '';
const late = (${wrongWhere}) ? 1 : 0;
const hash = stateHash(foldAll(emptyState(), readFixture(folder).map((entry) => ({ ...entry, timeMs: entry.timeMs + late }))));
console.log(JSON.stringify({ ...replayFixture(folder), hash }));
`);
  return at(name);
}

/** A copy of the fixture with a log and what is expected changed by these. */
function fixture(name: string, log: (text: string) => string, expected: (text: string) => string = (text) => text): string {
  mkdirSync(at(name));
  writeFileSync(join(at(name), 'log.jsonl'), log(readFileSync(join(FIXTURES, 'log.jsonl'), 'utf8')));
  writeFileSync(join(at(name), 'expected.json'), expected(readFileSync(join(FIXTURES, 'expected.json'), 'utf8')));
  return at(name);
}

test('the gate exits 0 for the log that is kept, and says how many replays gave which state', () => {
  const { status, text } = gate('--processes', PROCESSES);
  assert.equal(status, 0, text);
  assert.match(text, /^ok {4}7 replays of 500 entries in 7 processes, each to the state [0-9a-f]{64}$/m);
});

const READS: readonly (readonly [what: string, expression: string])[] = [
  ['the clock', 'Date.now() > Date.parse("2035-01-01")'],
  ['the time zone', 'new Date(0).getHours() !== 0'],
  ['the language', '(0.5).toLocaleString() !== "0.5"'],
  ['random numbers', 'Math.random() < 0.5'],
  ['the folder that it runs in', 'process.cwd() === "/"'],
  ['the order of the environment', 'Object.keys(process.env)[0] === "LANG"'],
];
for (const [what, expression] of READS) {
  test(`a fold that reads ${what} makes the gate exit 1`, () => {
    fails(['--replayer', replayer('reads.ts', expression), '--processes', PROCESSES], /process \d+ hash is [0-9a-f]{64}, not [0-9a-f]{64}/);
  });
}

test('a log or an expectation that was changed, is empty or is not there makes the gate exit 1', () => {
  fails(['--fixture', fixture('changed', (text) => text.replace('"effect":"allow"', '"effect":"allot"'))], /log.jsonl is not the one/);
  fails(['--fixture', fixture('cut', (text) => text.slice(0, text.lastIndexOf('{')))], /log.jsonl is not the one/);
  fails(['--fixture', fixture('other', (text) => text, (text) => text.replace(/"hash": "./, '"hash": "x'))], /hash is/);
  fails(['--fixture', fixture('halfway', (text) => text, (text) => text.replace(/"halfway": "./, '"halfway": "x'))], /halfway is/);
  const empty = JSON.stringify({ entries: 0, log: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' });
  fails(['--fixture', fixture('empty', () => '', () => empty)], /without entries/);
  fails(['--fixture', at('none')], /no fixture/);
});

test('a process that fails, is killed, tells of fewer replays or of nonsense makes the gate exit 1', () => {
  const program = (text: string): readonly string[] => {
    writeFileSync(at('program.ts'), text);
    return ['--replayer', at('program.ts')];
  };
  const good = `import { replayFixture } from '${HOME}/test/projection/fixture.ts';\nconst told = () => console.log(JSON.stringify(replayFixture(process.argv[2] ?? '')));\n`;
  fails(program(`${good}told(); process.exitCode = 3;`), /process 0 ended with 3/);
  fails(program(`${good}told(); process.kill(process.pid, 'SIGKILL');`), /process 0 ended with SIGKILL/);
  fails([...program(`${good}told();`), '--replays', '2'], /told of 1 replays, not of 2/);
  fails(program(''), /told of 0 replays, not of 1/);
  fails(program('console.log("nonsense");'), /told nonsense/);
  fails(['--replayer', at('none.ts')], /process 0 ended with 1/);
});

test('a test that fails or is skipped, and a file without tests, make the gate exit 1', () => {
  const tests = (text: string): readonly string[] => {
    writeFileSync(at('bad.test.ts'), `import { test } from 'node:test';\ntest('it holds', () => {});\n${text}\n`);
    return ['--tests', at('bad.test.ts')];
  };
  fails(tests(`test('it does not', () => { throw new Error('so it is'); });`), /1 passed, 1 failed/);
  fails(tests(`test('it may', { skip: 'not today' }, () => {});`), /1 passed, 0 failed, 1 skipped/);
  fails(tests(`test('it will', { todo: true }, () => {});`), /1 passed, 0 failed, 1 skipped/);
  fails(tests(`process.exitCode = 1;`), /FAIL/);
  writeFileSync(at('without.test.ts'), '');
  fails(['--tests', at('without.test.ts')], /0 passed/);
  fails(['--tests', at('none.test.ts')], /failed/);
});

test('no replay at all, and what is not understood, is exit 2', () => {
  for (const args of [['--replays', '0'], ['--processes', '0'], ['--processes', 'x'], ['--nonsense']]) assert.deepEqual([args, gate(...args).status], [args, 2]);
  assert.equal(spawnSync(join(HOME, 'dev'), ['gate', 'nonsense']).status, 2);
});

test('the gate is part of ./dev ok, with no option, and makes it fail', async () => {
  const check = CHECKS.find(({ name }) => name === 'determinism') ?? assert.fail('no such check');
  mkdirSync(at('root/tools'), { recursive: true });
  for (const [status, text] of [[0, 'process.exitCode = 0;'], [1, 'process.exitCode = 1;'], [1, 'process.exitCode = process.argv.length;'], [1, 'process.kill(process.pid, "SIGKILL");']] as const) {
    writeFileSync(at('root/tools/determinism.ts'), status === 0 ? text : `if (process.argv.length > 2) throw new Error('an option');\n${text}`);
    assert.equal(await runGate(at('root'), [check]), status, text);
  }
  assert.match(readFileSync(join(HOME, '.ci/run'), 'utf8'), /^\.\/dev ok && \.\/dev test$/m);
});
