import { createHmac, randomBytes, type KeyObject } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { CaissonError, canonicalJson, type Json, type Sealed } from '@caisson/contract';
import { addTombstone, erasedMs, readErased, type Erased } from './erased.ts';
import { destroy, openFolder, removeUnfinished, syncOf, syncPath, type Sync } from './folder.ts';
import { keyPath, makeOrRead, readKey, reserveUses, USES_RESERVED, type KeyGround } from './key-file.ts';
import { digestKeyId, keyId, ownerOf, placeOf, tenantName } from './key-id.ts';
import { OpenedKeys } from './opened-keys.ts';
import { NONCE_BYTES, seal, unseal, type About } from './seal.ts';
import type { KeyWrap } from './wrap.ts';

const NAME_KEY = 'names';
const KEY_FILE = /\.key$/;
const DIGEST_DOMAIN = 'caisson-digest-v1\n';

export interface KeyringOptions {
  readonly wrap: KeyWrap;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly now: () => number;
  /** Keys that are held open. Default 1,024. */
  readonly openMost?: number;
  /** Default: fsync. */
  readonly sync?: Sync;
}

/** What is to be erased: all that a tenant has now, or the keys of all tenants for segments below one. */
export type Erasure = { readonly tenant: string } | { readonly before: number };

export type Unsealed =
  | { readonly state: 'open'; readonly value: Json }
  | { readonly state: 'erased'; readonly erasedMs: number }
  | { readonly state: 'missing' }
  | { readonly state: 'bad'; readonly detail: string };

interface SealingKey {
  readonly id: string;
  readonly key: KeyObject;
  usesLeft: number;
}

interface Opening {
  readonly ground: KeyGround;
  readonly names: KeyObject;
  readonly erased: Erased;
  readonly now: () => number;
  readonly openMost: number;
}

/**
 * The keys of one evidence log: one for each tenant and segment, and one for the digests of a tenant. Each is durable before
 * it is used. The folder holds no name of a tenant.
 */
export class Keyring implements Disposable {
  readonly #ground: KeyGround;
  readonly #names: KeyObject;
  readonly #now: () => number;
  readonly #sealing: OpenedKeys<SealingKey>;
  readonly #others: OpenedKeys<KeyObject | null>;
  readonly #openMost: number;
  /** Names of tenants as they are now; an erasure gives another, so it empties this. */
  readonly #namesNow = new Map<string, string>();
  #erased: Erased;
  #erasing: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor({ ground, names, erased, now, openMost }: Opening) {
    this.#ground = ground;
    this.#names = names;
    this.#erased = erased;
    this.#now = now;
    this.#sealing = new OpenedKeys(openMost);
    this.#others = new OpenedKeys(openMost);
    this.#openMost = openMost;
  }

  /** Keys that are held open. */
  get openKeys(): number {
    return this.#sealing.size + this.#others.size;
  }

  /** The name that key ids have for a tenant now. */
  nameOf(tenant: string): string {
    const known = this.#namesNow.get(tenant);
    if (known !== undefined) return known;
    let erasures = 0;
    while (this.#erased.names.has(tenantName(this.#names, tenant, erasures))) erasures += 1;
    const name = tenantName(this.#names, tenant, erasures);
    if (this.#namesNow.size >= this.#openMost) this.#namesNow.clear();
    this.#namesNow.set(tenant, name);
    return name;
  }

  /**
   * Seals a value by the key of a tenant and a segment.
   *
   * @throws CaissonError REQUEST_INVALID where it is too long; EVIDENCE_UNAVAILABLE where no durable key can be had, or the keys of this segment were erased
   */
  async seal(value: Json, { tenant, segment, about }: { readonly tenant: string; readonly segment: number; readonly about: About }): Promise<Sealed> {
    for (;;) {
      this.#mustBeOpen();
      const name = this.nameOf(tenant);
      if (erasedMs(this.#erased, { name, segment }) !== null) throw unavailable(`the keys of segment ${segment} were erased`);
      const slot = `${name}.${segment}`;
      const key = await this.#sealing.get(slot, () => this.#keyFor(name, segment, 0)).catch(refusal);
      // Nothing is awaited from here on: neither an erasure nor another use comes between.
      if (erasedMs(this.#erased, { name, segment }) !== null) continue;
      if (key.usesLeft > 0) {
        key.usesLeft -= 1;
        return seal(value, { key: key.key, keyId: key.id, about, nonce: randomBytes(NONCE_BYTES) });
      }
      this.#sealing.drop(slot);
    }
  }

  async #keyFor(name: string, segment: number, from: number): Promise<SealingKey> {
    for (let part = from; ; part += 1) {
      const id = keyId({ name, segment, part });
      const key = await makeOrRead(id, this.#ground);
      if (await reserveUses(id, this.#ground)) return { id, key, usesLeft: USES_RESERVED };
    }
  }

  /** Opens what was sealed for this entry. @throws CaissonError EVIDENCE_UNAVAILABLE, STATE_DIR_INVALID where the ring itself cannot be used */
  async unseal(sealed: Sealed, about: About): Promise<Unsealed> {
    this.#mustBeOpen();
    const place = placeOf(sealed.key);
    if (place === null) return { state: 'bad', detail: 'its key has no name of a ring' };
    const key = await this.#others.get(sealed.key, () => readKey(sealed.key, this.#ground));
    const goneMs = erasedMs(this.#erased, place);
    if (goneMs !== null) return { state: 'erased', erasedMs: goneMs };
    if (key === null) {
      this.#others.drop(sealed.key);
      return { state: 'missing' };
    }
    const opened = unseal(sealed, { key, about });
    return 'bad' in opened ? { state: 'bad', detail: opened.bad } : { state: 'open', value: opened.value };
  }

  /**
   * HMAC-SHA-256 of a value by a key of the tenant, hex: equal values have equal digests under one tenant and label, and
   * nobody without the key can try values. Erasing the tenant ends that: it has another key then.
   *
   * @param label what the value is, such as `argv`
   * @throws CaissonError EVIDENCE_UNAVAILABLE where no durable key can be had
   */
  async digest(tenant: string, label: string, value: Json): Promise<string> {
    for (;;) {
      this.#mustBeOpen();
      const name = this.nameOf(tenant);
      const id = digestKeyId(name);
      const key = await this.#others.get(id, () => makeOrRead(id, this.#ground)).catch(refusal);
      if (key === null || this.#erased.names.has(name)) continue;
      return createHmac('sha256', key).update(`${DIGEST_DOMAIN}${canonicalJson([label, value])}`).digest('hex');
    }
  }

  /**
   * Erases keys: recorded first, then overwritten, removed, and the folder made durable. What they sealed stays in the log
   * and opens for nobody. Resolves to how many were destroyed; done again it finds none.
   */
  erase(what: Erasure): Promise<number> {
    const erased = this.#erasing.then(() => this.#erase(what));
    this.#erasing = erased.catch(() => undefined);
    return erased;
  }

  async #erase(what: Erasure): Promise<number> {
    this.#mustBeOpen();
    const { dir, sync } = this.#ground;
    const at = { erasedMs: Math.trunc(this.#now()) };
    const stone = 'tenant' in what ? { name: this.nameOf(what.tenant), ...at } : { before: what.before, ...at };
    if ('before' in stone && !Number.isSafeInteger(stone.before)) throw new CaissonError('REQUEST_INVALID', { detail: 'before: is not a segment' });
    this.#erased = await addTombstone(dir, stone, sync);
    this.#namesNow.clear();
    this.#sealing.clear();
    this.#others.clear();
    return destroyErased(this.#ground, this.#erased);
  }

  /** Ids of the sealing keys that are there. */
  async keyIds(): Promise<readonly string[]> {
    this.#mustBeOpen();
    return (await keyFiles(this.#ground.dir)).filter((id) => placeOf(id) !== null).toSorted();
  }

  /** @internal The bytes of a key, for an escrow; null where there is none. */
  async exported(id: string): Promise<string | null> {
    this.#mustBeOpen();
    return (await readKey(id, this.#ground))?.export().toString('base64') ?? null;
  }

  #mustBeOpen(): void {
    if (this.#closed) throw unavailable('the key ring is closed');
  }

  /** Lets go of every key. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#sealing.clear();
    this.#others.clear();
  }
}

/**
 * Opens the ring in `dir`, a folder of mode 0700 that is made when it is not there. An erasure that was not finished is
 * finished first.
 *
 * @throws CaissonError STATE_DIR_INVALID where the folder or a file is a link, another's, or open to others; EVIDENCE_UNAVAILABLE where it cannot be read or written
 */
export async function openKeyring(dir: string, { wrap, now, openMost = 1_024, sync = syncOf }: KeyringOptions): Promise<Keyring> {
  const ground: KeyGround = { dir, wrap, sync };
  try {
    await (await openFolder(dir, sync)).close();
    await removeUnfinished(dir, now());
    const erased = await readErased(dir);
    await destroyErased(ground, erased);
    return new Keyring({ ground, names: await makeOrRead(NAME_KEY, ground), erased, now, openMost });
  } catch (error) {
    return refusal(error);
  }
}

async function keyFiles(dir: string): Promise<readonly string[]> {
  return (await readdir(dir)).filter((name) => KEY_FILE.test(name)).map((name) => name.replace(KEY_FILE, ''));
}

async function destroyErased(ground: KeyGround, erased: Erased): Promise<number> {
  let destroyed = 0;
  for (const id of await keyFiles(ground.dir)) {
    const owner = ownerOf(id);
    if (owner === null || erasedMs(erased, owner) === null) continue;
    await destroy(keyPath(ground, id), ground.sync);
    destroyed += 1;
  }
  if (destroyed > 0) await syncPath(ground.dir, ground.sync);
  return destroyed;
}

/** Whatever keeps a key from being had, nothing is sealed without it. */
function refusal(error: unknown): never {
  if (error instanceof CaissonError) throw error;
  throw unavailable((error as Error).message, error);
}

function unavailable(detail: string, cause?: unknown): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail }, { cause });
}
