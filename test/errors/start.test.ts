import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { cli, emptyPlace } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT, runIn } from '../harness.ts';
import { shippedPolicy } from '../isolation/given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;

test('POLICY_INVALID: nothing starts under a policy with an unknown field', { skip }, async () => {
  await using place = emptyPlace();
  writeFileSync(place.paths.policy, JSON.stringify({ ...shippedPolicy, limit: {} }));
  const { status, stdout, stderr } = await cli(place.env, ['run', '--', 'true']);
  assert.equal(status, 125);
  assert.equal(stdout.length, 0);
  assert.match(stderr, /^caisson: POLICY_INVALID: the policy file .*policy\.json is not valid: .*"limit"/m);
  assert.equal((await cli(place.env, ['status'])).status, 3, 'nothing is left running');
});

test('DAEMON_UNREACHABLE: a call where nothing is up', async () => {
  await using place = emptyPlace();
  await assert.rejects(runIn(place.paths, { argv: ['true'] }), { code: 'DAEMON_UNREACHABLE', message: /control\.sock/, hint: /caisson up/ });
});

test('DAEMON_START_FAILED: a program that Caisson needs is missing', { skip }, async () => {
  await using place = emptyPlace({ PATH: '/nonexistent' });
  const { status, stderr } = await cli(place.env, ['up', '--detach']);
  assert.equal(status, 1);
  assert.match(stderr, /^caisson: DAEMON_START_FAILED: .*(?:unshare|prlimit) ENOENT\nhint: read .*caisson\.log$/m);
});

test('DAEMON_RUNNING: a second start in the same directory', { skip }, async () => {
  await using place = emptyPlace();
  assert.equal((await cli(place.env, ['up', '--detach'])).status, 0);
  const second = await cli(place.env, ['up', '--detach']);
  assert.equal(second.status, 1);
  assert.match(second.stderr, /^caisson: DAEMON_RUNNING: .*already up in/m);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0, 'the first goes on');
});

test('STATE_DIR_INVALID: a file where the state directory should be', async () => {
  await using place = emptyPlace();
  writeFileSync(`${place.dir}/file`, '');
  const { status, stderr } = await cli({ ...place.env, CAISSON_DIR: `${place.dir}/file` }, ['run', '--', 'true']);
  assert.equal(status, 125);
  assert.match(stderr, /^caisson: STATE_DIR_INVALID: the state directory .*\/file cannot be used: /m);
});

test('EVIDENCE_DAMAGED: an edited entry stops the start, is named, and stays as it is', { skip }, async () => {
  await using place = emptyPlace();
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  assert.equal((await cli(place.env, ['down'])).status, 0);
  const path = `${place.paths.evidence}/tile/entries/000.p/2`;
  const edited = readFileSync(path, 'utf8').replace('"program":"true"', '"program":"fals"');
  writeFileSync(path, edited);
  const up = await cli(place.env, ['up', '--detach']);
  assert.equal(up.status, 1);
  assert.match(up.stderr, /^caisson: EVIDENCE_DAMAGED: the evidence log is damaged at entry 0: /m);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 125);
  assert.equal(readFileSync(path, 'utf8'), edited);
  assert.equal((await cli(place.env, ['audit', 'verify'])).status, 1);
});

test('EVIDENCE_UNAVAILABLE: with a full disk nothing runs, and with room again it does', { skip }, async (t) => {
  await using place = emptyPlace();
  const { evidence } = place.paths;
  mkdirSync(evidence);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', evidence], { stdio: 'ignore' });
  } catch {
    return t.skip('no file system can be mounted here');
  }
  try {
    assert.equal((await cli(place.env, ['up', '--detach'])).status, 0);
    assert.throws(() => writeFileSync(`${evidence}/filler`, Buffer.alloc(128 * 1024)), { code: 'ENOSPC' });
    const full = await cli(place.env, ['run', '--', 'echo', 'ran']);
    assert.equal(full.status, 125);
    assert.equal(full.stdout.length, 0, 'nothing ran');
    assert.match(full.stderr, /^caisson: EVIDENCE_UNAVAILABLE: .*ENOSPC/m);
    rmSync(`${evidence}/filler`);
    assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
    assert.equal((await cli(place.env, ['audit', 'verify'])).status, 0);
  } finally {
    await cli(place.env, ['down']);
    execFileSync('umount', [evidence]);
  }
});

test('LAUNCH_FAILED: what a broken runtime printed is in the error', { skip }, async () => {
  await using place = emptyPlace();
  const crun = `${place.dir}/bin/crun`;
  mkdirSync(`${place.dir}/bin`);
  writeFileSync(crun, '#!/bin/sh\n[ "$1" = --version ] && { echo "crun version 9.9"; exit 0; }\necho "the runtime is out of order" >&2\nexit 1\n');
  chmodSync(crun, 0o755);
  const { status, stderr } = await cli({ ...place.env, PATH: `${place.dir}/bin:${process.env['PATH']}` }, ['run', '--', 'true']);
  assert.equal(status, 125);
  assert.match(stderr, /^caisson: LAUNCH_FAILED: the sandbox did not start: the runtime ended with 1: the runtime is out of order$/m);
});
