import { createSecretKey, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CaissonError, type Sealed } from '@caisson/contract';
import { readOwn, syncOf, syncPath } from './folder.ts';
import { placeOf } from './key-id.ts';
import type { Keyring, Unsealed } from './ring.ts';
import { unseal, type About } from './seal.ts';

const VERSION = 1;
const BASE64_OF_32_BYTES = /^[A-Za-z0-9+/]{43}=$/;

export interface EscrowChoice {
  /** Default: all. */
  readonly tenants?: readonly string[];
  /** First segment. Default 0. */
  readonly from?: number;
  /** Last segment. Default: all that there are. */
  readonly to?: number;
}

interface Escrow {
  readonly version: typeof VERSION;
  readonly keys: Readonly<Record<string, string>>;
}

/**
 * Writes chosen keys, in the clear, to a file of mode 0600 that must not exist: whoever has it reads what they sealed, and
 * nothing else. Resolves to how many they are.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE; EEXIST of the system where the file is there
 */
export async function writeEscrow(path: string, ring: Keyring, { tenants, from = 0, to = Infinity }: EscrowChoice): Promise<number> {
  const names = tenants === undefined ? null : new Set(tenants.map((tenant) => ring.nameOf(tenant)));
  const keys: Record<string, string> = {};
  for (const id of await ring.keyIds()) {
    const place = placeOf(id);
    if (place === null || place.segment < from || place.segment > to || names?.has(place.name) === false) continue;
    const key = await ring.exported(id);
    if (key !== null) keys[id] = key;
  }
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    await file.writeFile(`${JSON.stringify({ version: VERSION, keys } satisfies Escrow)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncPath(dirname(path), syncOf);
  return Object.keys(keys).length;
}

/** What an auditor has: keys, without a ring or a daemon. */
export interface EscrowedKeys {
  readonly ids: readonly string[];
  /** `missing` where the key is not among them. */
  unseal(sealed: Sealed, about: About): Unsealed;
}

/** @throws CaissonError STATE_DIR_INVALID where the file is a link or open to others; REQUEST_INVALID where it is not there or holds something else */
export async function readEscrow(path: string): Promise<EscrowedKeys> {
  const text = await readOwn(path);
  const keys = text === null ? null : keysIn(text);
  if (keys === null) throw new CaissonError('REQUEST_INVALID', { detail: `${path}: ${text === null ? 'there is no such file' : 'it does not hold keys'}` });
  return {
    ids: [...keys.keys()],
    unseal(sealed, about) {
      const key = keys.get(sealed.key);
      if (key === undefined) return { state: 'missing' };
      const opened = unseal(sealed, { key, about });
      return 'bad' in opened ? { state: 'bad', detail: opened.bad } : { state: 'open', value: opened.value };
    },
  };
}

function keysIn(text: string): ReadonlyMap<string, KeyObject> | null {
  let escrow: Partial<Escrow> | null;
  try {
    escrow = JSON.parse(text) as Partial<Escrow> | null;
  } catch {
    return null;
  }
  if (escrow?.version !== VERSION || typeof escrow.keys !== 'object' || escrow.keys === null) return null;
  const keys = new Map<string, KeyObject>();
  for (const [id, base64] of Object.entries(escrow.keys)) {
    if (placeOf(id) === null || typeof base64 !== 'string' || !BASE64_OF_32_BYTES.test(base64)) return null;
    keys.set(id, createSecretKey(Buffer.from(base64, 'base64')));
  }
  return keys;
}
