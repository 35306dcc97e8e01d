import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import { formatSignerKey, generateKey, parseSignerKey, SIGNATURE_TYPE, signerOf, type Signer } from '@caisson/tlog';
import { syncFolder, writeFiles } from './folder.ts';
import { KEY_FILE, readPrivate, unavailable } from './key-file.ts';
import { lockDirectory } from './lock.ts';
import { isSame } from './rotation.ts';
import { scanLog } from './scan.ts';

/** A key that is to take over, from before the log says so until the one before is destroyed. */
const NEXT_FILE = 'log.key.next';

/** Whoever changes keys holds this: two that did at once could destroy a key that signs. @throws CaissonError EVIDENCE_UNAVAILABLE when another has it */
export async function lockKeys(dir: string): Promise<AsyncDisposable> {
  const folder = await open(`${dir}-key`, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch((error: Error) => {
    throw unavailable(`there is no key of a log that can be replaced: ${error.message}`);
  });
  try {
    await lockDirectory(folder, `${dir}-key`, `the key in ${dir}-key is being replaced`);
    return folder;
  } catch (error) {
    await folder.close();
    throw error;
  }
}

/** Whether a rotation was begun and has not come to its end. */
export async function isUnderWay(dir: string): Promise<boolean> {
  return (await readPrivate(`${dir}-key/${NEXT_FILE}`)) !== null;
}

/**
 * Ends a rotation that was broken off, while the keys are locked: where the log has it on record the next key is put in its
 * place, and where it has not there was none.
 */
export async function settleRotation(dir: string): Promise<void> {
  const next = await nextIn(dir);
  if (next === null) return;
  const key = parseSignerKey((await readPrivate(`${dir}-key/${KEY_FILE}`)) ?? '');
  if (await hasTakenOver(dir, key === null ? next : signerOf(key), next)) await installNext(dir, next);
  else await dropNext(dir);
}

async function nextIn(dir: string): Promise<Signer | null> {
  const path = `${dir}-key/${NEXT_FILE}`;
  const text = await readPrivate(path);
  const key = text === null ? null : parseSignerKey(text);
  if (text !== null && key === null) throw unavailable(`${path} holds no key`);
  return key && signerOf(key);
}

/** What the log says to whoever has `known`: the key before, or the next one where that was being destroyed. */
async function hasTakenOver(dir: string, known: Signer, next: Signer): Promise<boolean> {
  const { trust, bad } = await scanLog(dir, [known.publicKey]);
  if (bad !== null) throw new CaissonError('EVIDENCE_DAMAGED', { index: bad.index, detail: bad.reason });
  return trust.heir !== undefined && isSame(trust.heir, next.publicKey);
}

/** A new key that is to take over in the log of `dir`, durable. */
export async function makeNext(dir: string, { publicKey: { name } }: Signer): Promise<Signer> {
  const key = generateKey(name, SIGNATURE_TYPE.ed25519);
  await writeFiles(`${dir}-key`, [{ path: NEXT_FILE, bytes: Buffer.from(`${formatSignerKey(key)}\n`) }]);
  return signerOf(key);
}

/** Takes away a key that never took over. */
export async function dropNext(dir: string): Promise<void> {
  await rm(`${dir}-key/${NEXT_FILE}`, { force: true });
  await syncFolder(`${dir}-key`);
}

/**
 * Destroys the key in use and puts the next in its place: overwritten first, so that it is gone from the file whatever becomes of
 * its name, which the next then takes. What a disk or a file system keeps of overwritten blocks is out of reach.
 */
export async function installNext(dir: string, next: Signer, onStep: (step: string) => void = () => undefined): Promise<Signer> {
  const path = `${dir}-key/${KEY_FILE}`;
  {
    await using file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    await file.write('0'.repeat((await file.stat()).size), 0);
    await file.sync();
  }
  onStep('destroyed');
  await rename(`${dir}-key/${NEXT_FILE}`, path);
  await syncFolder(`${dir}-key`);
  return next;
}
