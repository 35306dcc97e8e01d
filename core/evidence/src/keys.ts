import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CaissonError } from '@caisson/contract';
import {
  formatSignerKey, formatVerifierKey, generateKey, parseSignerKey, parseVerifierKey, SIGNATURE_TYPE, signerOf, type Fetch, type PublicKey, type Signer,
} from '@caisson/tlog';
import { KEYS_FILE, openIfThere, OWNER_ONLY, syncFolder, writeFiles, type Readers } from './folder.ts';

const KEY_FILE = 'log.key';

/**
 * The signing key of the log in `dir`: an Ed25519 seed in a file of mode 0600, in the folder beside it whose name ends in `-key`,
 * so that who copies the log does not copy the key. A new log gets one, named after the log: 16 random bytes, so that no two
 * logs have the same origin.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE for a key that others can read, that cannot be read, or that is missing though there is a log.
 */
export async function logSigner(dir: string): Promise<Signer> {
  const keyDir = `${dir}-key`;
  const path = `${keyDir}/${KEY_FILE}`;
  const text = await readPrivate(path);
  if (text !== null) {
    const key = parseSignerKey(text);
    if (key === null) throw unavailable(`${path} holds no key`);
    return signerOf(key);
  }
  if (!(await isEmptyLog(dir))) throw unavailable(`the key of the log, ${path}, is missing: a log is never continued by another key without saying so`);
  const key = generateKey(`caisson.local/${randomBytes(16).toString('hex')}`, SIGNATURE_TYPE.ed25519);
  await mkdir(keyDir, { recursive: true, mode: 0o700 });
  await writeFiles(keyDir, [{ path: KEY_FILE, bytes: Buffer.from(`${formatSignerKey(key)}\n`) }]);
  await syncFolder(dirname(keyDir));
  return signerOf(key);
}

/** A folder without a journal, a checkpoint or a tile: nothing was ever acknowledged in it. */
async function isEmptyLog(dir: string): Promise<boolean> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] as string[];
    throw error;
  });
  if (names.includes('log.jsonl')) throw unavailable(`${dir} holds a log of an earlier form (log.jsonl), which is not continued: move the folder away, keep it, and start anew`);
  return !names.some((name) => /^(checkpoint|tile|journal-.*)$/.test(name));
}

async function readPrivate(path: string): Promise<string | null> {
  const file = await openIfThere(path);
  if (file === null) return null;
  try {
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0) throw unavailable(`${path} can be read by others (mode ${(mode & 0o777).toString(8)}): set it to 600`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Puts the public key beside the log, for whoever verifies it. */
export async function writePublicKey(dir: string, key: PublicKey, readers: Readers = OWNER_ONLY): Promise<void> {
  const text = `${formatVerifierKey(key)}\n`;
  const there = await readFile(`${dir}/${KEYS_FILE}`, 'utf8').catch(() => null);
  if (there !== text) await writeFiles(dir, [{ path: KEYS_FILE, bytes: Buffer.from(text) }], readers);
}

/** The public keys that a log says are its own. Who trusts nobody has them from elsewhere. */
export async function publishedKeys(fetch: Fetch): Promise<readonly PublicKey[]> {
  const text = (await fetch(KEYS_FILE))?.toString('utf8') ?? '';
  return text.split('\n').map(parseVerifierKey).filter((key) => key !== null);
}

function unavailable(detail: string): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail });
}
