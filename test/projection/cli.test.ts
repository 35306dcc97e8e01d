import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { emptyState, foldAll, stateHash } from '@caisson/projection';
import { openFileLog, readEntries } from '@caisson/evidence';
import { formatVerifierKey, generateKey, SIGNATURE_TYPE, signerOf } from '@caisson/tlog';
import type { Entry } from '@caisson/contract';
import { HOME } from '../harness.ts';
import { folder, madeLog } from './given.ts';

const LENGTH = 120;

const held: { place: ReturnType<typeof folder> | null } = { place: null };
const dir = (name: string): string => join(held.place?.path ?? '', name);

/** The key of the log, and its public key, as the scribe has made them. */
const key = (): string => join(dir('log-key'), 'log.key');
const vkey = (): string => join(dir('log'), 'log.vkey');

before(async () => {
  held.place = folder();
  await written(dir('log'), madeLog('cli', LENGTH));
  writeFileSync(dir('open-key'), readFileSync(key()), { mode: 0o644 });
  const [, ...rest] = madeLog('cli', LENGTH);
  await written(dir('orphan'), [...rest, orphan].filter(({ kind }) => kind !== 'outcome'));
});
after(() => held.place?.[Symbol.dispose]());

const orphan: Entry = { index: 0, timeMs: 0, kind: 'intent', source: 'control', subject: 'exe-orphan', body: { what: 'exec', sandbox: 'sbx-none', caller: 'a', program: 'x', request: '' } };

/** A log as the scribe writes it, with these subjects and bodies. */
async function written(path: string, entries: readonly Entry[]): Promise<void> {
  let timeMs = 1_700_000_000_000;
  await using log = await openFileLog({ dir: path, now: () => (timeMs += 5) });
  for (const { kind, source, subject, body } of entries) await log.append({ kind, source, subject, body });
}

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function caisson(...args: readonly string[]): Ran {
  return spawnSync(join(HOME, 'caisson'), args, { encoding: 'utf8', env: { ...process.env, CAISSON_DIR: dir('instance') } });
}

function object(...args: readonly string[]): Readonly<Record<string, unknown>> {
  const { status, stdout, stderr } = caisson(...args, '--json');
  assert.equal(status, 0, stderr + stdout);
  return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
}

async function read(until = Number.MAX_SAFE_INTEGER): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for await (const { entry } of readEntries(dir('log'))) if (entry.index <= until) entries.push(entry);
  return entries;
}

test('replay prints the hash of the state at any entry, and with --show-state the state', async () => {
  for (const until of [0, 40, LENGTH - 1]) {
    const told = object('replay', '--dir', dir('log'), '--until', String(until));
    assert.deepEqual([told['entries'], told['state']], [until + 1, stateHash(foldAll(emptyState(), await read(until)))]);
  }
  const { value } = object('replay', '--dir', dir('log'), '--show-state');
  assert.equal((value as { readonly entries: number }).entries, LENGTH);
  assert.match(caisson('replay', '--dir', dir('log')).stdout, /^state +[0-9a-f]{64}$/m);
});

test('inspect shows an agent as of an entry, lists agents, and exits 2 for one that is not known', async () => {
  const [agent = ''] = foldAll(emptyState(), await read(60)).agents.keys();
  const told = object('inspect', '--dir', dir('log'), '--agent', agent, '--at-seq', '60');
  assert.deepEqual(told['agent'], foldAll(emptyState(), await read(60)).agents.get(agent));
  assert.match(caisson('inspect', '--dir', dir('log')).stdout, /^AGENT +CALLS/);
  assert.match(caisson('inspect', '--dir', dir('log'), '--agent', agent).stdout, /^calls +\d+ calls, \d+ sandboxes, \d+ execs$/m);
  const unknown = caisson('inspect', '--dir', dir('log'), '--agent', 'nobody');
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /nothing of the agent nobody/);
});

test('verify-pointers exits 0 where all hold and 1 where one does not, and names it', () => {
  assert.equal(caisson('verify-pointers', '--dir', dir('log')).status, 0);
  const { status, stdout } = caisson('verify-pointers', '--dir', dir('orphan'));
  assert.equal(status, 1);
  assert.match(stdout, /exe-orphan: its sandbox sbx-none has no allowed intent before it/);
});

test('a checkpoint is made, verified fast and against the log, and a key that others may use is refused', () => {
  const made = object('checkpoint', 'create', '--dir', dir('log'), '--key', key(), '--out', dir(''), '--until', '99');
  const path = String(made['path']);
  assert.match(path, /cp_99_[0-9a-f]{8}\.json$/);
  assert.equal(caisson('checkpoint', 'verify', path, '--key', vkey()).status, 0);
  assert.equal(caisson('checkpoint', 'verify', path, '--key', vkey(), '--full', '--dir', dir('log')).status, 0);
  const another = caisson('checkpoint', 'verify', path, '--key', vkey(), '--full', '--dir', dir('orphan'));
  assert.equal(another.status, 1);
  assert.match(another.stderr, /EVIDENCE_DAMAGED/); // it is signed by another key
  const refused = caisson('checkpoint', 'create', '--dir', dir('log'), '--key', dir('open-key'), '--out', dir(''));
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /others than its owner/);
});

test('a checkpoint whose state or key was swapped exits 1', () => {
  const path = String(object('checkpoint', 'create', '--dir', dir('log'), '--key', key(), '--out', dir(''), '--until', '50')['path']);
  const { note } = JSON.parse(readFileSync(path, 'utf8')) as { readonly note: string };
  const other = readdirSync(dir('')).find((name) => name.startsWith('cp_99_')) ?? assert.fail('no other checkpoint');
  writeFileSync(dir('swapped.json'), `${JSON.stringify({ ...(JSON.parse(readFileSync(dir(other), 'utf8')) as object), note })}\n`);
  assert.equal(caisson('checkpoint', 'verify', dir('swapped.json'), '--key', vkey()).status, 1);
  const strange = formatVerifierKey(signerOf(generateKey('caisson.example/log', SIGNATURE_TYPE.ed25519)).publicKey);
  assert.equal(caisson('checkpoint', 'verify', path, '--key', strange).status, 1);
});

test('the keys are those beside the log, as in audit verify, unless others are given; a log of another key exits 1, and what is no key 2', () => {
  const strange = formatVerifierKey(signerOf(generateKey('caisson.example/log', SIGNATURE_TYPE.ed25519)).publicKey);
  const made = String(object('checkpoint', 'create', '--dir', dir('log'), '--out', dir(''), '--until', '70')['path']);
  for (const args of [['replay'], ['verify-pointers'], ['inspect'], ['checkpoint', 'verify', made], ['checkpoint', 'verify', made, '--full']]) {
    const statuses = [[], ['--key', vkey()], ['--key', strange, '--key', vkey()], ['--key', strange], ['--key', 'nonsense']].map((keys) => caisson(...args, '--dir', dir('log'), ...keys).status);
    assert.deepEqual([args, statuses], [args, [0, 0, 0, 1, 2]]);
  }
});

test('a log that was changed exits 1 in every command, and what cannot be told exits 2', async () => {
  await written(dir('changed'), madeLog('changed', 30));
  const file = join(dir('changed'), 'tile/entries/000.p/30');
  const text = readFileSync(file, 'latin1');
  const changed = text.replace('"effect":"allow"', '"effect":"allot"');
  assert.notEqual(changed, text);
  writeFileSync(file, changed, 'latin1');
  for (const args of [['replay'], ['verify-pointers'], ['inspect', '--agent', 'operator'], ['checkpoint', 'create', '--key', key(), '--out', dir('')]]) {
    const { status, stderr } = caisson(...args, '--dir', dir('changed'));
    assert.deepEqual([args[0], status], [args[0], 1]);
    assert.match(stderr, /EVIDENCE_DAMAGED/);
  }
  const cannot = [['replay', '--dir', dir('none')], ['replay', '--dir', dir('log'), '--until', '5000'], ['inspect', '--dir', dir('log'), '--at-seq', 'x'], ['checkpoint', 'verify', dir('none'), '--key', vkey()], ['checkpoint', 'verify', dir('swapped.json'), '--key', 'nonsense'], ['checkpoint', 'create', '--dir', dir('log'), '--key', dir('none')], ['checkpoint', 'verify', dir('swapped.json'), '--dir', dir('none')], ['verify-pointers', '--nonsense']];
  for (const args of cannot) assert.deepEqual([args, caisson(...args).status], [args, 2]);
});
