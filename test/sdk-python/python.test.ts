import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

const SDK = join(HOME, 'sdk/python');
const folder = mkdtempSync(join(tmpdir(), 'caisson-python-'));
const state: { caisson?: Caisson } = {};

before(async () => {
  if (IS_ROOT) state.caisson = await startCaisson();
});

after(async () => {
  await state.caisson?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Ran {
  readonly status: number | null;
  readonly output: string;
}

/** Runs a program to its end; all that it writes, in one. */
async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const socket = state.caisson?.paths.apiSocket;
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...(socket === undefined ? {} : { CAISSON_API_SOCKET: socket }), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const wrote: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => wrote.push(chunk));
  const status = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  return { status, output: Buffer.concat(wrote).toString('utf8') };
}

/** Why nothing of this can run here, or false. */
async function missing(): Promise<string | false> {
  const ran = await run('python3', ['-c', 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))']).catch(() => null);
  return ran?.status === 0 ? false : 'needs Python 3.11 or newer with venv';
}

const skip = await missing();

const unittest = (name: string): Promise<Ran> =>
  run('python3', ['-W', 'error::ResourceWarning', '-m', 'unittest', name], { PYTHONPATH: [join(SDK, 'src'), join(SDK, 'tests')].join(':') });

for (const [name, what] of [
  ['test_parsers', 'the parsers of the Python SDK take bytes cut anywhere, and refuse what is none of theirs'],
  ['test_archives', 'an archive from a sandbox makes nothing outside the folder that the Python SDK unpacks it to'],
] as const) {
  test(what, { skip }, async () => {
    const { status, output } = await unittest(name);
    assert.equal(status, 0, output);
    assert.match(output, /Ran [1-9]\d* tests/);
  });
}

for (const [name, what] of [
  ['test_live', 'the blocking side of the Python SDK does on a real Caisson what it says'],
  ['test_waits', 'the Python SDK waits for what is slow or away, and leaves nothing running that nobody waits for'],
  ['test_async', 'the asyncio side of the Python SDK does on a real Caisson what it says'],
] as const) {
  test(what, { skip: skip || (!IS_ROOT && NEEDS_ROOT) }, async () => {
    const { status, output } = await unittest(name);
    assert.equal(status, 0, output);
    assert.doesNotMatch(output, /skipped/);
  });
}

test('every test file of the Python SDK is run by one of these tests', () => {
  assert.deepEqual(globSync('test_*.py', { cwd: join(SDK, 'tests') }).toSorted(), ['test_approvals.py', 'test_archives.py', 'test_async.py', 'test_live.py', 'test_parsers.py', 'test_secrets.py', 'test_waits.py']);
});

test('the ten lines of Python run from the wheel in an environment of their own', { skip: skip || (!IS_ROOT && NEEDS_ROOT) }, async (context) => {
  const environment = join(folder, 'venv');
  assert.equal((await run('python3', ['-m', 'venv', environment])).status, 0);
  const python = join(environment, 'bin/python');
  const built = await run(python, ['-m', 'pip', 'wheel', '--no-deps', '-w', folder, SDK]);
  if (/No matching distribution found for flit_core/.test(built.output)) return context.skip('needs flit_core from a package index');
  assert.equal(built.status, 0, built.output);
  const [wheel] = globSync('caisson-*.whl', { cwd: folder });
  const installed = await run(python, ['-m', 'pip', 'install', '--no-index', join(folder, wheel ?? '')]);
  assert.equal(installed.status, 0, installed.output);
  const shown = await run(python, ['-c', 'import caisson, os; print(caisson.__file__, os.path.exists(os.path.join(os.path.dirname(caisson.__file__), "py.typed")))']);
  assert.ok(shown.output.startsWith(environment), shown.output);
  assert.match(shown.output, /True\n$/);
  const { status, output } = await run(python, [join(HOME, 'examples/python/ten_lines.py')]);
  assert.equal(status, 0, output);
  assert.match(output, /^hello from sbx-\w+\nlay-\w+ \['one'\] \['one', 'two'\]\n$/);
});
