import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { consistencyProof, formatVerifierKey, leafHash, parseVerifierKey, rootOfLeaves, tileTree, type Fetch, type PublicKey, type Signer } from '@caisson/tlog';
import { formatRequest, initWitness, openRecords, readWitness, startWitness, type AddCheckpoint, type RunningWitness } from '@caisson/witness';
import { fetchOf, resourcesOf } from '../tlog/given.ts';
import { headOf, newSigner } from '../verify/given.ts';

export const ORIGIN = 'caisson.example/evidence';
const NAME = 'witness.example/w1';

/** A log as its owner has it, or as somebody with its key pretends it to be. */
export interface GivenLog {
  readonly signer: Signer;
  readonly entries: readonly Buffer[];
}

export function newLog(size: number, signer = newSigner(ORIGIN)): GivenLog {
  return { signer, entries: Array.from({ length: size }, (_, at) => Buffer.from(`entry ${at}`)) };
}

/** Another log of the same key that has the first `kept` entries, and then others up to `size`. */
export function forkOf({ signer, entries }: GivenLog, kept: number, size: number): GivenLog {
  return { signer, entries: [...entries.slice(0, kept), ...Array.from({ length: size - kept }, (_, at) => Buffer.from(`forged ${at}`))] };
}

export function fetchFor({ entries }: GivenLog): Fetch {
  return fetchOf(resourcesOf(entries));
}

/** The signed head of the first `size` entries. */
export async function head({ signer, entries }: GivenLog, size = entries.length): Promise<Buffer> {
  return Buffer.from(await headOf(entries.slice(0, size), signer));
}

export function rootAfter({ entries }: GivenLog, size: number): Buffer {
  return rootOfLeaves(entries.slice(0, size).map(leafHash));
}

/** The honest request of a log for its head at `size`, for a witness that has `old`. */
export async function requestFor(log: GivenLog, old: number, size = log.entries.length): Promise<AddCheckpoint> {
  const proof = old > size ? [] : await consistencyProof(tileTree(fetchFor(log), log.entries.length), old, size);
  return { old, proof, checkpoint: await head(log, size) };
}

export interface GivenWitness {
  readonly dir: string;
  readonly config: string;
  readonly key: PublicKey;
}

/** A witness in a folder of its own, as `./caisson witness init` makes it, that knows these logs and takes any port. */
export async function makeWitness(t: TestContext, logs: readonly GivenLog[], name = NAME): Promise<GivenWitness> {
  const dir = mkdtempSync(join(tmpdir(), 'caisson-witness-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const key = parseVerifierKey(await initWitness(name, dir)) as PublicKey;
  const config = join(dir, 'witness.json');
  const settings = JSON.parse(readFileSync(config, 'utf8')) as object;
  const known = logs.map(({ signer }) => ({ origin: signer.publicKey.name, key: formatVerifierKey(signer.publicKey) }));
  writeFileSync(config, JSON.stringify({ ...settings, listen: { port: 0 }, logs: known }));
  return { dir, config, key };
}

/** Starts it; it ends with the test, or before. */
export async function serveWitness(t: TestContext, { config }: GivenWitness): Promise<RunningWitness> {
  const { stateFolder, ...setup } = await readWitness(config);
  const running = await startWitness({ ...setup, records: openRecords(stateFolder), now: Date.now });
  t.after(() => running[Symbol.asyncDispose]());
  return running;
}

export interface Answered {
  readonly status: number;
  readonly type: string | null;
  readonly body: string;
}

export async function send(url: string, request: AddCheckpoint | Buffer): Promise<Answered> {
  const body = Buffer.isBuffer(request) ? request : formatRequest(request);
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: new Uint8Array(body) });
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}
