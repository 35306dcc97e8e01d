import { constants, verify, type KeyObject } from 'node:crypto';
import { DerError } from './der.ts';

export const HASHES = ['sha256', 'sha384', 'sha512'] as const;
export type HashName = (typeof HASHES)[number];

/** RFC 5754 §2. */
export const HASH_OIDS: Readonly<Record<HashName, string>> = { sha256: '2.16.840.1.101.3.4.2.1', sha384: '2.16.840.1.101.3.4.2.2', sha512: '2.16.840.1.101.3.4.2.3' };

/** @throws DerError for one that is not known, or is too weak */
export function hashOf(oid: string): HashName {
  return HASHES.find((name) => HASH_OIDS[name] === oid) ?? weak(oid);
}

interface Scheme {
  readonly key: 'rsa' | 'ec';
  /** Default: that which the message was digested with. */
  readonly hash?: HashName;
  readonly pss?: true;
}

/** Signatures that are taken: of certificates and of tokens. Nothing with SHA-1 or less. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  '1.2.840.113549.1.1.1': { key: 'rsa' },
  '1.2.840.113549.1.1.10': { key: 'rsa', pss: true },
  '1.2.840.113549.1.1.11': { key: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', hash: 'sha512' },
  '1.2.840.10045.4.3.2': { key: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', hash: 'sha512' },
};

const MIN_RSA_BITS = 2048;
const CURVES: readonly (string | undefined)[] = ['prime256v1', 'secp384r1', 'secp521r1'];

/** Why a key is not one whose signatures are taken; null: it is one. */
export function weaknessOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string | null {
  if (type === 'rsa' || type === 'rsa-pss') return (details?.modulusLength ?? 0) >= MIN_RSA_BITS ? null : `an RSA key of ${details?.modulusLength} bits`;
  if (type === 'ec') return CURVES.includes(details?.namedCurve) ? null : `a key on the curve ${details?.namedCurve}`;
  return `a key of the kind ${type}`;
}

/** Whether certificates may be signed by this algorithm: one whose name says which strong hash it takes. */
export function isStrong(oid: string): boolean {
  return SCHEMES[oid]?.hash !== undefined;
}

export interface Signed {
  /** Of the signature. */
  readonly algorithm: string;
  /** With which the content was digested. */
  readonly digest: HashName;
  readonly bytes: Buffer;
  readonly signature: Buffer;
}

/** Whether the key has signed the bytes. @throws DerError for an algorithm that is not taken */
export function hasSigned(key: KeyObject, { algorithm, digest, bytes, signature }: Signed): boolean {
  const scheme = SCHEMES[algorithm] ?? weak(algorithm);
  const type = key.asymmetricKeyType === 'rsa-pss' ? 'rsa' : key.asymmetricKeyType;
  if (type !== scheme.key) return false;
  const padding = scheme.pss === true ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO } : {};
  return verify(scheme.hash ?? digest, bytes, { key, dsaEncoding: 'der', ...padding }, signature);
}

function weak(oid: string): never {
  throw new DerError(`the algorithm ${oid} is not known, or is too weak`);
}
