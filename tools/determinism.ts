import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { run } from 'node:test';
import { parseArgs } from 'node:util';
import { note, startProgress, verdict, type TestEvent } from './reporter.ts';

const HELP = `Usage: ./dev gate determinism [OPTION…]

Replays a log that is kept in fresh processes, each with another clock, time zone, language, seed, order of its environment and
folder, and runs the tests of determinism. Each replay must give the state that is kept.
Exit status: 0 each did, 1 one did not, or something that had to be there or to run was not or did not, 2 usage.

  --fixture FOLDER   of log.jsonl and expected.json (default test/projection/fixtures)
  --replayer FILE    prints what each replay comes to (default test/projection/replay-fixture.ts)
  --tests FILE       of node:test; none may fail, be skipped or be missing (default test/projection/determinism.test.ts)
  --processes N      from 1 on (default 20)
  --replays N        of each process, from 1 on (default 5)
  --help             this
`;

/** Longest that one process may take, in milliseconds. */
const TIMEOUT_MS = 60_000;

const HOME = join(import.meta.dirname, '..');
const CLOCK = join(HOME, 'test/projection/moved-clock.ts');

interface Gate {
  readonly fixture: string;
  readonly replayer: string;
  readonly tests: string;
  readonly processes: number;
  readonly replays: number;
}

/** What must come of each replay. */
interface Expected {
  readonly entries: number;
  readonly halfway: string;
  readonly hash: string;
}

/** Where a process runs: what must make no difference. */
interface Place {
  readonly nodeOptions: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
}

const ZONES = ['UTC', 'Pacific/Kiritimati', 'America/St_Johns', 'Asia/Kathmandu', 'Africa/Casablanca'] as const;
const LANGUAGES = ['C', 'tr_TR.UTF-8', 'de_DE.UTF-8', 'ar_EG.UTF-8', 'ja_JP.eucJP', 'lt_LT.UTF-8', 'POSIX'] as const;
const CLOCKS_MS = [0, -86_400_000 * 365 * 20, 86_400_000 * 183, 1_000 * 2 ** 31] as const;
const OPTIONS = [[], ['--no-opt'], ['--always-sparkplug'], ['--single-threaded'], ['--no-rehash-snapshot'], ['--max-semi-space-size=1']] as const;

/** Lists of lengths without a common factor, so that values meet in ever other ways. */
function placeOf(number: number, home: string): Place {
  const pick = <Item>(items: readonly Item[]): Item => items[number % items.length] as Item;
  const language = pick(LANGUAGES);
  const variables = Object.entries({ TZ: pick(ZONES), LANG: language, LC_ALL: language, LANGUAGE: language, PATH: process.env['PATH'], HOME: pick(['/', '/root', '/nonexistent']), CLOCK_MOVED_MS: String(pick(CLOCKS_MS)), [`EXTRA_${number}`]: 'x'.repeat(number * 7) });
  const turned = [...variables.slice(number % variables.length), ...variables.slice(0, number % variables.length)];
  return {
    nodeOptions: [...pick(OPTIONS), `--hash-seed=${number + 1}`, `--random-seed=${7 * number + 1}`, `--import=${CLOCK}`, '--disable-warning=ExperimentalWarning'],
    env: Object.fromEntries(turned),
    cwd: pick([home, '/', tmpdir()]),
  };
}

/** What is kept; a text that says why where it cannot be used. */
function readExpected(fixture: string): Expected | string {
  try {
    const { log, ...expected } = JSON.parse(readFileSync(join(fixture, 'expected.json'), 'utf8')) as Expected & { readonly log: string };
    const found = createHash('sha256').update(readFileSync(join(fixture, 'log.jsonl'))).digest('hex');
    if (found !== log) return `log.jsonl is not the one that expected.json is of: its SHA-256 is ${found}`;
    if (!Number.isSafeInteger(expected.entries) || expected.entries < 1) return 'expected.json is of a log without entries';
    return expected;
  } catch (error) {
    return `no fixture: ${(error as Error).message}`;
  }
}

/** Runs one process. Resolves to what is wrong, or to nothing. */
async function replayed({ fixture, replayer, replays }: Gate, expected: Expected, { nodeOptions, env, cwd }: Place): Promise<string> {
  const child = spawn(process.execPath, [...nodeOptions, replayer, fixture, String(replays)], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS, killSignal: 'SIGKILL' });
  const wrote = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) child[stream].setEncoding('utf8').on('data', (text: string) => (wrote[stream] += text));
  const status = await new Promise<number | string>((done) => {
    child.once('error', (error) => done(error.message));
    child.once('close', (code, signal) => done(code ?? signal ?? 'unknown'));
  });
  if (status !== 0) return `ended with ${status}: ${wrote.stderr.trimEnd()}`;
  const lines = wrote.stdout.split('\n').filter((line) => line !== '');
  if (lines.length !== replays) return `told of ${lines.length} replays, not of ${replays}`;
  return lines.map((line) => difference(line, expected)).find((found) => found !== '') ?? '';
}

function difference(line: string, expected: Expected): string {
  let told: Partial<Expected> & { readonly bad?: unknown };
  try {
    told = JSON.parse(line) as typeof told;
  } catch {
    return `told ${line}`;
  }
  for (const name of ['entries', 'halfway', 'hash'] as const) if (told[name] !== expected[name]) return `${name} is ${told[name]}, not ${expected[name]}`;
  return Array.isArray(told.bad) && told.bad.length === 0 ? '' : `pointers are bad: ${JSON.stringify(told.bad)}`;
}

/** Replays in as many processes at once as there are cores. Resolves to one line for each that is not as it should be. */
async function replayAll(gate: Gate, expected: Expected): Promise<readonly string[]> {
  const wrong: string[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < gate.processes) {
      const number = next++;
      const place = placeOf(number, HOME);
      const found = await replayed(gate, expected, place);
      if (found !== '') wrong.push(`process ${number} ${found}\n  in ${place.cwd} with ${place.nodeOptions.join(' ')} ${JSON.stringify(place.env)}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return wrong;
}

/** Runs the tests. Resolves to what is wrong, or to nothing: none failed, none was skipped, and there were some. */
async function tested(file: string): Promise<string> {
  const progress = startProgress(HOME);
  let told = '';
  const events: AsyncIterable<TestEvent> = run({ cwd: HOME, files: [file], timeout: TIMEOUT_MS });
  for await (const event of events) told += note(progress, event);
  const { passed, failed, skipped } = progress;
  return passed > 0 && failed === 0 && skipped === 0 ? '' : `${told}${verdict(progress)}`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The one path: what is kept, all replays, all tests. Resolves to 0, or to 1 at whatever is not as it should be. */
async function runGate(gate: Gate): Promise<number> {
  const expected = readExpected(gate.fixture);
  const wrong = typeof expected === 'string' ? [expected] : [...(await replayAll(gate, expected)), await tested(gate.tests)].filter((line) => line !== '');
  for (const line of wrong) say(line);
  if (wrong.length > 0 || typeof expected === 'string') {
    say('FAIL  determinism');
    return 1;
  }
  say(`ok    ${gate.processes * gate.replays} replays of ${expected.entries} entries in ${gate.processes} processes, each to the state ${expected.hash}`);
  return 0;
}

/** A whole number from 1 on; NaN for anything else. */
const count = (text: string): number => (/^[1-9][0-9]{0,5}$/.test(text) ? Number(text) : Number.NaN);

/** A text that says why the arguments are none; null: help is asked for. */
function readGate(args: readonly string[]): Gate | string | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        fixture: { type: 'string', default: join(HOME, 'test/projection/fixtures') },
        replayer: { type: 'string', default: join(HOME, 'test/projection/replay-fixture.ts') },
        tests: { type: 'string', default: join(HOME, 'test/projection/determinism.test.ts') },
        processes: { type: 'string', default: '20' },
        replays: { type: 'string', default: '5' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return null;
    const gate = { fixture: resolve(values.fixture), replayer: resolve(values.replayer), tests: resolve(values.tests), processes: count(values.processes), replays: count(values.replays) };
    return Number.isNaN(gate.processes + gate.replays) ? '--processes and --replays are numbers from 1 on' : gate;
  } catch (error) {
    return (error as Error).message;
  }
}

async function main(args: readonly string[]): Promise<number> {
  const gate = readGate(args);
  if (gate === null) {
    say(HELP.trimEnd());
    return 0;
  }
  if (typeof gate !== 'string') return runGate(gate);
  process.stderr.write(`error: ${gate}\n\n${HELP}`);
  return 2;
}

process.exitCode = await main(process.argv.slice(2));
