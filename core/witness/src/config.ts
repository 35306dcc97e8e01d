import { constants } from 'node:fs';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { CaissonError } from '@caisson/contract';
import { formatSignerKey, formatVerifierKey, generateKey, isKeyName, parseSignerKey, parseVerifierKey, SIGNATURE_TYPE, signerOf, type Signer } from '@caisson/tlog';
import type { WitnessedLog } from './judge.ts';

const MAX_LOGS = 10_000;

/** The file of a witness. Paths are relative to it. */
const WitnessConfig = z.strictObject({
  /** File of its private key, which nobody else may read. */
  key: z.string().min(1),
  /** Folder of what it has signed. It has to exist: a witness without its memory signs a fork. */
  state: z.string().min(1),
  /** Default port 8460 of this machine alone. */
  listen: z.strictObject({ host: z.string().min(1).default('127.0.0.1'), port: z.int().min(0).max(65_535).default(8460) }).default({ host: '127.0.0.1', port: 8460 }),
  /** The logs that it signs for; an origin may stand here once for each of its keys. */
  logs: z.array(z.strictObject({ origin: z.string().min(1).max(1024), key: z.string() })).max(MAX_LOGS),
});

export interface WitnessSetup {
  readonly signer: Signer;
  readonly stateFolder: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly logs: readonly WitnessedLog[];
}

/** @throws CaissonError WITNESS_INVALID for a file that is not as it has to be, or a key that others may read */
export async function readWitness(file: string): Promise<WitnessSetup> {
  const folder = dirname(resolve(file));
  const parsed = WitnessConfig.safeParse(asJson(await text(file), file));
  if (!parsed.success) throw invalid(`${file}: ${parsed.error.issues[0]?.path.join('.') ?? ''}: ${parsed.error.issues[0]?.message ?? 'malformed'}`);
  const { key, state, listen, logs } = parsed.data;
  const stateFolder = resolve(folder, state);
  const found = await stat(stateFolder).catch(() => null);
  if (found?.isDirectory() !== true) throw invalid(`there is no folder ${stateFolder} of what it has signed`);
  return { signer: await signerIn(resolve(folder, key)), stateFolder, listen, logs: logsOf(logs, file) };
}

function logsOf(rows: readonly { readonly origin: string; readonly key: string }[], file: string): readonly WitnessedLog[] {
  const logs = new Map<string, WitnessedLog>();
  for (const { origin, key } of rows) {
    const vkey = parseVerifierKey(key);
    if (vkey?.type !== SIGNATURE_TYPE.ed25519) throw invalid(`${file}: the key of ${origin} is no verifier key of a log`);
    logs.set(origin, { origin, keys: [...(logs.get(origin)?.keys ?? []), vkey] });
  }
  return [...logs.values()];
}

async function signerIn(path: string): Promise<Signer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: Error) => Promise.reject(invalid(`${path}: ${cause.message}`)));
  const { mode } = await file.stat();
  if ((mode & 0o077) !== 0) throw invalid(`others may read the key ${path}: its mode has to be 0600`);
  const key = parseSignerKey(await file.readFile('utf8'));
  if (key?.type !== SIGNATURE_TYPE.cosignature) throw invalid(`${path} holds no key of a witness`);
  return signerOf(key);
}

/**
 * Makes a witness in a folder: `witness.key` (0600), `state/`, and `witness.json`, which knows no log yet. What is there
 * already is not touched.
 *
 * @returns its verifier key, for those who are to trust it
 * @throws CaissonError USAGE for a name that no key can have, WITNESS_INVALID when a file is there or cannot be written
 */
export async function initWitness(name: string, folder: string): Promise<string> {
  if (!isKeyName(name)) throw new CaissonError('USAGE', { detail: `${JSON.stringify(name)} is no name of a witness: no space, no plus, at most 256 characters, such as witness.example.com/w1` });
  const key = generateKey(name, SIGNATURE_TYPE.cosignature);
  try {
    await mkdir(`${folder}/state`, { recursive: true, mode: 0o700 });
    await writeNew(`${folder}/witness.key`, `${formatSignerKey(key)}\n`, 0o600);
    await writeNew(`${folder}/witness.json`, `${JSON.stringify({ key: 'witness.key', state: 'state', listen: { host: '127.0.0.1', port: 8460 }, logs: [] }, null, 2)}\n`, 0o644);
  } catch (cause) {
    throw new CaissonError('WITNESS_INVALID', { detail: (cause as Error).message }, { cause });
  }
  return formatVerifierKey(signerOf(key).publicKey);
}

async function writeNew(path: string, content: string, mode: number): Promise<void> {
  await using file = await open(path, 'wx', mode);
  await file.writeFile(content);
  await file.sync();
}

async function text(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: Error) => Promise.reject(invalid(cause.message)));
}

function asJson(content: string, file: string): unknown {
  try {
    return JSON.parse(content);
  } catch (cause) {
    throw invalid(`${file}: ${(cause as Error).message}`);
  }
}

function invalid(detail: string): CaissonError {
  return new CaissonError('WITNESS_INVALID', { detail });
}
