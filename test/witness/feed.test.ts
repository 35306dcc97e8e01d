import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { auditVerify } from '@caisson/cli';
import { instanceId, type SupervisorStatus } from '@caisson/contract';
import { readEntries, verifyLog } from '@caisson/evidence';
import { processUids } from '@caisson/runtime';
import { formatVerifierKey, parseSignerKey, signerOf } from '@caisson/tlog';
import { Feeder, parseFeed, witnessed, type FeederOptions } from '@caisson/witness';
import { readFeedStatus, type FeedStatus } from '@caisson/witness/status';
import { cli, emptyPlace, type Place } from '../cli/given.ts';
import { problem, tempPaths } from '../evidence/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { fetchFor, forkOf, head, makeWitness, newLog, serveWitness, type GivenLog, type GivenWitness } from './given.ts';

/** A log whose owner can show another content under its name. */
function shown(log: GivenLog): { now: GivenLog; options: Pick<FeederOptions, 'local'> } {
  const state = { now: log, options: { local: async (path: string) => (path === 'checkpoint' ? head(state.now) : fetchFor(state.now)(path)) } };
  return state;
}

async function until(dir: string, what: (status: FeedStatus) => boolean): Promise<FeedStatus> {
  for (const untilMs = Date.now() + 10_000; ; await delay(10)) {
    const status = readFeedStatus(`${dir}/status.json`);
    if (status !== null && what(status)) return status;
    assert.ok(Date.now() < untilMs, `not within 10 s: ${what.toString()}, ${JSON.stringify(status)}`);
  }
}

async function feed(t: TestContext, { options, witnesses, quorum = witnesses.length, dir = tempPaths(t).dir }: {
  readonly options: Pick<FeederOptions, 'local'>; readonly witnesses: readonly { readonly url: string; readonly key: GivenWitness['key'] }[]; readonly quorum?: number; readonly dir?: string;
}): Promise<string> {
  mkdirSync(dir, { recursive: true });
  const feeder = await Feeder.open({ ...options, dir, quorum, everyMs: 20, nowMs: Date.now, witnesses: witnesses.map(({ url, key }) => ({ url, publicKey: key, timeoutMs: 2_000 })) });
  t.after(() => feeder[Symbol.asyncDispose]());
  return dir;
}

test('each head that grows is countersigned by every witness, and is kept with their lines behind it', async (t) => {
  const log = shown(newLog(3));
  const made = [await makeWitness(t, [log.now], 'w.example/1'), await makeWitness(t, [log.now], 'w.example/2')];
  const witnesses = [];
  for (const one of made) witnesses.push({ key: one.key, url: (await serveWitness(t, one)).url });
  const dir = await feed(t, { options: log.options, witnesses });
  for (const size of [300, 301, 700]) {
    log.now = newLog(size, log.now.signer);
    await until(dir, ({ witnessedEntries }) => witnessedEntries === size);
    const kept = readFileSync(`${dir}/checkpoint`);
    assert.deepEqual(witnessed(kept, made.map(({ key }) => key), 2), { by: ['w.example/1', 'w.example/2'], enough: true });
    assert.ok(kept.toString().startsWith((await head(log.now)).toString()), 'the head as the log has signed it stands first');
  }
});

test('a head that too few have signed does not take the place of one that enough have', async (t) => {
  const log = shown(newLog(5));
  const [one, two] = [await makeWitness(t, [log.now], 'w.example/1'), await makeWitness(t, [log.now], 'w.example/2')];
  const [first, second] = [await serveWitness(t, one), await serveWitness(t, two)];
  const dir = await feed(t, { options: log.options, witnesses: [{ url: first.url, key: one.key }, { url: second.url, key: two.key }] });
  await until(dir, ({ witnessedEntries }) => witnessedEntries === 5);
  const before = readFileSync(`${dir}/checkpoint`);
  await second[Symbol.asyncDispose]();
  log.now = newLog(9, log.now.signer);
  const status = await until(dir, ({ witnesses, publishedEntries }) => publishedEntries === 9 && witnesses[1]?.state === 'away');
  assert.equal(status.witnessedEntries, 5);
  assert.equal(status.witnesses[0]?.signedEntries, 9);
  assert.deepEqual(readFileSync(`${dir}/checkpoint`), before);
});

for (const [name, state, other] of [
  ['is forked behind what a witness has signed', 'fork', (log: GivenLog) => forkOf(log, 2, 12)],
  ['is rolled back', 'rollback', (log: GivenLog) => newLog(3, log.signer)],
] as const) {
  test(`a log that ${name} is not countersigned, the witnessed head stays, over a new start of the feeder too, and the alarm is told`, async (t) => {
    const log = shown(newLog(10));
    const one = await makeWitness(t, [log.now]);
    const witnesses = [{ key: one.key, url: (await serveWitness(t, one)).url }];
    const dir = await feed(t, { options: log.options, witnesses });
    await until(dir, ({ witnessedEntries }) => witnessedEntries === 10);
    const before = readFileSync(`${dir}/checkpoint`);
    log.now = other(log.now);
    const status = await until(dir, ({ witnesses: [first] }) => first?.state === state);
    assert.match(status.witnesses[0]?.detail ?? '', /another log of this name/);
    const again = await feed(t, { options: log.options, witnesses, dir });
    await until(again, ({ witnesses: [first], witnessedEntries }) => first?.state === state && witnessedEntries === 10);
    assert.deepEqual(readFileSync(`${dir}/checkpoint`), before);
  });
}

test('WITNESS_INVALID: a list with an unknown field, a key that is none of a witness, the same key twice, or a quorum that can never be, names what is wrong', async (t) => {
  const { key } = await makeWitness(t, []);
  const row = { url: 'http://127.0.0.1:1', key: formatVerifierKey(key) };
  for (const [config, detail] of [
    [{ witnesses: [row], quorums: 1 }, /quorums: is not a field/],
    [{ witnesses: [] }, /witnesses: /],
    [{ witnesses: [{ ...row, key: 'x' }] }, /witnesses\.0\.key: is no verifier key of a witness/],
    [{ witnesses: [{ ...row, url: 'file:///etc/passwd' }] }, /witnesses\.0\.url/],
    [{ witnesses: [row, row] }, /a key stands there twice/],
    [{ witnesses: [row], quorum: 2 }, /quorum: 2 of 1 witnesses can never sign/],
  ] as const) assert.throws(() => parseFeed(JSON.stringify(config), 'witnesses.json'), problem('WITNESS_INVALID', detail));
  assert.throws(() => parseFeed('{', 'witnesses.json'), problem('WITNESS_INVALID', /witnesses\.json: /));
  assert.deepEqual(parseFeed(JSON.stringify({ witnesses: [row] }), 'witnesses.json').quorum, 1);
});

/** An instance that runs with one witness elsewhere. */
async function watched(t: TestContext, place: Place): Promise<{ readonly key: string; readonly witness: GivenWitness; readonly url: string }> {
  assert.equal((await cli(place.env, ['up', '--detach'])).status, 0);
  await cli(place.env, ['down']);
  const key = parseSignerKey(readFileSync(`${place.paths.evidence}-key/log.key`, 'utf8'));
  assert.ok(key !== null);
  const witness = await makeWitness(t, [{ signer: signerOf(key), entries: [] }]);
  const { url } = await serveWitness(t, witness);
  writeFileSync(place.paths.witnessesConfig, JSON.stringify({ witnesses: [{ url, key: formatVerifierKey(witness.key) }], everyMs: 100 }));
  const up = await cli(place.env, ['up', '--detach']);
  assert.equal(up.status, 0, up.stderr);
  return { key: formatVerifierKey(witness.key), witness, url };
}

async function verify(place: Place, witness: string): Promise<{ readonly status: number; readonly out: string }> {
  let out = '';
  const status = await auditVerify(place.paths, { witnesses: { witness: [witness] }, json: false, out: (text) => void (out += text), err: (text) => void (out += text) });
  return { status, out };
}

test('a running instance takes its heads to a witness; an old copy of the log that is put back and goes on is BAD against the witnessed head, and an alert says so', { skip: IS_ROOT ? false : NEEDS_ROOT }, async (t) => {
  await using place = emptyPlace();
  const { key } = await watched(t, place);
  const { supervisor } = JSON.parse((await cli(place.env, ['status', '--json'])).stdout.toString()) as { supervisor: SupervisorStatus };
  assert.equal(supervisor.processes.find(({ name }) => name === 'feeder')?.uid, processUids(instanceId(place.dir)).feeder);
  await cli(place.env, ['down']);
  execFileSync('cp', ['-a', place.paths.evidence, `${place.dir}/old`]);
  await cli(place.env, ['up', '--detach']);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  const { entries } = await verifyLog(place.paths.evidence);
  await until(place.paths.witness, ({ witnessedEntries }) => (witnessedEntries ?? 0) >= entries);
  const good = await verify(place, key);
  assert.equal(good.status, 0, good.out);
  assert.match(good.out, /^witnessed {3}\d+ entries by witness\.example\/w1, at \d{4}-/m);
  assert.match((await cli(place.env, ['status'])).stdout.toString(), /^witnessed \d+ of \d+ entries, by 1 of 1\nwitness witness\.example\/w1 {2}signed/m);

  await cli(place.env, ['down']);
  rmSync(`${place.dir}/old/witness`, { recursive: true });
  renameSync(place.paths.witness, `${place.dir}/old/witness`);
  rmSync(place.paths.evidence, { recursive: true });
  renameSync(`${place.dir}/old`, place.paths.evidence);
  await cli(place.env, ['up', '--detach']);
  for (let run = 0; run < 3; run += 1) assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0, 'a witness stops nothing');
  await until(place.paths.witness, ({ witnesses: [one] }) => one?.state === 'fork' || one?.state === 'rollback');
  const bad = await verify(place, key);
  assert.equal(bad.status, 1, bad.out);
  assert.match(bad.out, /^known head {2}MISSING/m);
  assert.equal((await verifyLog(place.paths.evidence)).bad, null, 'the log alone looks good');
  const { alert, reason } = await alertIn(place);
  assert.match(alert, /^witness-(fork|rollback) witness\.example\/w1$/);
  assert.match(reason, /^witness\.example\/w1: it has seen \d+ entries/);
});

async function alertIn(place: Place): Promise<{ readonly alert: string; readonly reason: string }> {
  for (const untilMs = Date.now() + 10_000; ; await delay(50)) {
    for await (const { entry } of readEntries(place.paths.evidence, {})) if (entry.kind === 'alert') return entry.body as { alert: string; reason: string };
    assert.ok(Date.now() < untilMs, 'no alert within 10 s');
  }
}

test('audit verify with a witness is BAD where no head is kept, or too few have signed it, and a usage error for what is no key', async (t) => {
  await using place = emptyPlace();
  const made = await makeWitness(t, []);
  assert.equal((await cli(place.env, ['up', '--detach'])).status, 0);
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);
  await cli(place.env, ['down']);
  assert.match((await verify(place, formatVerifierKey(made.key))).out, /^witnessed {3}there is no head that witnesses have signed\nverdict {5}BAD/m);
  mkdirSync(place.paths.witness);
  copyFileSync(`${place.paths.evidence}/checkpoint`, `${place.paths.witness}/checkpoint`);
  const unsigned = await verify(place, formatVerifierKey(made.key));
  assert.deepEqual([unsigned.status, /0 of these witnesses have signed the head that is kept, and 1 have to/.test(unsigned.out)], [1, true], unsigned.out);
  assert.equal((await verify(place, 'no+key')).status, 2);
});
