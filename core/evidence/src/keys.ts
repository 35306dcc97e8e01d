import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  formatSignerKey, formatVerifierKey, generateKey, parseSignerKey, parseVerifierKey, SIGNATURE_TYPE, signerOf, type Fetch, type PublicKey, type Signer,
} from '@caisson/tlog';
import { EARLIER_KEYS_FILE, KEYS_FILE, OWNER_ONLY, syncFolder, writeFiles, type Readers } from './folder.ts';
import { KEY_FILE, readPrivate, unavailable } from './key-file.ts';
import { isUnderWay, lockKeys, settleRotation } from './next-key.ts';

/**
 * The signing key of the log in `dir`: an Ed25519 seed in a file of mode 0600, in the folder beside it whose name ends in `-key`,
 * so that who copies the log does not copy the key. A new log gets one, named after the log: 16 random bytes, so that no two
 * logs have the same origin. A rotation that was broken off and that the log has on record is brought to its end.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE for a key that others can read, that cannot be read, that is being replaced, or that is missing though there is a log; EVIDENCE_DAMAGED
 */
export async function logSigner(dir: string): Promise<Signer> {
  if (await isUnderWay(dir)) {
    await using _ = await lockKeys(dir);
    await settleRotation(dir);
  }
  return signerIn(dir);
}

/** The same while the keys are locked or no rotation is under way. */
export async function signerIn(dir: string): Promise<Signer> {
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

/** Puts the public key beside the log, for whoever verifies it, and those that it had before into a file of their own. */
export async function writePublicKey(dir: string, key: PublicKey, readers: Readers = OWNER_ONLY): Promise<void> {
  const line = formatVerifierKey(key);
  const [now, before] = await Promise.all([KEYS_FILE, EARLIER_KEYS_FILE].map(async (name) => readFile(`${dir}/${name}`, 'utf8').catch(() => '')));
  if (now === `${line}\n`) return;
  const earlier = new Set(`${now ?? ''}\n${before ?? ''}`.split('\n').filter((other) => other !== line && parseVerifierKey(other)?.name === key.name));
  const text = [...earlier].map((each) => `${each}\n`).join('');
  if (text !== '') await writeFiles(dir, [{ path: EARLIER_KEYS_FILE, bytes: Buffer.from(text) }], readers);
  await writeFiles(dir, [{ path: KEYS_FILE, bytes: Buffer.from(`${line}\n`) }], readers);
}

/** The public keys that a log says are its own, the one in use first. Who trusts nobody has them from elsewhere. */
export async function publishedKeys(fetch: Fetch): Promise<readonly PublicKey[]> {
  const texts = await Promise.all([KEYS_FILE, EARLIER_KEYS_FILE].map(async (name) => (await fetch(name))?.toString('utf8') ?? ''));
  return texts.join('\n').split('\n').map(parseVerifierKey).filter((key) => key !== null);
}
