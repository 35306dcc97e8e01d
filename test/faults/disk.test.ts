import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import type { Entry } from '@caisson/contract';
import { readEntries, verifyLog } from '@caisson/evidence';
import { Sandbox } from '@caisson/sdk';
import { cli, emptyPlace } from '../cli/given.ts';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { callApi, type Answered } from '../stay/call-api.ts';
import { runProgram } from '../verify/given.ts';
import { descriptorsOf, noSmallDisk, smallDisk, until, type SmallDisk } from './small-disk.ts';

const skip = IS_ROOT ? noSmallDisk() : NEEDS_ROOT;

interface Ground extends AsyncDisposable {
  readonly caisson: Caisson;
  readonly disk: SmallDisk;
  readonly box: Sandbox;
}

/** A whole Caisson whose evidence is on a small disk of its own, and a sandbox in it whose commands leave a line each. */
async function ground(size: { readonly mib?: number; readonly inodes?: number } = {}): Promise<Ground> {
  await using opened = new AsyncDisposableStack();
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  opened.defer(() => rmSync(dir, { recursive: true, force: true }));
  const disk = opened.use(smallDisk(`${dir}/evidence`, size));
  const caisson = opened.use(await startCaisson({ dir }));
  const box = await Sandbox.create({ level: 'container', workspace: 'effects', limits: { workspaceBytes: 2 ** 25 } }, { connection: { socket: caisson.paths.apiSocket } });
  const closing = opened.move();
  return { caisson, disk, box, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

const exec = ({ caisson, box }: Ground, tag: string): Promise<Answered> =>
  callApi(caisson.paths.apiSocket, 'POST', `/v1/sandboxes/${box.id}/execs`, { argv: ['/bin/sh', '-c', `echo ${tag} >> effects`] }, { connection: 'close' });

const isRefused = ({ status, body }: Answered): boolean => status === 503 && body['code'] === 'EVIDENCE_UNAVAILABLE';

/** Asks until the record takes no more: the last block of a file that is full may take a few. */
async function untilRefused(on: Ground, tag: string): Promise<Answered> {
  for (let at = 0; at < 50; at++) {
    const answered = await exec(on, `${tag}-${at}`);
    if (isRefused(answered)) return answered;
    assert.equal(answered.status, 201, JSON.stringify(answered.body));
  }
  return assert.fail('the record took all of it');
}

async function entriesOf({ paths }: Caisson): Promise<readonly Entry[]> {
  return (await Array.fromAsync(readEntries(paths.evidence))).map(({ entry }) => entry);
}

/** Execs that have begun, as the log has them. */
async function begun(caisson: Caisson): Promise<number> {
  const entries = await entriesOf(caisson);
  const execs = new Set(entries.filter(({ kind, body }) => kind === 'intent' && (body as { what?: string }).what === 'exec').map(({ subject }) => subject));
  const not = entries.filter(({ kind, subject, body }) => kind === 'outcome' && execs.has(subject) && (body as { ending: { kind: string } }).ending.kind === 'refused');
  return execs.size - not.length;
}

/** Each command has left its line once, and the log has as many as there are lines; every outcome is there, and nothing is bad or missed. */
async function allIsTrue(on: Ground, restarted: readonly string[] = []): Promise<readonly string[]> {
  const { caisson, box } = on;
  await until('every outcome is on record', async () => (await verifyLog(caisson.paths.evidence)).openIntents.join() === box.id);
  const effects = (await box.files.read('effects')).trimEnd().split('\n');
  assert.equal(new Set(effects).size, effects.length, 'no command ran twice');
  assert.equal(await begun(caisson), effects.length, 'as many commands are on record as there were');
  const { bad, findings, unread } = await verifyLog(caisson.paths.evidence);
  assert.deepEqual([bad, findings, unread.count], [null, [], 0]);
  assert.deepEqual((await caisson.status()).processes.filter(({ restarts }) => restarts > 0).map(({ name }) => name), restarted, 'nothing else was started anew');
  const { status, stdout } = await cli(caisson.env, ['audit', 'verify']);
  assert.equal(status, 0, stdout.toString());
  await until('all is in tiles', async () => { const { published, entries } = await verifyLog(caisson.paths.evidence); return published === entries; });
  const second = await runProgram(['python3', '-B', `${HOME}/verify/verify.py`, caisson.paths.evidence]);
  assert.equal(second.status, 0, second.stdout + second.stderr);
  return effects;
}

/** What who looks sees of it: the alert, in three places. */
async function assertShown({ caisson }: Ground, alert: string, reason: RegExp, commands: readonly string[] = ['status']): Promise<void> {
  await until(`the alert ${alert}`, async () => (await caisson.control()).alerts.some((each) => each.alert === alert));
  const shown = (await caisson.control()).alerts.find((each) => each.alert === alert);
  assert.match(shown?.reason ?? '', reason);
  assert.equal(shown?.severity, 'critical');
  for (const command of commands) assert.match((await cli(caisson.env, [command])).stdout.toString(), new RegExp(`${alert}.*${reason.source}`), command);
  assert.match(JSON.stringify((await callApi(caisson.paths.apiSocket, 'GET', '/v1/status', undefined)).body), new RegExp(alert));
}

async function assertCleared({ caisson }: Ground, alert: string): Promise<void> {
  await until(`${alert} is over`, async () => !(await caisson.control()).alerts.some((each) => each.alert === alert));
  assert.ok((await entriesOf(caisson)).some(({ kind, body }) => kind === 'alert' && (body as { alert: string; cleared?: boolean }).alert === alert && (body as { cleared?: boolean }).cleared === true), 'that it was is on record');
}

test('a full disk of the evidence refuses what is new before it happens, lets what runs go on, and has all of it once there is room', { skip, timeout: 90_000 }, async () => {
  await using on = await ground();
  const { caisson, disk, box } = on;
  const connection = { socket: caisson.paths.apiSocket };
  const other = await Sandbox.create({ level: 'container' }, { connection });
  for (const at of [0, 1, 2]) await box.sh(`echo before-${at} >> effects`);
  const long = await box.spawn(['/bin/sh', '-c', 'sleep 3; echo long >> effects']);
  disk.fill();
  const refused = await untilRefused(on, 'filling');
  assert.match(JSON.stringify(refused.body), /ENOSPC/);
  await assertShown(on, 'evidence-not-written', /ENOSPC/, ['status', 'doctor']);
  const processes = (await caisson.status()).processes;
  const before = processes.map(({ pid }) => descriptorsOf(pid));
  for (let round = 0; round < 20; round++) {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => exec(on, `refused-${round}-${at}`)));
    assert.ok(answers.every(isRefused), JSON.stringify(answers.find((each) => !isRefused(each))));
  }
  assert.ok(isRefused(await callApi(connection.socket, 'POST', '/v1/sandboxes', { level: 'container' })), 'no sandbox is made');
  const { result } = await caisson.run({ argv: ['true'] });
  assert.deepEqual([result.exit, result.ending.kind, result.ending.kind === 'refused' && result.ending.code], [125, 'refused', 'EVIDENCE_UNAVAILABLE']);
  assert.deepEqual((await Array.fromAsync(Sandbox.list({ state: 'running' }, { connection }))).map(({ id }) => id).toSorted(), [box.id, other.id].toSorted(), 'it lists');
  assert.equal((await long.wait()).exit, 0, 'what ran has ended as it would have');
  await other.close();
  assert.equal((await callApi(connection.socket, 'GET', `/v1/sandboxes/${other.id}`, undefined)).body['state'], 'closed', 'a sandbox can be ended');
  await until('descriptors are as before', () => processes.every(({ pid }, at) => descriptorsOf(pid) <= (before[at] ?? 0) + 3));
  disk.empty();
  await until('the outcome of what ran is on record', async () => (await entriesOf(caisson)).filter(({ kind, subject }) => kind === 'outcome' && subject === long.id).length === 1);
  await assertCleared(on, 'evidence-not-written');
  await box.sh('echo after >> effects');
  const effects = await allIsTrue(on);
  assert.deepEqual(effects.filter((line) => line.startsWith('refused')), [], 'nothing that was refused has happened');
  for (const line of ['before-2', 'long', 'after']) assert.ok(effects.includes(line), line);
});

test('a disk of the evidence that has no inodes left, or room for appends and none for tiles, stops nothing before it must, and says that nobody can verify', { skip, timeout: 90_000 }, async () => {
  await using on = await ground();
  const { disk } = on;
  disk.fillInodes();
  for (let at = 0; at < 5; at++) assert.equal((await exec(on, `no-inodes-${at}`)).status, 201);
  await assertShown(on, 'tiles-not-written', /ENOSPC/);
  disk.empty();
  await assertCleared(on, 'tiles-not-written');
  await allIsTrue(on);
  disk.fill(12 * 1024);
  const refused = await untilRefused(on, 'no-tiles');
  assert.match(JSON.stringify(refused.body), /ENOSPC/);
  await assertShown(on, 'evidence-not-written', /ENOSPC/);
  disk.empty();
  await assertCleared(on, 'evidence-not-written');
  const effects = await allIsTrue(on);
  assert.equal(effects.filter((line) => line.startsWith('no-inodes')).length, 5);
});

test('a scribe that is killed while its disk is read-only says why nothing is recorded, and records again when it can be written', { skip, timeout: 90_000 }, async () => {
  await using on = await ground();
  const { caisson, disk } = on;
  assert.equal((await exec(on, 'before')).status, 201);
  assert.equal(disk.remount('ro'), false, 'nobody makes a disk read-only under a scribe that writes');
  const scribe = (await caisson.status()).processes.find(({ name }) => name === 'scribe')?.pid;
  caisson.supervisor.kill('SIGSTOP'); // nobody starts the next one meanwhile
  try {
    process.kill(scribe ?? Number.NaN, 'SIGKILL');
    await until('the disk is read-only before the next scribe writes', () => disk.remount('ro'));
  } finally {
    caisson.supervisor.kill('SIGCONT');
  }
  await until('the reason is said', async () => /EROFS/.test(JSON.stringify((await exec(on, 'read-only')).body)));
  await assertShown(on, 'evidence-not-written', /EROFS/);
  assert.ok(isRefused(await exec(on, 'read-only')));
  assert.ok(disk.remount('rw'));
  await until('it records again', async () => (await exec(on, `after-${performance.now()}`)).status === 201);
  await assertCleared(on, 'evidence-not-written');
  const effects = await allIsTrue(on, ['scribe']);
  assert.deepEqual([effects.includes('before'), effects.includes('read-only')], [true, false]);
});

test('a start on a full disk begins nothing that it cannot record: it says so, and starts when there is room', { skip, timeout: 90_000 }, async () => {
  await using place = emptyPlace();
  using disk = smallDisk(place.paths.evidence);
  await using _ = { [Symbol.asyncDispose]: async () => void (await cli(place.env, ['down'])) }; // before the disk goes
  assert.equal((await cli(place.env, ['up', '--detach'])).status, 0);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  await cli(place.env, ['down']);
  const journal = readdirSync(place.paths.evidence).find((name) => name.startsWith('journal-')) ?? '';
  appendFileSync(`${place.paths.evidence}/${journal}`, '{"body":"an append that was cut');
  disk.fill();
  const full = await cli(place.env, ['up', '--detach']);
  assert.equal(full.status, 1);
  assert.match(full.stderr, /^caisson: EVIDENCE_UNAVAILABLE: .*ENOSPC/m);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 125);
  disk.empty();
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  assert.equal((await cli(place.env, ['audit', 'verify'])).status, 0);
  assert.deepEqual((await verifyLog(place.paths.evidence)).openIntents, []);
});
