import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { directoryStore, fetchFromDirectory, headPath, newCounters, PositionFile, Shipper, counted, type ObjectStore } from '@caisson/archive';
import { generateKey, formatVerifierKey, parseVerifierKey, SIGNATURE_TYPE, signerOf, type PublicKey } from '@caisson/tlog';
import { openFileLog } from '@caisson/evidence';
import { draft, ticking, writeCalls } from '../evidence/given.ts';
import { HOME } from '../harness.ts';
import { folder, openS3, type Folder } from './given.ts';
import { BUCKET, CREDENTIALS, s3Python, startS3, type S3Server } from './server.ts';

const CALLS = 150;
const found = s3Python();
const skip = 'missing' in found ? found.missing : false;

interface Held {
  place: Folder | null;
  server: S3Server | null;
}
const held: Held = { place: null, server: null };
const at = (name: string): string => join(held.place?.path ?? '', name);
const key = (): string => readFileSync(at('log/log.vkey'), 'utf8').trim();

before(async () => {
  held.place = folder();
  await writeCalls(at('log'), CALLS);
  if ('python' in found) held.server = await startS3(found.python);
});
after(async () => {
  held.place?.[Symbol.dispose]();
  await held.server?.[Symbol.asyncDispose]();
});

/** Brings what is published of the log in `dir` into a store. */
async function shipped(dir: string, store: ObjectStore): Promise<void> {
  const shipper = new Shipper({
    store: counted(store, newCounters()), local: fetchFromDirectory(dir), position: await PositionFile.open(`${dir}-position.json`, store.name),
    logKeys: async () => [parseVerifierKey(readFileSync(`${dir}/log.vkey`, 'utf8').trim()) as PublicKey], signal: new AbortController().signal,
  });
  assert.equal((await shipper.ship()).state, 'current');
}

/** A directory archive of the log, of its own. */
async function archived(t: { after(end: () => void): void }): Promise<string> {
  const place = folder();
  t.after(() => place[Symbol.dispose]());
  await shipped(at('log'), directoryStore(place.path));
  rmSync(`${at('log')}-position.json`);
  return place.path;
}

interface Verified {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const verify = (...args: readonly string[]): Promise<Verified> => audit('verify', ...args);

async function audit(...args: readonly string[]): Promise<Verified> {
  const child = spawn(join(HOME, 'caisson'), ['audit', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CAISSON_DIR: at('none') } });
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit') as Promise<[number | null]>]);
  return { status, stdout, stderr };
}

test('an archive in a directory is verified offline, with only the public key', async (t) => {
  const { status, stdout, stderr } = await verify('--archive', await archived(t), '--key', key(), '--json');
  assert.equal(status, 0, stderr + stdout);
  const told = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([told['entries'], told['published'], told['bad'], told['verdict']], [2 * CALLS, 2 * CALLS, null, 'good']);
});

test('an archive in S3 is verified by the configuration of the archiver', { skip }, async () => {
  const { endpoint } = held.server as S3Server;
  using store = await openS3(endpoint, { prefix: 'logs/verify/' });
  await shipped(at('log'), store);
  rmSync(`${at('log')}-position.json`);
  writeFileSync(at('keys'), `[default]\naws_access_key_id = ${CREDENTIALS.accessKeyId}\naws_secret_access_key = ${CREDENTIALS.secretAccessKey}\n`);
  const config = { kind: 's3', bucket: BUCKET, region: 'us-east-1', endpoint, credentials: { file: at('keys') } };
  writeFileSync(at('archive.json'), JSON.stringify({ ...config, prefix: 'logs/verify/' }));
  const good = await verify('--archive', at('archive.json'), '--key', at('log/log.vkey'));
  assert.equal(good.status, 0, good.stderr + good.stdout);
  assert.match(good.stdout, /^entries +300 good/m);
  writeFileSync(at('other.json'), JSON.stringify({ ...config, prefix: 'logs/nothing/' }));
  const nothing = await verify('--archive', at('other.json'), '--key', at('log/log.vkey'));
  assert.equal(nothing.status, 2);
  assert.match(nothing.stderr, /it holds no log/);
});

test('an archive in which a bundle was changed, one is missing, or whose head another key has signed, is bad evidence', async (t) => {
  const changed = await archived(t);
  const bundle = join(changed, 'tile/entries/000');
  writeFileSync(bundle, Buffer.from(readFileSync(bundle).toString('latin1').replace('sbx-7"', 'sbx-8"'), 'latin1'));
  const missing = await archived(t);
  rmSync(join(missing, 'tile/entries/000'));
  const other = formatVerifierKey(signerOf(generateKey('caisson.local/other', SIGNATURE_TYPE.ed25519)).publicKey);
  for (const [what, args, says] of [
    ['changed', ['--archive', changed, '--key', key()], /^bad +entry 14 is not what its hash in the tree is of/m],
    ['missing', ['--archive', missing, '--key', key()], /^bad +entry 0 cannot be read/m],
    ['other key', ['--archive', await archived(t), '--key', other], /^bad +entry 0 is under a checkpoint that/m],
  ] as const) {
    const { status, stdout, stderr } = await verify(...args);
    assert.equal(status, 1, `${what}: ${stderr}${stdout}`);
    assert.match(stdout, says, what);
  }
});

test('an archive whose checkpoint was put back to an earlier head is read to the newest head that was kept', async (t) => {
  const path = await archived(t);
  const early = readFileSync(join(path, 'checkpoint'));
  {
    await using log = await openFileLog({ dir: at('log'), now: ticking() });
    await log.append(draft('intent', 'sbx-late'));
  }
  await shipped(at('log'), directoryStore(path));
  rmSync(`${at('log')}-position.json`);
  writeFileSync(join(path, 'checkpoint'), early);
  writeFileSync(join(path, headPath(9_999_999)), early.toString('utf8').replace('\n300\n', '\n9999999\n'));
  const { status, stdout } = await verify('--archive', path, '--key', key(), '--json');
  assert.equal(status, 0);
  assert.equal((JSON.parse(stdout) as Record<string, unknown>)['entries'], 2 * CALLS + 1);
});

test('a report and an export are made of an archive as of the log, to the byte', async (t) => {
  const path = await archived(t);
  for (const args of [['report', '--format', 'json'], ['report', '--format', 'md'], ['export', '--format', 'ocsf', '--from', '200']]) {
    const [archive, log] = [await audit(...args, '--archive', path, '--key', key()), await audit(...args, '--dir', at('log'))];
    assert.equal(archive.stderr, '');
    assert.ok(archive.stdout.length > 500);
    assert.equal(archive.stdout, log.stdout);
    assert.equal(archive.status, log.status);
  }
});

test('without a key, with a key that is none, with a folder beside the archive or a file that is no configuration, it is a mistake of usage', async (t) => {
  const path = await archived(t);
  writeFileSync(at('bad.json'), '{"kind": "s3"}');
  for (const [args, says] of [
    [['--archive', path], /--archive needs --key/],
    [['--archive', path, '--key', 'nonsense'], /--key nonsense is neither/],
    [['--archive', path, '--dir', at('log'), '--key', key()], /give one/],
    [['--archive', at('nowhere'), '--key', key()], /cannot be read/],
    [['--archive', at('bad.json'), '--key', key()], /EVIDENCE_ARCHIVE_INVALID.*bucket/],
  ] as const) {
    const { status, stderr } = await verify(...args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, says);
  }
});
