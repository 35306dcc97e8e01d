import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';
const DOMAIN = 'caisson-key-wrap-v1\n';

/** What keeps the keys of a ring from whoever has its folder only: a file beside it, a KMS, a PKCS#11 token. */
export interface KeyWrap {
  /** Says which wrapped a key, such as `file`; 1 to 64 characters of a-z, 0-9 and -. It stands beside the wrapped key. */
  readonly name: string;
  /** @param of the id of the key: what was wrapped for one MUST NOT unwrap for another. */
  wrap(key: Buffer, of: string): Promise<Buffer>;
  /** MUST reject where the bytes are not what `wrap` gave for the same id. */
  unwrap(wrapped: Buffer, of: string): Promise<Buffer>;
}

/**
 * AES-256-GCM by one key, of a file for example. A nonce is random and each key of a ring is wrapped once, so that the
 * 2^32 uses of NIST SP 800-38D §8.3 are never near.
 *
 * @param key 32 bytes
 */
export function wrapByKey(name: string, key: Buffer): KeyWrap {
  const secret: KeyObject = createSecretKey(key);
  const additional = (of: string): Buffer => Buffer.from(`${DOMAIN}${of}`, 'utf8');
  return {
    name,
    async wrap(inner, of) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, secret, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(additional(of));
      return Buffer.concat([nonce, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
    },
    async unwrap(wrapped, of) {
      const decipher = createDecipheriv(CIPHER, secret, wrapped.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(additional(of));
      decipher.setAuthTag(wrapped.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(wrapped.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    },
  };
}
