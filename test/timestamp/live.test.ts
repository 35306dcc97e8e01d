import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId, type SupervisorStatus } from '@caisson/contract';
import { readEntries, verifyLog } from '@caisson/evidence';
import { processUids } from '@caisson/runtime';
import { formatVerifierKey } from '@caisson/tlog';
import { keptSizes } from '@caisson/timestamp';
import { readStampingStatus, type StampingStatus } from '@caisson/timestamp/status';
import { cli, emptyPlace, type Place } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { makeWitness } from '../witness/given.ts';
import { Authority, HONEST, openssl, serve, type Between } from './given.ts';

let folder: string;
let authority: Authority;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'caisson-tsa-'));
  authority = await Authority.make(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function until({ paths }: Place, what: (status: StampingStatus) => boolean): Promise<StampingStatus> {
  for (const untilMs = Date.now() + 15_000; ; await delay(20)) {
    const status = readStampingStatus(`${paths.timestamps}/status.json`);
    if (status !== null && what(status)) return status;
    assert.ok(Date.now() < untilMs, `not within 15 s: ${what.toString()}, ${JSON.stringify(status)}`);
  }
}

function configure({ dir, paths }: Place, urls: readonly string[]): void {
  copyFileSync(authority.root.cert, `${dir}/tsa.pem`);
  writeFileSync(paths.timestampsConfig, JSON.stringify({ urls, ca: 'tsa.pem', everyMs: 200, hash: 'sha512' }));
}

async function up({ env }: Place): Promise<void> {
  const { status, stderr } = await cli(env, ['up', '--detach']);
  assert.equal(status, 0, stderr);
}

async function runOnce({ env }: Place): Promise<void> {
  assert.equal((await cli(env, ['run', '--', 'true'])).status, 0, 'an authority stops nothing');
}

test('a running instance has its heads stamped; offline they verify by two public keys, also with openssl; an old copy that is put back and goes on is BAD, and an alert says so', { skip: IS_ROOT ? false : NEEDS_ROOT }, async (t) => {
  await using place = emptyPlace();
  const { paths, env } = place;
  let between: Between = ({ response }) => void response.writeHead(503).end();
  configure(place, [await serve(t, authority, () => between)]);
  const { key } = await makeWitness(t, []);
  writeFileSync(paths.witnessesConfig, JSON.stringify({ witnesses: [{ url: 'http://127.0.0.1:9', key: formatVerifierKey(key) }] }));
  await up(place);
  const { supervisor } = JSON.parse((await cli(env, ['status', '--json'])).stdout.toString()) as { supervisor: SupervisorStatus };
  const uid = processUids(instanceId(place.dir)).feeder;
  assert.equal(supervisor.processes.find(({ name }) => name === 'feeder')?.uid, uid);
  await runOnce(place);
  await until(place, ({ authorities: [one] }) => one?.state === 'away');
  assert.match((await cli(env, ['status'])).stdout.toString(), /^witnessed 0 of \d+ entries, by 1 of 1\nwitness \S+ {2}\w+.*\ntime-stamped 0 of \d+ entries\nauthority http:\S+ {2}away {2}it answers with the status 503$/m);
  assert.deepEqual(await keptSizes(paths.timestamps), []);

  between = HONEST;
  await runOnce(place);
  const first = (await until(place, ({ stampedEntries }) => stampedEntries !== null)).stampedEntries ?? 0;
  assert.match((await cli(env, ['status'])).stdout.toString(), /^time-stamped \d+ of \d+ entries, at \d{4}-\S+Z\nauthority http:\S+ {2}stamped$/m);
  await cli(env, ['down']);
  execFileSync('cp', ['-a', paths.evidence, `${place.dir}/old`]);
  await up(place);
  await runOnce(place);
  const { entries } = await verifyLog(paths.evidence);
  await until(place, ({ stampedEntries }) => (stampedEntries ?? 0) >= entries);
  await cli(env, ['down']);

  const sizes = await keptSizes(paths.timestamps);
  assert.ok(sizes.includes(first) && sizes.length >= 2, sizes.join());
  for (const size of sizes) {
    const own = `${paths.timestamps}/${size}`;
    assert.match((await openssl('ts', '-verify', '-data', `${own}/checkpoint`, '-in', `${own}/response.tsr`, '-CAfile', authority.root.cert)).toString(), /Verification: OK/);
    assert.deepEqual([statSync(`${own}/response.tsr`).uid, statSync(`${own}/response.tsr`).mode & 0o777], [uid, 0o640]);
  }
  const verify = async (): ReturnType<typeof cli> => cli(env, ['audit', 'verify', '--timestamps', authority.root.cert, '--key', readFileSync(`${paths.evidence}/log.vkey`, 'utf8').trim()]);
  const good = await verify();
  assert.equal(good.status, 0, good.stdout.toString());
  assert.match(good.stdout.toString(), new RegExp(`^stamped {5}${sizes[0]} entries existed before \\d{4}-\\S+Z, by CN=Test TSA$`, 'm'));

  rmSync(`${place.dir}/old/timestamps`, { recursive: true });
  renameSync(paths.timestamps, `${place.dir}/old/timestamps`);
  rmSync(paths.evidence, { recursive: true });
  renameSync(`${place.dir}/old`, paths.evidence);
  await up(place);
  for (let run = 0; run < 3; run += 1) await runOnce(place);
  await until(place, ({ alarms: [one] }) => one?.alarm === 'fork' || one?.alarm === 'rollback');
  assert.match(await alertIn(place), /^timestamp-(fork|rollback)$/);
  const bad = await verify();
  assert.equal(bad.status, 1, bad.stdout.toString());
  assert.match(bad.stdout.toString(), /MISSING: the log does not hold the head of \d+ entries/);
  assert.equal((await verifyLog(paths.evidence)).bad, null, 'the log alone looks good');
  assert.deepEqual(await keptSizes(paths.timestamps), sizes, 'what is kept stays, and nothing is added');
  assert.deepEqual(readdirSync(paths.timestamps).filter((name) => name.endsWith('.new') && name !== 'status.json.new'), []);
});

async function alertIn({ paths }: Place): Promise<string> {
  for (const untilMs = Date.now() + 10_000; ; await delay(50)) {
    for await (const { entry } of readEntries(paths.evidence, {})) if (entry.kind === 'alert') return (entry.body as { alert: string }).alert;
    assert.ok(Date.now() < untilMs, 'no alert within 10 s');
  }
}

test('an instance does not start with certificates that nobody can be known by, and says which file', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using place = emptyPlace();
  const { dir, env } = place;
  configure(place, ['http://127.0.0.1:9/']);
  copyFileSync(authority.signer.cert, `${dir}/tsa.pem`);
  const { status, stderr } = await cli(env, ['up', '--detach']);
  assert.notEqual(status, 0);
  assert.match(stderr, /TIMESTAMPS_INVALID: .*timestamps\.json says: ca: it holds no certificate that has signed itself/);
});
