import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test, type TestContext } from 'node:test';
import { auditVerify } from '@caisson/cli';
import type { StatePaths } from '@caisson/contract';
import { openFileLog } from '@caisson/evidence';
import { parseCheckpoint, parseNote } from '@caisson/tlog';
import { formatQuestion, keepStamp, newNonce } from '@caisson/timestamp';
import { cli } from '../cli/given.ts';
import { draft, tempPaths, ticking } from '../evidence/given.ts';
import { Authority, DAY_MS } from './given.ts';

let folder: string;
let authority: Authority;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'caisson-tsa-'));
  authority = await Authority.make(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function grow({ evidence: dir }: StatePaths, subjects: readonly string[]): Promise<void> {
  await using log = await openFileLog({ dir, now: ticking() });
  for (const subject of subjects) {
    await log.append(draft('intent', subject));
    await log.append(draft('outcome', subject, { exit: 0 }));
  }
}

/** The published head, stamped and kept. */
async function stampHead({ evidence, timestamps }: StatePaths): Promise<number> {
  const checkpoint = readFileSync(`${evidence}/checkpoint`);
  const note = parseNote(checkpoint);
  const head = 'bad' in note ? note : parseCheckpoint(note.text);
  assert.ok('size' in head);
  mkdirSync(timestamps, { recursive: true });
  await keepStamp(timestamps, head.size, { checkpoint, answer: await authority.answer(formatQuestion({ data: checkpoint, hash: 'sha384', nonce: newNonce() })) });
  return head.size;
}

interface Given {
  readonly paths: StatePaths;
  /** A copy of the log as it was at the first of these heads. */
  readonly old: string;
}

/** A log of eight entries, of which the heads at four and at eight are stamped. */
async function given(t: TestContext): Promise<Given> {
  const paths = tempPaths(t);
  await grow(paths, ['a', 'b']);
  assert.equal(await stampHead(paths), 4);
  const old = `${paths.dir}/old`;
  cpSync(paths.evidence, old, { recursive: true });
  await grow(paths, ['c', 'd']);
  assert.equal(await stampHead(paths), 8);
  await grow(paths, ['e']);
  return { paths, old };
}

async function verify(paths: StatePaths, { ca = authority.root.cert, ...more }: { readonly ca?: string; readonly stamped?: string; readonly json?: boolean; readonly key?: string } = {}): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  const { json = false, stamped, key } = more;
  let [out, err] = ['', ''];
  const status = await auditVerify(paths, { stamps: { timestamps: ca, stamped }, key, json, out: (text) => void (out += text), err: (text) => void (err += text) });
  return { status, out, err };
}

async function isBad(paths: StatePaths, reason: RegExp, more: Parameters<typeof verify>[1] = {}): Promise<void> {
  const { status, out } = await verify(paths, more);
  assert.equal(status, 1, out);
  assert.match(out, reason);
  assert.match(out, /^verdict {5}BAD$/m);
}

/** Puts the old copy in the place of the log, with the stamps that are kept. */
function rollBack({ paths, old }: Given): void {
  renameSync(paths.timestamps, `${paths.dir}/kept`);
  rmSync(paths.evidence, { recursive: true });
  renameSync(old, paths.evidence);
  rmSync(paths.timestamps, { recursive: true });
  renameSync(`${paths.dir}/kept`, paths.timestamps);
}

suite('audit verify with time-stamps', () => {
  test('says before when each head existed that is kept, by the certificate of the authority and the key of the log alone', async (t) => {
    const { paths } = await given(t);
    const { status, out } = await verify(paths);
    assert.equal(status, 0, out);
    assert.match(out, /^stamped {5}4 entries existed before (\d{4}-\S+Z), by CN=Test TSA\n {12}8 entries existed before \d{4}-\S+Z, by CN=Test TSA$/m);
    const json = JSON.parse((await verify(paths, { json: true })).out) as { readonly stamped: { readonly heads: readonly { readonly entries: number; readonly before: string; readonly accuracyMs: number }[]; readonly missing: number | null } };
    assert.deepEqual([json.stamped.heads.map(({ entries }) => entries), json.stamped.missing], [[4, 8], null]);
    assert.ok(Math.abs(Date.parse(json.stamped.heads[0]?.before ?? '') - Date.now()) < 60_000);
  });

  test('takes the stamps from where copies of them are kept', async (t) => {
    const { paths } = await given(t);
    cpSync(paths.timestamps, `${paths.dir}/elsewhere`, { recursive: true });
    rmSync(paths.timestamps, { recursive: true });
    await isBad(paths, /^stamped {5}there is no head that is time-stamped$/m);
    assert.equal((await verify(paths, { stamped: `${paths.dir}/elsewhere` })).status, 0);
  });

  test('is BAD for a log that was rolled back behind a stamped head, and for one that was rewritten from there, which alone looks good', async (t) => {
    const found = await given(t);
    rollBack(found);
    await isBad(found.paths, /^ {12}MISSING: the log does not hold the head of 8 entries: it was cut, rolled back or rewritten/m);
    await grow(found.paths, ['c', 'other', 'e']);
    assert.equal(await auditVerify(found.paths, { json: false, out: () => undefined }), 0);
    await isBad(found.paths, /does not hold the head of 8 entries/);
    const { out } = await verify(found.paths, { json: true });
    assert.equal((JSON.parse(out) as { readonly stamped: { readonly missing: number } }).stamped.missing, 8);
  });

  test('is asked of the report too, which says the same in one page, and nothing of it where it is not asked for', async (t) => {
    const found = await given(t);
    const report = async (...args: readonly string[]): ReturnType<typeof cli> => cli(process.env, ['audit', 'report', '--dir', found.paths.evidence, ...args]);
    const ca = ['--timestamps', authority.root.cert];
    const good = await report(...ca);
    assert.equal(good.status, 0, good.stdout.toString() + good.stderr);
    assert.match(good.stdout.toString(), /stamped heads +2\n.*4 entries existed before +"?\d{4}-\S+Z, by CN=Test TSA"?\n.*8 entries existed before/);
    assert.doesNotMatch((await report()).stdout.toString(), /stamped/i);
    assert.equal((await report('--timestamps', authority.signer.cert)).status, 2);
    rollBack(found);
    const bad = await report(...ca, '--format', 'json');
    const { verification, stamped } = JSON.parse(bad.stdout.toString()) as { readonly verification: { readonly verdict: string }; readonly stamped: { readonly bad: string } };
    assert.deepEqual([bad.status, verification.verdict], [1, 'bad']);
    assert.match(stamped.bad, /does not hold the head of 8 entries/);
  });

  test('is BAD for a head that is changed, missing, of another log, or not of its name', async (t) => {
    const { paths } = await given(t);
    const file = `${paths.timestamps}/4/checkpoint`;
    const good = readFileSync(file);
    writeFileSync(file, good.toString().replace('\n4\n', '\n5\n'));
    await isBad(paths, /the head that is kept as stamped at 4 entries/);
    const missing = /of the head of 4 entries the token or the head itself is missing, or no file/;
    rmSync(file);
    await isBad(paths, missing);
    symlinkSync('/dev/zero', file);
    await isBad(paths, missing);
    rmSync(file);
    execFileSync('mkfifo', [file]);
    await isBad(paths, missing);
    rmSync(file);
    writeFileSync(file, Buffer.alloc(2 * 1024 * 1024));
    await isBad(paths, missing);
    rmSync(file);
    const other = tempPaths(t);
    await grow(other, ['a', 'b']);
    copyFileSync(`${other.evidence}/checkpoint`, file);
    await isBad(paths, /the head that is kept as stamped at 4 entries/);
    rmSync(`${paths.timestamps}/4`, { recursive: true });
    cpSync(`${paths.timestamps}/8`, `${paths.timestamps}/6`, { recursive: true });
    await isBad(paths, /kept as stamped at 6 entries is of 8 entries/);
  });

  const tokens: readonly (readonly [string, (good: Buffer, other: Buffer) => Promise<Buffer> | Buffer, RegExp])[] = [
    ['is over another head', (_good, other) => other, /is over other data/],
    ['was changed', (good) => Buffer.concat([good.subarray(0, -4), Buffer.from('beef', 'hex'), good.subarray(-2)]), /time-stamp of 4 entries: /],
    ['was cut', (good) => good.subarray(0, -20), /time-stamp of 4 entries: /],
    ['is by a certificate for servers', async (good) => authority.signed(good, await authority.issue('web', 'Web', { purposes: 'critical,serverAuth' })), /not for time-stamping alone/],
    ['is by a certificate that was over when it was made', async (good) => authority.signed(good, await authority.issue('over', 'Over', { fromMs: Date.now() - 3 * DAY_MS, toMs: Date.now() - DAY_MS })), /Over was not valid at/],
    ['is by another authority', async (good) => {
      const another = await Authority.make(mkdtempSync(join(folder, 'another-')), 'Another');
      return another.signed(good, another.signer);
    }, /no certificate that is trusted has issued CN=Another TSA/],
  ];
  for (const [what, make, reason] of tokens) {
    test(`is BAD for a token that ${what}`, async (t) => {
      const { paths } = await given(t);
      const file = `${paths.timestamps}/4/response.tsr`;
      writeFileSync(file, await make(readFileSync(file), readFileSync(`${paths.timestamps}/8/response.tsr`)));
      await isBad(paths, reason);
    });
  }

  test('takes a token whose certificate is over by now, when that was valid as the token was made', async (t) => {
    const { paths } = await given(t);
    const file = `${paths.timestamps}/4/response.tsr`;
    const content = (await authority.content(readFileSync(file))).toString('latin1');
    const then = new Date(Date.now() - 2 * DAY_MS).toISOString().replace(/[-:T]|\.\d+Z/g, '');
    const root = await authority.issue('old-root', 'Old Root', { issuer: { cert: `${folder}/old-root.pem`, key: '' }, purposes: null, usage: 'critical,keyCertSign', constraints: 'critical,CA:TRUE', fromMs: Date.now() - 4 * DAY_MS });
    const signer = await authority.issue('old', 'Old TSA', { issuer: root, fromMs: Date.now() - 3 * DAY_MS, toMs: Date.now() - DAY_MS });
    writeFileSync(file, await authority.wrapped(Buffer.from(content.replace(/\d{14}Z/, `${then}Z`), 'latin1'), signer));
    rmSync(`${paths.timestamps}/8`, { recursive: true });
    const { status, out } = await verify(paths, { ca: root.cert });
    assert.equal(status, 0, out);
    assert.match(out, /^stamped {5}4 entries existed before \d{4}-\S+Z, by CN=Old TSA$/m);
  });

  test('is a usage error for certificates that are none, are not there or have not signed themselves', async (t) => {
    const { paths } = await given(t);
    for (const ca of [`${folder}/none.pem`, authority.signer.cert, `${paths.evidence}/checkpoint`]) {
      const { status, out, err } = await verify(paths, { ca });
      assert.deepEqual([status, out], [2, ''], ca);
      assert.match(err, /^caisson: USAGE: --timestamps/);
    }
    let err = '';
    assert.equal(await auditVerify(paths, { stamps: { stamped: paths.timestamps }, json: false, out: () => undefined, err: (text) => void (err += text) }), 2);
    assert.match(err, /--stamped says something of --timestamps/);
  });
});
