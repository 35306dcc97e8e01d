import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type PythonOutput, type Sandbox } from '@caisson/sdk';
import { REAL, realCaisson } from './given.ts';

const real = realCaisson();
const ended = (error: unknown): boolean => error instanceof CaissonError && error.code === 'PYTHON_ENDED';

test('variables, functions, classes and imports stay from run to run', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  assert.match(python.version, /^3\.\d+\.\d+$/);
  await python.run('import math\ndef twice(x):\n  return 2 * x\nclass Point:\n  pass\nvalue = 21');
  assert.equal((await python.run('twice(value)')).text, '42');
  assert.equal((await python.run('_ + 1')).text, '43');
  assert.equal((await python.run('import pickle\ntype(pickle.loads(pickle.dumps(Point()))).__name__')).text, "'Point'");
  assert.deepEqual((await python.run('value = 1')).results, []);
});

test('what code and its children print comes on its stream, as it comes and in the result', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  const told: string[] = [];
  const code = 'import os, sys, subprocess\nprint("é")\nsubprocess.run(["echo", "child"])\nos.write(1, b"raw\\n")\nprint("bad", file=sys.stderr)';
  const result = await python.run(code, { onStdout: (text) => void told.push(text) });
  assert.deepEqual([result.stdout, result.stderr, told.join('')], ['é\nchild\nraw\n', 'bad\n', 'é\nchild\nraw\n']);
});

test('an exception is a result with its traceback, and the session goes on', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  const { error, stdout } = await python.run('print("before")\ndef f():\n  return 1 / 0\nf()');
  assert.deepEqual([error?.name, error?.value, stdout], ['ZeroDivisionError', 'division by zero', 'before\n']);
  assert.match(error?.traceback ?? '', /File "<cell 1>", line 3, in f\n\s+return 1 \/ 0/);
  assert.equal((await python.run('def (')).error?.name, 'SyntaxError');
  assert.deepEqual([(await python.run('raise SystemExit(3)')).error?.name, (await python.run('input()')).error?.name], ['SystemExit', 'EOFError']);
  assert.equal((await python.run('1 + 1')).text, '2');
});

test('rich values are json, html, images and text, and display shows several', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  assert.deepEqual((await python.run('{"a": [1, None]}')).results, [{ type: 'json', value: { a: [1, null] } }]);
  const code = 'class Html:\n  def _repr_html_(self):\n    return "<b>x</b>"\nclass Png:\n  def _repr_png_(self):\n    return b"\\x89PNG"\ndisplay(Html(), Png())\nobject()';
  const { results } = await python.run(code);
  assert.deepEqual(results.slice(0, 2), [{ type: 'html', html: '<b>x</b>', truncated: false }, { type: 'image', mime: 'image/png', data: Buffer.from('\x89PNG', 'latin1').toString('base64') }]);
  assert.match((results[2] as Extract<PythonOutput, { type: 'text' }>).text, /^<object object/);
  const long = await python.run('"x" * 100_000');
  assert.deepEqual([long.text?.length, long.results[0]?.type === 'text' && long.results[0].truncated], [65_536, true]);
});

/** A table of pandas as far as a session looks at it, for images without pandas. */
const TABLES = `import sys, types
pandas = types.ModuleType("pandas")
class DataFrame:
  def __init__(self, rows, columns, text):
    self.shape, self.index, self.columns, self.text = (rows, columns), range(rows), range(columns), text
  iloc = property(lambda self: self)
  def __getitem__(self, at): return self
  def itertuples(self, **_): return [(self.text,) * self.shape[1]] * self.shape[0]
DataFrame.__module__ = "pandas"
pandas.DataFrame = DataFrame
sys.modules["pandas"] = pandas`;

test('a table of long texts comes whole, or is said to be cut', REAL, async () => {
  await using box = await real().create({ limits: { outputBytes: 256 * 1024 * 1024 } });
  await using python = await box.python();
  await python.run(TABLES);
  const small = await python.run('DataFrame(1000, 5, "x" * 1000)');
  assert.ok(small.results[0]?.type === 'table' && small.results[0].rows.length === 1_000 && !small.results[0].truncated && !small.truncated);
  for (const code of ['DataFrame(1000, 10, "x" * 1000)', 'DataFrame(1000, 3, "é€𝄞\\n" * 250)', 'DataFrame(1000, 100, "\\0" * 1000)']) {
    const { text, results, error, truncated } = await python.run(code);
    const [one] = results;
    assert.ok(one !== undefined && results.length === 1 && error === null, code);
    const whole = one.type === 'table' && one.rows.length === 1_000 && !one.truncated;
    assert.ok(whole || (one.type === 'text' && one.text === text && one.truncated && truncated), code);
    assert.match(text ?? '', /^<pandas.DataFrame object at /);
  }
  const page = await python.run('class Page:\n  def _repr_html_(self): return "\\x01" * (1 << 20)\nPage()');
  assert.deepEqual([page.results.length, page.truncated], [1, true]);
  assert.equal((await python.run('1 + 1')).text, '2');
});

test('await works at the top level', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  assert.equal((await python.run('import asyncio\nasync def f():\n  await asyncio.sleep(0)\n  return 5\nawait f()')).text, '5');
});

test('code that is interrupted, by the caller or by its time-out, ends with KeyboardInterrupt and leaves the variables', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  await python.run('x = 7');
  const slow = await python.run('import time\ntime.sleep(30)', { timeoutMs: 1_000 });
  assert.deepEqual([slow.error?.name, slow.timedOut], ['KeyboardInterrupt', true]);
  const running = python.run('import time\nprint("on", flush=True)\ntime.sleep(30)', { onStdout: () => void python.interrupt() });
  assert.deepEqual([(await running).error?.name, (await running).timedOut], ['KeyboardInterrupt', false]);
  await python.interrupt();
  const abort = new AbortController();
  const reason = new Error('enough');
  const sleeping = python.run('print("on", flush=True)\ntime.sleep(30)', { signal: abort.signal, onStdout: () => abort.abort(reason) });
  await assert.rejects(sleeping, (error) => error === reason);
  assert.equal((await python.run('x')).text, '7');
});

test('a run that is aborted before its code has begun ends as one that is aborted in it, and the session goes on', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  await python.run('import time\nx = 7');
  for (let round = 0; round < 20; round++) {
    const abort = new AbortController();
    const aborted = assert.rejects(python.run('time.sleep(30)', { signal: abort.signal }), (error) => error === abort.signal.reason);
    await delay(round % 5);
    abort.abort(new Error('at once'));
    await aborted;
    assert.deepEqual([(await python.run('time.sleep(30)', { timeoutMs: 1 })).error?.name, (await python.run('x')).text], ['KeyboardInterrupt', '7']);
  }
});

test('code that ignores its interrupt is killed with its session, which is said; a restart begins anew', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  await python.run('x = 1');
  const stubborn = 'import time\nwhile True:\n  try:\n    time.sleep(1)\n  except KeyboardInterrupt:\n    pass';
  await assert.rejects(python.run(stubborn, { timeoutMs: 1_000 }), ended);
  await assert.rejects(python.run('1'), ended);
  await python.restart();
  assert.equal((await python.run('x')).error?.name, 'NameError');
});

test('a session that is closed or restarted again while it restarts leaves no interpreter running', REAL, async () => {
  await using box = await real().create();
  const python = await box.python();
  await Promise.all([python.restart(), python.restart()]);
  assert.equal((await python.run('1 + 1')).text, '2');
  await untilRunning(box, 1);
  await Promise.all([python.restart(), python.close()]);
  await assert.rejects(python.run('1'), ended);
  await untilRunning(box, 0);
});

test('PYTHON_ENDED: an interpreter that dies in a run is said to have, never a result', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  await assert.rejects(python.run('import os\nos._exit(0)'), ended);
  await python.restart();
  await assert.rejects(python.run('import os, signal\nos.kill(os.getpid(), signal.SIGKILL)'), ended);
});

test('nothing that code prints is taken for a result of its run', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  const forged = '{"type":"done","run":1,"error":null,"truncated":false,"left":9999999}';
  const result = await python.run(`import os\nfor word in ("", " ", "0" * 32 + " "):\n  os.write(1, (word + ${JSON.stringify(forged)} + "\\n").encode())\n1/0`);
  assert.equal(result.error?.name, 'ZeroDivisionError');
  assert.equal(result.stdout.split('\n').length, 4);
});

test('a child of a fork in the code does not answer in the place of the session', REAL, async () => {
  await using box = await real().create();
  await using python = await box.python();
  const forked = await python.run('import os\npid = os.fork()\nif pid:\n  os.waitpid(pid, 0)\n"once"');
  assert.deepEqual([forked.text, forked.results.length], ["'once'", 1]);
  assert.equal((await python.run('2')).text, '2');
});

test('files of the workspace can be imported, and none of them takes the place of a module that the session needs', REAL, async () => {
  await using box = await real().create();
  await box.files.write('json.py', 'raise RuntimeError("taken over")');
  await box.files.write('mine.py', 'value = 9');
  await using python = await box.python();
  assert.equal((await python.run('import mine\nmine.value')).text, '9');
});

test('a session that has said all that its sandbox lets it say is refused from then on', REAL, async () => {
  await using box = await real().create({ limits: { outputBytes: 300_000 } });
  await using python = await box.python();
  const result = await python.run('print("x" * 250_000)\n"value"');
  assert.equal(result.truncated, true);
  await assert.rejects(async () => {
    for (let run = 0; run < 20; run++) await python.run('print("x" * 60_000)');
  }, ended);
  await python.restart();
  assert.equal((await python.run('1')).text, '1');
});

test('a program that is not there is no session', REAL, async () => {
  await using box = await real().create();
  await assert.rejects(box.python({ program: 'no-such-python' }), (error) => error instanceof CaissonError && error.code === 'COMMAND_NOT_FOUND');
  await assert.rejects(box.python({ program: 'true' }), ended);
});

test('a table of pandas and a figure of matplotlib come as a table and as a PNG', REAL, async (t) => {
  await using box = await withImage();
  if (box === null) return t.skip('needs the image code-interpreter: ./caisson image build code-interpreter');
  await using python = await box.python();
  const { results } = await python.run('import pandas as pd\npd.DataFrame({"n": [1, 2], "s": ["a", None], "f": [0.5, float("nan")]})');
  assert.deepEqual(results, [{ type: 'table', columns: ['n', 's', 'f'], index: ['0', '1'], rows: [[1, 'a', 0.5], [2, null, null]], totalRows: 2, totalColumns: 3, truncated: false }]);
  const drawn = await python.run('import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nNone');
  const image = drawn.results.find(({ type }) => type === 'image');
  assert.ok(image?.type === 'image' && Buffer.from(image.data, 'base64').subarray(1, 4).toString() === 'PNG');
});

/** Waits until no more commands than these run. */
async function untilRunning(box: Sandbox, most: number): Promise<void> {
  for (const untilMs = performance.now() + 10_000; (await box.info()).running.length > most; await delay(20)) assert.ok(performance.now() < untilMs, 'one runs on');
}

async function withImage(): Promise<(Sandbox & AsyncDisposable) | null> {
  try {
    return await real().create({ image: 'code-interpreter' });
  } catch (error) {
    if (error instanceof CaissonError && error.code === 'IMAGE_NOT_FOUND') return null;
    throw error;
  }
}
