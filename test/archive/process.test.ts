import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId, type SupervisorStatus } from '@caisson/contract';
import { readStatus } from '@caisson/archive/status';
import { processUids } from '@caisson/runtime';
import { cli, emptyPlace } from '../cli/given.ts';
import { HOME, IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { assertWhole, folder, openDirectory } from './given.ts';
import { makeLog } from './log.ts';
import { once } from 'node:events';
import { spawn } from 'node:child_process';

const skip = IS_ROOT ? false : NEEDS_ROOT;

async function until(what: () => boolean): Promise<void> {
  const untilMs = Date.now() + 10_000;
  while (!what()) {
    assert.ok(Date.now() < untilMs, `not within 10 s: ${what.toString()}`);
    await delay(20);
  }
}

const processes = async (env: NodeJS.ProcessEnv): Promise<SupervisorStatus['processes']> =>
  (JSON.parse((await cli(env, ['status', '--json'])).stdout.toString()) as { supervisor: SupervisorStatus }).supervisor.processes;

test('an archiver runs beside the others where one is configured, under a uid of its own and without a privilege, and status shows what it says', { skip }, async () => {
  await using place = emptyPlace();
  using own = folder();
  const { archiver } = processUids(instanceId(place.dir));
  chmodSync(own.path, 0o700);
  chownSync(own.path, archiver, archiver);
  assert.equal((await cli(place.env, ['up', '--detach'])).status, 0);
  assert.ok(!(await processes(place.env)).some(({ name }) => name === 'archiver'), 'nobody asked for one');
  assert.equal((await cli(place.env, ['down'])).status, 0);
  writeFileSync(place.paths.archiveConfig, JSON.stringify({ kind: 'directory', path: own.path, everyMs: 50 }));
  const up = await cli(place.env, ['up', '--detach']);
  assert.equal(up.status, 0, up.stderr);
  const one = (await processes(place.env)).find(({ name }) => name === 'archiver');
  assert.equal(one?.uid, archiver);
  const status = readFileSync(`/proc/${one?.pid}/status`, 'utf8');
  assert.match(status, new RegExp(`^Uid:\\s+${archiver}\\s+${archiver}\\s+${archiver}\\s+${archiver}$`, 'm'));
  assert.match(status, /^CapEff:\s+0+$/m);
  assert.match(status, /^CapPrm:\s+0+$/m);
  await until(() => readStatus(`${place.paths.archive}/status.json`) !== null);
  const told = JSON.parse((await cli(place.env, ['status', '--json'])).stdout.toString()) as { archive: { state: string; store: string } | null };
  assert.equal(told.archive?.store, `directory ${own.path}`);
  assert.match((await cli(place.env, ['status'])).stdout.toString(), /^archive directory .* entries/m);
});

test('EVIDENCE_ARCHIVE_INVALID: nothing starts where archive.json has an unknown field', { skip }, async () => {
  await using place = emptyPlace();
  writeFileSync(place.paths.archiveConfig, JSON.stringify({ kind: 'directory', path: '/x', whenGone: 'stop' }));
  const { status, stderr } = await cli(place.env, ['up', '--detach']);
  assert.equal(status, 1);
  assert.match(stderr, /^caisson: EVIDENCE_ARCHIVE_INVALID: the evidence cannot be archived as .*archive\.json says: whenGone: is not a field/m);
  assert.equal((await cli(place.env, ['status'])).status, 3);
});

test('the archiver reads what is published to its group, from inside a directory that it cannot list, and not the key that lies beside it', { skip }, async () => {
  await using place = emptyPlace();
  using own = folder();
  const { archiver, control, scribe } = processUids(instanceId(place.dir));
  chownSync(own.path, archiver, archiver);
  chmodSync(own.path, 0o700);
  // As the supervisor makes them.
  mkdirSync(place.paths.evidence);
  chownSync(place.paths.evidence, scribe, archiver);
  chmodSync(place.paths.evidence, 0o2710);
  const log = makeLog({ dir: place.paths.evidence });
  chownSync(place.paths.archive, archiver, control);
  chmodSync(place.paths.archive, 0o750);
  await log.grow(300);
  for (const path of readdirSync(place.paths.evidence, { recursive: true, encoding: 'utf8' })) {
    if (path.startsWith('archive')) continue;
    const at = `${place.paths.evidence}/${path}`;
    const folderMode = statSync(at).isDirectory();
    assert.equal(statSync(at).gid, archiver, `${path} has the group of the folder`);
    chownSync(at, scribe, archiver);
    chmodSync(at, folderMode ? 0o2750 : 0o640);
  }
  const key = `${place.paths.evidence}/key`;
  writeFileSync(key, 'secret', { mode: 0o600 });
  chownSync(key, scribe, control);
  writeFileSync(place.paths.archiveConfig, JSON.stringify({ kind: 'directory', path: own.path, everyMs: 50 }));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `${HOME}/apps/daemon/src/main.ts`, 'archiver'], { env: place.env, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const ended = once(child, 'exit');
  try {
    await until(() => readStatus(`${place.paths.archive}/status.json`)?.state === 'current');
    await assertWhole(openDirectory(own.path), log);
    const denied = spawn('setpriv', [`--reuid=${archiver}`, `--regid=${archiver}`, '--clear-groups', 'cat', key], { stdio: 'ignore' });
    assert.notEqual((await once(denied, 'exit'))[0], 0, 'its uid cannot read the key');
    assert.ok(!existsSync(`${own.path}/key`));
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
});
