import { createPrivateKey, createPublicKey, randomBytes, sign, verify, type KeyObject } from 'node:crypto';
import { sha256 } from './hash.ts';

/** Kinds of signatures on notes (C2SP signed-note, Signature types). */
export const SIGNATURE_TYPE = { ed25519: 0x01, cosignature: 0x04 } as const;
export type SignatureType = (typeof SIGNATURE_TYPE)[keyof typeof SIGNATURE_TYPE];

const KEY_BYTES = 32;
/** What stands before an Ed25519 key in its DER encodings (RFC 8410 §§4, 7). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A public key with its name, as a verifier is told it. */
export interface PublicKey {
  readonly name: string;
  readonly type: SignatureType;
  /** First four bytes of a hash of name, type and key; 8 hex digits. It tells keys apart and proves nothing. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Buffer;
}

/** Signs for a key that it alone holds: a file, a KMS or a PKCS#11 token. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** The Ed25519 signature of the message (RFC 8032), 64 bytes. */
  readonly sign: (message: Buffer) => Buffer | Promise<Buffer>;
}

/** Whether a name can be that of a key: not empty, no Unicode space, no plus, no control character (C2SP signed-note, Format). */
export function isKeyName(name: string): boolean {
  return /^[^\s+\p{Cc}\p{Z}]+$/u.test(name) && name.isWellFormed() && name.length <= 256;
}

/** @throws RangeError for a name or key that is none */
export function publicKey(name: string, type: SignatureType, key: Buffer): PublicKey {
  if (!isKeyName(name)) throw new RangeError(`${JSON.stringify(name)} is no name of a key`);
  if (key.length !== KEY_BYTES) throw new RangeError(`an Ed25519 key of ${key.length} bytes`);
  const id = sha256(Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([type]), key])).subarray(0, 4).toString('hex');
  return { name, type, id, key: Buffer.from(key) };
}

/** The key as text: NAME+ID+BASE64 (the encoding of golang.org/x/mod/sumdb/note). */
export function formatVerifierKey({ name, id, type, key }: PublicKey): string {
  return `${name}+${id}+${Buffer.concat([Buffer.from([type]), key]).toString('base64')}`;
}

/** Reads NAME+ID+BASE64; null: it is no key of a type that is known here, or its id is not its own. */
export function parseVerifierKey(text: string): PublicKey | null {
  const [, name, id, data] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  if (name === undefined || data === undefined || !isKeyName(name)) return null;
  const bytes = Buffer.from(data, 'base64');
  const type = Object.values(SIGNATURE_TYPE).find((known) => known === bytes[0]);
  if (type === undefined || bytes.length !== KEY_BYTES + 1 || bytes.toString('base64') !== data) return null;
  const key = publicKey(name, type, bytes.subarray(1));
  return key.id === id ? key : null;
}

/** A private key in memory: its seed, 32 bytes. */
export interface PrivateKey {
  readonly name: string;
  readonly type: SignatureType;
  readonly seed: Buffer;
}

export function generateKey(name: string, type: SignatureType): PrivateKey {
  if (!isKeyName(name)) throw new RangeError(`${JSON.stringify(name)} is no name of a key`);
  return { name, type, seed: randomBytes(KEY_BYTES) };
}

export function signerOf({ name, type, seed }: PrivateKey): Signer {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { publicKey: publicKey(name, type, spki.subarray(SPKI.length)), sign: (message) => sign(null, message, key) };
}

/** The private key as text: PRIVATE+KEY+NAME+ID+BASE64 (the encoding of golang.org/x/mod/sumdb/note). */
export function formatSignerKey(key: PrivateKey): string {
  const { id } = signerOf(key).publicKey;
  return `PRIVATE+KEY+${key.name}+${id}+${Buffer.concat([Buffer.from([key.type]), key.seed]).toString('base64')}`;
}

export function parseSignerKey(text: string): PrivateKey | null {
  const [, name, id, data] = /^PRIVATE\+KEY\+([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  if (name === undefined || data === undefined || !isKeyName(name)) return null;
  const bytes = Buffer.from(data, 'base64');
  const type = Object.values(SIGNATURE_TYPE).find((known) => known === bytes[0]);
  if (type === undefined || bytes.length !== KEY_BYTES + 1) return null;
  const key: PrivateKey = { name, type, seed: bytes.subarray(1) };
  return signerOf(key).publicKey.id === id ? key : null;
}

/** Whether `signature` is of this key over `message`. */
export function verifies({ key }: PublicKey, message: Buffer, signature: Buffer): boolean {
  return verify(null, message, toKeyObject(key), signature);
}

function toKeyObject(key: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' });
}
