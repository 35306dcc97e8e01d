import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { canonicalJson, type Entry, type Json } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import { cli, type Said } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { shippedPolicy } from '../isolation/given.ts';
import { filesWith } from '../vault/host-search.ts';
import { canary } from '../vault/search-inside.ts';
import { secondOpinion } from '../verify/given.ts';
import { tempDir } from './given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const sha256 = (...parts: readonly (string | Buffer)[]): string => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex');
const commitment = (salt: string, value: Json): string => sha256(`caisson-commitment-v1\n${salt}\n`, canonicalJson(value));
/** A UTC day that is over. */
const YESTERDAY = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);

async function entries({ paths }: Pick<Caisson, 'paths'>): Promise<readonly Entry[]> {
  return (await Array.fromAsync(readEntries(paths.evidence))).map(({ entry }) => entry);
}

const audit = (caisson: Caisson, ...args: readonly string[]): Promise<Said> => cli(caisson.env, ['audit', ...args]);

/** What an entry seals, as the operator reads it. */
async function unsealed(caisson: Caisson, { index }: Entry): Promise<Record<string, Json>> {
  const said = await audit(caisson, 'unseal', String(index));
  assert.equal(said.status, 0, said.stderr);
  return JSON.parse(said.stdout.toString()) as Record<string, Json>;
}

/** By two programs, neither of which has a key: against the head that the log has now, and against one that was kept. */
async function isVerified(caisson: Caisson, checkpoint = `${caisson.paths.evidence}/checkpoint`): Promise<void> {
  const said = await audit(caisson, 'verify', '--json');
  assert.equal(said.status, 0, said.stderr + said.stdout.toString());
  const python = await secondOpinion(caisson.paths.evidence, '--key', `${caisson.paths.evidence}/log.vkey`, '--checkpoint', checkpoint);
  assert.equal(python.status, 0, python.stdout + python.stderr);
}

suite('what is private in a call', { skip, concurrency: false }, () => {
  test('EVIDENCE_KEY_ERASED: is in no file of the evidence in the clear, opens with the key, proves the commitments, and opens for nobody once the key is erased', { timeout: 120_000 }, async (t) => {
    const dir = tempDir(t);
    const secretFile = `${dir}.secret`;
    const [env, argv, stdin, out, file, folder, inner, place] = Array.from({ length: 8 }, canary) as [string, string, string, string, string, string, string, string];
    writeFileSync(secretFile, `${file}\n`, { mode: 0o600 });
    t.after(() => rmSync(secretFile, { force: true }));
    writeFileSync(`${dir}/policy.json`, JSON.stringify({ ...shippedPolicy, secrets: { conf: { from: `file:${secretFile}`, file: 'conf' } } }));
    await using caisson = await startCaisson({ dir });
    const { paths } = caisson;

    const request = { argv: ['sh', '-c', 'cat; cat /run/secrets/conf; echo "$A$B"', 'sh', argv], env: { A: env, B: out }, secrets: ['conf'], stdin: true };
    const { result, stdout } = await caisson.run(request, Buffer.from(stdin));
    assert.equal(result.exit, 0);
    for (const each of [stdin, env, out, file]) assert.ok(stdout.toString().includes(each), 'control: the command had it');
    await caisson.run({ argv: ['no-such-program', argv] });

    const connection: ConnectionOptions = { socket: paths.apiSocket };
    {
      await using box = await Sandbox.create({ env: { OUTER: env } }, { connection });
      await box.exec(['sh', '-c', `cd /workspace; mkdir ${folder}; echo ${inner} > ${folder}/f; cat ${folder}/f; exit 3`, argv], { env: { INNER: inner }, cwd: '/tmp' });
      await box.files.write(`${folder}/${place}`, stdin);
    }

    const found = async (): Promise<readonly string[]> => [env, argv, stdin, out, file, folder, inner, place].flatMap((each) => [...filesWith(paths.evidence, each), ...filesWith(paths.ring, each)]);
    assert.deepEqual(await found(), []);

    const all = await entries(caisson);
    const [intent, outcome] = all.filter(({ subject }) => subject === result.id) as [Entry, Entry];
    const opened = await unsealed(caisson, intent);
    assert.deepEqual(opened, { salt: result.digests.salt, request });
    assert.equal((intent.body as { request: string }).request, commitment(result.digests.salt, opened['request'] ?? null));
    const outputs = await unsealed(caisson, outcome);
    assert.deepEqual(outputs, { salt: result.digests.salt, stdin: sha256(stdin), stdout: sha256(stdout), stderr: sha256('') });
    const body = outcome.body as Record<'stdin' | 'stdout', { readonly commitment: string }>;
    assert.equal(body.stdin.commitment, commitment(result.digests.salt, sha256(stdin)));
    assert.equal(body.stdout.commitment, commitment(result.digests.salt, sha256(stdout)));
    const inBox = all.filter(({ kind, sealed }) => kind === 'intent' && sealed !== undefined);
    const texts = (await Promise.all(inBox.map(async (entry) => canonicalJson(await unsealed(caisson, entry))))).join();
    for (const each of [env, argv, out, inner]) assert.ok(texts.includes(each), each);
    await isVerified(caisson);
    assert.deepEqual(await found(), [], 'to open it writes it nowhere');

    const kept = `${dir}/kept`;
    copyFileSync(`${paths.evidence}/checkpoint`, kept);
    const erased = await audit(caisson, 'erase', '--tenant', (intent.body as { caller: string }).caller);
    assert.match(erased.stdout.toString(), /^[1-9]\d* keys? (?:is|are) erased\n$/, erased.stderr);
    for (const entry of [intent, outcome, ...inBox]) {
      const said = await audit(caisson, 'unseal', String(entry.index));
      assert.equal(said.status, 2);
      assert.match(said.stderr, /^caisson: EVIDENCE_KEY_ERASED: what entry \d+ seals opens for nobody any more: its key was erased at 2/);
    }
    await isVerified(caisson, kept);
    const traces = (await entries(caisson)).filter(({ source, kind }) => source === 'scribe' && kind === 'lifecycle').map((entry) => (entry.body as { readonly event: string }).event);
    assert.ok(traces.includes('unseal'));
    assert.deepEqual(traces.filter((event) => event !== 'unseal'), ['erase-keys', 'keys-erased']);

    const later = await caisson.run({ argv: ['true', argv] });
    assert.equal(later.result.exit, 0);
    const [again] = (await entries(caisson)).filter(({ subject }) => subject === later.result.id) as [Entry];
    assert.ok(canonicalJson(await unsealed(caisson, again)).includes(argv), 'what comes after an erasure is sealed by another key');
    assert.match((await audit(caisson, 'erase', '--before', YESTERDAY)).stdout.toString(), /^no key was there\n$/);
  });
});

test('EVIDENCE_KEY_MISSING: a key that is gone and was not erased is told apart from one that was, and nothing that cannot be is opened or erased', { skip, timeout: 60_000 }, async () => {
  await using caisson = await startCaisson();
  const { result } = await caisson.run({ argv: ['true'] });
  const [intent] = (await entries(caisson)).filter(({ subject }) => subject === result.id) as [Entry];
  const key = `${caisson.paths.ring}/${intent.sealed?.key}.key`;
  renameSync(key, `${caisson.dir}/key`);
  const missing = await audit(caisson, 'unseal', String(intent.index));
  assert.deepEqual([missing.status, missing.stderr.split(': ')[1]], [2, 'EVIDENCE_KEY_MISSING']);
  renameSync(`${caisson.dir}/key`, key);
  assert.deepEqual((await unsealed(caisson, intent))['request'], { argv: ['true'] });

  await caisson.run({ argv: ['true'], env: { A: '1' } });
  await caisson.run({ argv: ['true'] });
  const digests = (await entries(caisson)).filter(({ kind }) => kind === 'intent').map(({ sealed }) => sealed?.digest);
  assert.equal(digests[0], digests[2], 'equal commands are seen to be equal');
  assert.notEqual(digests[0], digests[1]);

  const tomorrow = new Date(Date.now() + 2 * 86_400_000).toISOString().slice(0, 10);
  const sealless = (await entries(caisson)).find(({ sealed }) => sealed === undefined)?.index ?? -1;
  const refused: readonly (readonly [string[], string])[] = [
    [['unseal', 'x'], 'USAGE'], [['unseal', '1000000'], 'USAGE'], [['unseal', String(sealless)], 'USAGE'],
    [['erase'], 'USAGE'], [['erase', '--tenant', 'a', '--before', '2026-01-01'], 'USAGE'], [['erase', '--before', '2026-02-30x'], 'USAGE'],
    [['erase', '--before', tomorrow], 'REQUEST_INVALID'],
  ];
  for (const [args, code] of refused) {
    const said = await audit(caisson, ...args);
    assert.deepEqual([said.status, said.stderr.split(': ')[1]], [2, code], args.join(' '));
  }
});

test('no process but root and the scribe itself may ask for what is sealed', { skip, timeout: 60_000 }, async () => {
  await using caisson = await startCaisson();
  const { mode, uid } = statSync(caisson.paths.scribeKeysSocket);
  const { uid: scribe } = (await caisson.status()).processes.find(({ name }) => name === 'scribe') as { readonly uid: number };
  assert.deepEqual([mode & 0o777, uid], [0o600, scribe]);
  for (const path of [caisson.paths.ring, ...readdirSync(caisson.paths.ring).map((name) => `${caisson.paths.ring}/${name}`)]) {
    const { mode: bits, uid: owner } = statSync(path);
    assert.deepEqual([bits & 0o077, owner], [0, scribe], path);
  }
  const wrap = statSync(caisson.paths.ringWrap);
  assert.deepEqual([wrap.mode & 0o777, wrap.uid], [0o600, 0]);
});
