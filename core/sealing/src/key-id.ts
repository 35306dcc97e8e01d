import { createHmac, type KeyObject } from 'node:crypto';

const NAME_DOMAIN = 'caisson-tenant-name-v1\n';
const ID = /^([0-9a-f]{32})\.(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,5})$/;
const DIGEST_ID = /^([0-9a-f]{32})\.digest$/;

/** What a key id says: a tenant to those who have the ring, and to nobody else. */
export interface KeyPlace {
  /** The tenant, as `tenantName` has it. */
  readonly name: string;
  readonly segment: number;
  /** From 0; the next one where a key has been used as often as it may. */
  readonly part: number;
}

/**
 * Names a tenant by a keyed digest, so that nobody without the key can try names.
 *
 * @param erasures how often all keys of the tenant have been erased: what it seals afterwards is by other keys
 */
export function tenantName(key: KeyObject, tenant: string, erasures: number): string {
  return createHmac('sha256', key).update(`${NAME_DOMAIN}${erasures}\n${tenant.normalize('NFC')}`).digest('hex').slice(0, 32);
}

export function keyId({ name, segment, part }: KeyPlace): string {
  return `${name}.${segment}.${part}`;
}

export function digestKeyId(name: string): string {
  return `${name}.digest`;
}

/** Null for what is no id of a sealing key. */
export function placeOf(id: string): KeyPlace | null {
  const [, name, segment, part] = ID.exec(id) ?? [];
  return name === undefined ? null : { name, segment: Number(segment), part: Number(part) };
}

/** The tenant and the segment of any key of the ring; the segment is null where a key is for all of them. */
export function ownerOf(id: string): { readonly name: string; readonly segment: number | null } | null {
  const [, name] = DIGEST_ID.exec(id) ?? [];
  return name === undefined ? placeOf(id) : { name, segment: null };
}
