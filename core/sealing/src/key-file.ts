import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { CaissonError } from '@caisson/contract';
import { makeWhole, openOwn, syncPath, type Sync } from './folder.ts';
import type { KeyWrap } from './wrap.ts';

const KEY_BYTES = 32;
const VERSION = 1;
/** Uses of a key that are reserved at once, by one byte at the end of its file. */
export const USES_RESERVED = 2 ** 20;
/** Reservations of one key: 2^30 uses with random nonces, of the 2^32 that NIST SP 800-38D §8.3 allows. */
const RESERVATIONS_MOST = 1024;
const RESERVED = '+';

export interface KeyGround {
  readonly dir: string;
  readonly wrap: KeyWrap;
  readonly sync: Sync;
}

interface KeyHead {
  readonly version: typeof VERSION;
  readonly key: string;
  readonly wrap: string;
  readonly wrapped: string;
}

export function keyPath({ dir }: Pick<KeyGround, 'dir'>, id: string): string {
  return `${dir}/${id}.key`;
}

/** The key of this id; it is made where there is none. It is durable when this resolves, whoever made it. */
export async function makeOrRead(id: string, ground: KeyGround): Promise<KeyObject> {
  const there = await readKey(id, ground);
  if (there === null) await makeKey(id, ground);
  else await syncPath(ground.dir, ground.sync); // another may have made it just now
  const key = there ?? (await readKey(id, ground));
  if (key === null) throw unusable(id, 'it went away while it was made');
  return key;
}

async function makeKey(id: string, { dir, wrap, sync }: KeyGround): Promise<void> {
  const wrapped = await wrap.wrap(randomBytes(KEY_BYTES), id);
  const head: KeyHead = { version: VERSION, key: id, wrap: wrap.name, wrapped: wrapped.toString('base64') };
  await makeWhole(keyPath({ dir }, id), `${JSON.stringify(head)}\n`, sync);
}

/** Null where there is no key of this id. @throws CaissonError STATE_DIR_INVALID, EVIDENCE_UNAVAILABLE where the file is not one of this key */
export async function readKey(id: string, { dir, wrap }: Pick<KeyGround, 'dir' | 'wrap'>): Promise<KeyObject | null> {
  const file = await openOwn(keyPath({ dir }, id), constants.O_RDONLY);
  if (file === null) return null;
  let text: string;
  try {
    text = await file.readFile('utf8');
  } finally {
    await file.close();
  }
  const head = headOf(text);
  if (head === null || head.key !== id) throw unusable(id, 'its file does not hold it');
  if (head.wrap !== wrap.name) throw unusable(id, `it was wrapped by ${head.wrap}, not by ${wrap.name}`);
  const key = await wrap.unwrap(Buffer.from(head.wrapped, 'base64'), id).catch((cause: unknown) => {
    throw unusable(id, 'it does not unwrap: its file was changed, or the wrap key is another', cause);
  });
  if (key.length !== KEY_BYTES) throw unusable(id, 'it is not 32 bytes');
  return createSecretKey(key);
}

function headOf(text: string): KeyHead | null {
  try {
    const head = JSON.parse(text.slice(0, text.indexOf('\n'))) as Partial<KeyHead> | null;
    const isHead = head?.version === VERSION && typeof head.key === 'string' && typeof head.wrap === 'string' && typeof head.wrapped === 'string';
    return isHead ? (head as KeyHead) : null;
  } catch {
    return null;
  }
}

/** Reserves USES_RESERVED uses of a key durably; false: it has been used as often as it may. */
export async function reserveUses(id: string, ground: KeyGround): Promise<boolean> {
  const file = await openOwn(keyPath(ground, id), constants.O_RDWR | constants.O_APPEND);
  if (file === null) throw unusable(id, 'it went away');
  try {
    const text = await file.readFile('utf8');
    if (text.length - text.indexOf('\n') - 1 >= RESERVATIONS_MOST) return false;
    await file.write(RESERVED);
    await ground.sync(file);
    return true;
  } finally {
    await file.close();
  }
}

function unusable(id: string, detail: string, cause?: unknown): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail: `key ${id}: ${detail}` }, { cause });
}
