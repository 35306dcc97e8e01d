import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { runTool, toolAt } from '@caisson/images';

const run = (argv: [string, ...string[]], signal = AbortSignal.timeout(10_000), lines: string[] = []): Promise<Buffer> =>
  runTool({ argv, cwd: tmpdir(), signal, stdoutBytes: 100, onLine: (line) => void lines.push(line) });

test('IMAGE_TOOL_MISSING: a tool that is not installed is refused with the package that has it', () => {
  assert.throws(() => toolAt('no-such-tool', 'its-package'), { code: 'IMAGE_TOOL_MISSING', hint: /apt-get install --no-install-recommends its-package/ });
});

test('IMAGE_UNAVAILABLE: a tool that fails is quoted, its complaint before its last words', async () => {
  await assert.rejects(run(['/bin/sh', '-c', 'echo first >&2; echo E: no room >&2; for i in 1 2 3 4; do echo word $i >&2; done; exit 3']), { code: 'IMAGE_UNAVAILABLE', message: /ended with 3: E: no room$/ });
  await assert.rejects(run(['/bin/sh', '-c', 'for i in 1 2 3 4; do echo word $i >&2; done; exit 3']), { message: /word 2; word 3; word 4$/ });
  await assert.rejects(run(['/bin/sh', '-c', 'head -c 200 /dev/zero']), { code: 'IMAGE_UNAVAILABLE' });
});

test('a tool is given a line at a time, nothing of our environment, and ends when it is given up', async () => {
  const lines: string[] = [];
  process.env['CAISSON_SECRET'] = 'x';
  const out = await run(['/bin/sh', '-c', 'printf "a\\nb" >&2; printf "\\rc\\n" >&2; env | grep -c SECRET; true'], undefined, lines);
  delete process.env['CAISSON_SECRET'];
  assert.equal(out.toString(), '0\n');
  assert.deepEqual(lines, ['a', 'b', 'c']);
  const gone = new AbortController();
  setTimeout(() => gone.abort(new Error('given up')), 100);
  await assert.rejects(run(['/bin/sleep', '60'], gone.signal), /given up/);
});
