import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { CaissonError, canonicalJson, type Entry, type Json, type Sealed } from '@caisson/contract';
import { MAX_TEXT_BYTES, pad, unpad } from './padding.ts';

/** What an entry says of itself in the open. A sealed text opens only in the entry that it was made for. */
export type About = Pick<Entry, 'kind' | 'source' | 'subject'>;

/** NIST SP 800-38D §8.2.2: 96 bits, random. */
export const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';
const DOMAIN = 'caisson-sealed-v1\n';
/** Base64 of the largest size class and its tag. */
const MAX_BASE64 = 4 * Math.ceil((MAX_TEXT_BYTES + 4 + TAG_BYTES) / 3);

export interface SealWith {
  /** 32 bytes. */
  readonly key: KeyObject;
  readonly keyId: string;
  readonly about: About;
  /** NONCE_BYTES that were never used with this key. */
  readonly nonce: Buffer;
}

/**
 * Seals the canonical JSON of a value by AES-256-GCM, padded to a size class. The name of the key, and kind, source and
 * subject of the entry are its additional data.
 *
 * @throws CaissonError REQUEST_INVALID where the canonical text is longer than MAX_TEXT_BYTES; nothing is cut here.
 * @throws TypeError for what is not canonical JSON.
 */
export function seal(value: Json, { key, keyId, about, nonce }: SealWith): Sealed {
  const text = Buffer.from(canonicalJson(value), 'utf8');
  const padded = pad(text);
  if (padded === null) throw new CaissonError('REQUEST_INVALID', { detail: `secret: is ${text.length} bytes, of ${MAX_TEXT_BYTES} that can be sealed` });
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additional(keyId, about));
  const sealed = Buffer.concat([cipher.update(padded), cipher.final(), cipher.getAuthTag()]);
  return { key: keyId, nonce: nonce.toString('base64'), text: sealed.toString('base64') };
}

export type Opened = { readonly value: Json } | { readonly bad: string };

/** Opens what was sealed for this entry by this key. It throws for nothing that a log can hold. */
export function unseal(sealed: Sealed, { key, about }: Pick<SealWith, 'key' | 'about'>): Opened {
  const nonce = fromBase64(sealed.nonce, 16);
  const bytes = fromBase64(sealed.text, MAX_BASE64);
  if (nonce?.length !== NONCE_BYTES || bytes === null || bytes.length <= TAG_BYTES) return { bad: 'it is not a sealed text' };
  let padded: Buffer;
  try {
    const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(additional(sealed.key, about));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    padded = Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch {
    return { bad: 'it was changed, moved from another entry, or sealed by another key' };
  }
  const text = unpad(padded);
  if (text === null) return { bad: 'its padding is not one that is made here' };
  return parsed(text);
}

function parsed(text: Buffer): Opened {
  try {
    return { value: JSON.parse(text.toString('utf8')) as Json };
  } catch {
    return { bad: 'it holds something that is not JSON' };
  }
}

function additional(keyId: string, { kind, source, subject }: About): Buffer {
  return Buffer.from(`${DOMAIN}${canonicalJson([keyId, kind, source, subject])}`, 'utf8');
}

/** Null for anything but the one base64 text (RFC 4648 §4) of some bytes. */
function fromBase64(text: string, longest: number): Buffer | null {
  if (typeof text !== 'string' || text.length > longest) return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}
