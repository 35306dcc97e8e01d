import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { apiInMemory } from '../api/given.ts';
import { HOME } from '../harness.ts';

const run = promisify(execFile);
const SDK = join(HOME, 'sdk/python');
const skip = await run('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))']).then(() => false as const, () => 'needs Python 3.11 or newer');

test('both sides of the Python SDK ask for secrets by name, list them and take them', { skip }, async () => {
  await using place = await apiInMemory();
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: [join(SDK, 'src'), join(SDK, 'tests')].join(':'), CAISSON_API_SOCKET: place.socketPath, CAISSON_TEST_SECRETS: 'openai github' };
  const { stderr } = await run('python3', ['-W', 'error::ResourceWarning', '-m', 'unittest', 'test_secrets', 'test_async.Shapes'], { env });
  assert.match(stderr, /Ran 5 tests[^]*\nOK\n$/);
});
