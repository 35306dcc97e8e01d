import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toOci } from '@caisson/isolation';
import { placement, specFor } from './given.ts';

const TOOL = join(import.meta.dirname, '../../build/native/caisson-users');
const LIMIT = '/proc/sys/user/max_inotify_instances';

test('a user namespace that the runtime is handed is entered, with the map that the config has', () => {
  const { linux, hooks } = toOci(specFor(), { ...placement, userNamespace: '/proc/self/fd/9' });
  assert.deepEqual(linux.namespaces.filter(({ path }) => path !== undefined), [{ type: 'user', path: '/proc/self/fd/9' }]);
  assert.deepEqual(linux.uidMappings.map(({ hostID }) => hostID), [placement.hostUid, placement.hostUid + 1]);
  assert.equal(hooks, undefined);
});

test('a user namespace that the runtime makes is bounded before anything of the sandbox runs', () => {
  const { hooks, linux } = toOci(specFor(), { ...placement, countsHook: { program: '/run/images/users', outside: 4_026_531_837 } });
  assert.deepEqual(hooks, { createContainer: [{ path: '/run/images/users', args: ['caisson-users', 'bound', '4026531837', 'inotify_instances=16', 'inotify_watches=8192'], timeout: 5 }] });
  assert.ok(linux.namespaces.every(({ path }) => path === undefined));
});

test('the program that bounds a sandbox does nothing outside of one', () => {
  const before = readFileSync(LIMIT, 'utf8').trim();
  const own = `${statSync('/proc/self/ns/user').ino}`;
  for (const argv of [['bound', own, `inotify_instances=${before}`], ['join', `${process.pid}`, 'no-such-group', `inotify_instances=${before}`], ['bound', '1', '../kernel/pid_max=1'], ['bound', '1'], []]) {
    const { status, stderr } = spawnSync(TOOL, argv, { encoding: 'utf8' });
    assert.equal(status, 1, argv.join(' '));
    assert.match(stderr, /^(user namespace|process|count|arguments): (EINVAL|ESRCH)\n$/);
  }
  assert.equal(readFileSync(LIMIT, 'utf8').trim(), before);
});
