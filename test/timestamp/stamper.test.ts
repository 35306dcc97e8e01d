import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { httpTimeStamper, keepStamp, keptSizes, Stamper, type StamperOptions } from '@caisson/timestamp';
import { readStamping } from '@caisson/timestamp/config';
import { readStampingStatus, type StampingStatus } from '@caisson/timestamp/status';
import { problem, tempPaths } from '../evidence/given.ts';
import { fetchFor, forkOf, head, newLog, type GivenLog } from '../witness/given.ts';
import { Authority, HONEST, serve, type Between } from './given.ts';

let folder: string;
let authority: Authority;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'caisson-tsa-'));
  authority = await Authority.make(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** A log whose owner can show another content under its name. */
function shown(log: GivenLog): { now: GivenLog; readonly local: StamperOptions['local'] } {
  const state = { now: log, local: async (path: string) => (path === 'checkpoint' ? head(state.now) : fetchFor(state.now)(path)) };
  return state;
}

interface Given extends Partial<Omit<StamperOptions, 'stampers'>> {
  readonly local: StamperOptions['local'];
  readonly urls: readonly string[];
  readonly timeoutMs?: number;
}

async function stamping(t: TestContext, { urls, timeoutMs = 5_000, dir = tempPaths(t).dir, ...more }: Given): Promise<{ readonly dir: string; readonly close: () => Promise<void> }> {
  mkdirSync(dir, { recursive: true });
  const { trust } = authority;
  const stampers = urls.map((url) => httpTimeStamper({ url, trust, hash: 'sha256', timeoutMs, answerBytes: 65_536 }));
  const stamper = await Stamper.open({ dir, stampers, trust, everyMs: 100, clockBoundMs: 60_000, nowMs: Date.now, random: Math.random, ...more });
  t.after(() => stamper[Symbol.asyncDispose]());
  return { dir, close: () => stamper[Symbol.asyncDispose]() };
}

async function until(dir: string, what: (status: StampingStatus) => boolean): Promise<StampingStatus> {
  for (const untilMs = Date.now() + 10_000; ; await delay(10)) {
    const status = readStampingStatus(`${dir}/status.json`);
    if (status !== null && what(status)) return status;
    assert.ok(Date.now() < untilMs, `not within 10 s: ${what.toString()}, ${JSON.stringify(status)}`);
  }
}

test('each head that is new is stamped, kept with its token as openssl takes them, and nothing that is kept is touched again', async (t) => {
  const log = shown(newLog(3));
  const { dir } = await stamping(t, { local: log.local, urls: [await serve(t, authority)] });
  const kept = new Map<string, Buffer>();
  for (const size of [3, 300, 301]) {
    log.now = newLog(size, log.now.signer);
    const status = await until(dir, ({ stampedEntries }) => stampedEntries === size);
    assert.deepEqual([status.alarms, status.problem, status.authorities[0]?.state], [[], null, 'stamped']);
    assert.deepEqual(readFileSync(`${dir}/${size}/checkpoint`), await head(log.now), 'the head as the log has signed it');
    const said = execFileSync('openssl', ['ts', '-verify', '-data', `${dir}/${size}/checkpoint`, '-in', `${dir}/${size}/response.tsr`, '-CAfile', authority.root.cert], { stdio: 'pipe' });
    assert.match(said.toString(), /Verification: OK/);
    kept.set(`${size}/response.tsr`, readFileSync(`${dir}/${size}/response.tsr`));
  }
  assert.deepEqual(await keptSizes(dir), [3, 300, 301]);
  for (const [name, bytes] of kept) assert.deepEqual(readFileSync(`${dir}/${name}`), bytes);
});

test('a head that is stamped is not asked for again, by a new start neither, and heads between two times are left out', async (t) => {
  const log = shown(newLog(3));
  let asked = 0;
  const url = await serve(t, authority, () => async (given) => { asked += 1; await HONEST(given); });
  const first = await stamping(t, { local: log.local, urls: [url], everyMs: 500 });
  await until(first.dir, ({ stampedEntries }) => stampedEntries === 3);
  for (const size of [4, 5, 6]) log.now = newLog(size, log.now.signer);
  await until(first.dir, ({ stampedEntries }) => stampedEntries === 6);
  await first.close();
  assert.deepEqual([asked, await keptSizes(first.dir)], [2, [3, 6]]);
  log.now = newLog(9, log.now.signer);
  const again = await stamping(t, { local: log.local, urls: [url], dir: first.dir, everyMs: 3_600_000 });
  const status = await until(again.dir, ({ publishedEntries }) => publishedEntries === 9);
  assert.deepEqual([status.stampedEntries, status.stamps, asked], [6, 2, 2], 'the hour since the last one is not over');
  assert.ok(Math.abs((status.stampedMs ?? 0) - Date.now()) < 60_000);
});

test('the next authority is asked where one gives no good answer, and each one says in the status why', async (t) => {
  const log = shown(newLog(3));
  const away: Between = ({ response }) => void response.writeHead(503).end();
  const bad: Between = ({ response }) => void response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end('nothing');
  const { dir } = await stamping(t, { local: log.local, urls: [await serve(t, authority, () => away), await serve(t, authority, () => bad), await serve(t, authority)] });
  const { authorities } = await until(dir, ({ stampedEntries }) => stampedEntries === 3);
  assert.deepEqual(authorities.map(({ state }) => state), ['away', 'bad', 'stamped']);
  assert.match(authorities[0]?.detail ?? '', /status 503/);
});

test('who is away is asked again, later each time and never two at once, and the head of that time is stamped', async (t) => {
  const log = shown(newLog(3));
  const asked: number[] = [];
  let [open, most, isThere] = [0, 0, false];
  const url = await serve(t, authority, () => async (given) => {
    asked.push(performance.now());
    most = Math.max(most, (open += 1));
    given.response.once('close', () => { open -= 1; });
    if (isThere) await HONEST(given);
    else given.response.writeHead(503).end();
  });
  const { dir } = await stamping(t, { local: log.local, urls: [url], everyMs: 10_000, random: () => 0 });
  await until(dir, ({ authorities: [one] }) => (one?.failures ?? 0) >= 1);
  assert.equal(asked.length, 1, 'not again at once');
  isThere = true;
  log.now = newLog(5, log.now.signer);
  await until(dir, ({ stampedEntries }) => stampedEntries === 5);
  assert.deepEqual([await keptSizes(dir), most], [[5], 1]);
});

for (const [name, alarm, other] of [
  ['is forked behind the head that is stamped', 'fork', (log: GivenLog) => forkOf(log, 2, 12)],
  ['is forked to the same size', 'fork', (log: GivenLog) => forkOf(log, 9, 10)],
  ['is rolled back', 'rollback', (log: GivenLog) => newLog(3, log.signer)],
] as const) {
  test(`a log that ${name} is not stamped, over a new start neither, what is kept stays, and the alarm is told`, async (t) => {
    const log = shown(newLog(10));
    const urls = [await serve(t, authority)];
    const first = await stamping(t, { local: log.local, urls });
    await until(first.dir, ({ stampedEntries }) => stampedEntries === 10);
    const token = readFileSync(`${first.dir}/10/response.tsr`);
    log.now = other(log.now);
    await until(first.dir, ({ alarms: [one] }) => one?.alarm === alarm);
    await first.close();
    await stamping(t, { local: log.local, urls, dir: first.dir });
    const status = await until(first.dir, ({ alarms: [one], publishedEntries }) => one?.alarm === alarm && publishedEntries === log.now.entries.length);
    assert.equal(status.stampedEntries, 10);
    assert.deepEqual([await keptSizes(first.dir), readFileSync(`${first.dir}/10/response.tsr`)], [[10], token]);
  });
}

test('a clock here that is far from the authority’s is an alarm, on either side, for as long as it lasts, and the stamp is kept', async (t) => {
  const log = shown(newLog(3));
  let offMs = 120_000;
  const { dir } = await stamping(t, { local: log.local, urls: [await serve(t, authority)], nowMs: () => Date.now() + offMs });
  const ahead = await until(dir, ({ stampedEntries }) => stampedEntries === 3);
  assert.match(ahead.alarms[0]?.detail ?? '', /^the clock of CN=Test TSA said \d{4}-.*, the clock here \d{4}-/);
  assert.equal(ahead.alarms[0]?.alarm, 'clock');
  offMs = 0;
  log.now = newLog(4, log.now.signer);
  assert.deepEqual((await until(dir, ({ stampedEntries }) => stampedEntries === 4)).alarms, []);
  offMs = -120_000;
  log.now = newLog(5, log.now.signer);
  assert.equal((await until(dir, ({ stampedEntries }) => stampedEntries === 5)).alarms[0]?.alarm, 'clock');
});

test('a stamp is kept whole or not at all, and one that is there is never replaced', async (t) => {
  const { dir } = tempPaths(t);
  mkdirSync(dir, { recursive: true });
  const one = { checkpoint: Buffer.from('one'), answer: Buffer.from('token') };
  assert.equal(await keepStamp(dir, 7, one), true);
  assert.equal(await keepStamp(dir, 7, { ...one, answer: Buffer.from('other') }), false);
  assert.deepEqual([readFileSync(`${dir}/7/response.tsr`, 'utf8'), readdirSync(dir)], ['token', ['7']]);
  mkdirSync(`${dir}/left-by-a-kill.new`);
  writeFileSync(`${dir}/left-by-a-kill.new/checkpoint`, 'half');
  const { close } = await stamping(t, { dir, local: async () => null, urls: ['http://127.0.0.1:9/'] });
  await close();
  assert.deepEqual(readdirSync(dir).filter((name) => name.includes('.new')), []);
  await assert.rejects(stamping(t, { dir: `${dir}/7/checkpoint/none`, local: async () => null, urls: [] }));
});

test('a log whose tiles are not those of its head is a problem here, and no alarm', async (t) => {
  const log = shown(newLog(10));
  const urls = [await serve(t, authority)];
  let isOther = false;
  const local: StamperOptions['local'] = async (path) => (path !== 'checkpoint' && isOther ? fetchFor(forkOf(log.now, 2, 12))(path) : log.local(path));
  const { dir } = await stamping(t, { local, urls });
  await until(dir, ({ stampedEntries }) => stampedEntries === 10);
  isOther = true;
  log.now = newLog(12, log.now.signer);
  assert.deepEqual((await until(dir, ({ problem: found }) => found !== null)).alarms, []);
});

test('TIMESTAMPS_INVALID: a file with an unknown field, no address, a policy that is none, or certificates that are not there, names what is wrong', (t) => {
  const { dir } = tempPaths(t);
  mkdirSync(dir, { recursive: true });
  const path = `${dir}/timestamps.json`;
  assert.equal(readStamping(path), null);
  writeFileSync(`${dir}/ca.pem`, readFileSync(authority.root.cert));
  const given = { urls: ['https://tsa.example/tsr'], ca: 'ca.pem' };
  for (const [config, detail] of [
    [{ ...given, url: 'x' }, /url: is not a field/],
    [{ ...given, urls: [] }, /urls: /],
    [{ ...given, urls: ['file:///etc/passwd'] }, /urls\.0/],
    [{ ...given, urls: ['https://me:secret@tsa.example/'] }, /urls\.0: has a name or a password in it/],
    [{ ...given, urls: ['nowhere'] }, /urls\.0/],
    [{ ...given, policy: '1.02' }, /policy: is no object identifier/],
    [{ ...given, hash: 'sha1' }, /hash: /],
    [{ ...given, ca: 'none.pem' }, /ca: none\.pem is not there/],
  ] as const) {
    writeFileSync(path, JSON.stringify(config));
    assert.throws(() => readStamping(path), problem('TIMESTAMPS_INVALID', detail));
  }
  writeFileSync(path, '{');
  assert.throws(() => readStamping(path), problem('TIMESTAMPS_INVALID', /JSON/));
  writeFileSync(path, JSON.stringify(given));
  assert.deepEqual(readStamping(path), { urls: given.urls, everyMs: 3_600_000, hash: 'sha256', timeoutMs: 30_000, answerBytes: 65_536, clockBoundMs: 60_000, certificates: readFileSync(authority.root.cert, 'utf8') });
});
