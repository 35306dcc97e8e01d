import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { canonicalJson, type Entry, type EntryKind, type Json } from '@caisson/contract';
import { formatCheckpoint, formatVerifierKey, generateKey, leafHash, rootOfLeaves, SIGNATURE_TYPE, signerOf, signNote, type Signer } from '@caisson/tlog';
import { HOME } from '../harness.ts';
import { resourcesOf } from '../tlog/given.ts';

const ORIGIN = 'caisson.example/evidence';

export function newSigner(name = ORIGIN): Signer {
  return signerOf(generateKey(name, SIGNATURE_TYPE.ed25519));
}

/** An empty folder that goes away with the test. */
export function tempFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'caisson-verify-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The bytes of an entry of a log. */
export function entryOf(index: number, fields: Partial<Entry> = {}): Buffer {
  const kind: EntryKind = index % 2 === 0 ? 'intent' : 'outcome';
  const entry: Entry = { body: { exit: index, text: 'ä — "é"\n😀' }, index, kind, source: 'control', subject: `sbx-${Math.floor(index / 2)}`, timeMs: 1_700_000_000_000 + index, ...fields };
  return Buffer.from(canonicalJson(entry as unknown as Json));
}

/** Intents, each followed by its outcome. */
export function callsOf(count: number): readonly Buffer[] {
  return Array.from({ length: count }, (_, index) => entryOf(index));
}

/** The signed head of a log of these entries. */
export async function headOf(entries: readonly Buffer[], signer: Signer, origin = signer.publicKey.name): Promise<string> {
  return signNote(formatCheckpoint({ origin, size: entries.length, root: rootOfLeaves(entries.map(leafHash)) }), [signer]);
}

export function put(folder: string, path: string, bytes: string | Uint8Array): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), bytes);
}

/** Publishes a log of these entries in the folder, as the scribe does. */
export async function writeLog(folder: string, entries: readonly Buffer[], signer: Signer): Promise<void> {
  for (const [path, bytes] of resourcesOf(entries)) put(folder, path, bytes);
  put(folder, 'checkpoint', await headOf(entries, signer));
  put(folder, 'log.vkey', `${formatVerifierKey(signer.publicKey)}\n`);
}

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runProgram(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [status, stdout, stderr] = await Promise.all([
    new Promise<number | null>((done, fail) => void child.once('error', fail).once('close', done)),
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
  ]);
  return { status, stdout: stdout.join(''), stderr: stderr.join('') };
}

/** What the verifier under verify/ says of a log. */
export function secondOpinion(...args: readonly string[]): Promise<Ended> {
  return runProgram(['python3', '-B', `${HOME}/verify/verify.py`, ...args]);
}
