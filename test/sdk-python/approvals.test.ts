import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { SCOPES } from '@caisson/contract/api';
import { apiInMemory } from '../api/given.ts';
import { HOME } from '../harness.ts';

const run = promisify(execFile);
const SDK = join(HOME, 'sdk/python');
const skip = await run('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))']).then(() => false as const, () => 'needs Python 3.11 or newer');

test('both sides of the Python SDK list what waits, watch it, allow and deny it, and are refused without the scope', { skip }, async () => {
  await using place = await apiInMemory({ tcp: { host: '127.0.0.1', port: 0 } });
  const env = {
    ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: [join(SDK, 'src'), join(SDK, 'tests')].join(':'), CAISSON_API_SOCKET: place.socketPath,
    CAISSON_TEST_APPROVAL: 'apr-0123456789abcdef', CAISSON_TEST_URL: `http://127.0.0.1:${place.api.tcpPort ?? 0}`,
    CAISSON_TEST_AGENT: place.tokens.make({ name: 'agent', scopes: SCOPES.filter((scope) => scope !== 'approvals') }).token,
    CAISSON_TEST_PERSON: place.tokens.make({ name: 'person', scopes: ['approvals'] }).token,
  };
  const { stderr } = await run('python3', ['-W', 'error::ResourceWarning', '-m', 'unittest', 'test_approvals'], { env });
  assert.match(stderr, /Ran 4 tests[^]*\nOK\n$/);
  assert.ok(place.double.asked.every(({ verb, caller }) => verb === 'approval' && caller !== 'agent'));
});
