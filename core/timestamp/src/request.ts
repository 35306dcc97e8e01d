import { hash, randomBytes } from 'node:crypto';
import { Boolean as Bool, Integer, Null, ObjectIdentifier, OctetString, Sequence } from 'asn1js';
import { HASH_OIDS, type HashName } from './algorithms.ts';

/** A nonce as every authority takes it: 8 bytes, positive, of which 62 bits are drawn at random. */
export function newNonce(): Buffer {
  const bytes = randomBytes(8);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytes;
}

export interface Question {
  readonly data: Buffer;
  readonly hash: HashName;
  /** Content of the INTEGER. */
  readonly nonce: Buffer;
  /** Object identifier. Default: the authority's own choice. */
  readonly policy?: string | undefined;
}

/** A TimeStampReq (RFC 3161 §2.4.1) that asks for the certificates too, so that the answer can be checked by itself. */
export function formatQuestion({ data, hash: name, nonce, policy }: Question): Buffer {
  const imprint = new Sequence({ value: [new Sequence({ value: [new ObjectIdentifier({ value: HASH_OIDS[name] }), new Null()] }), new OctetString({ valueHex: hash(name, data, 'buffer') })] });
  const asked = policy === undefined ? [] : [new ObjectIdentifier({ value: policy })];
  return Buffer.from(new Sequence({ value: [new Integer({ value: 1 }), imprint, ...asked, new Integer({ valueHex: nonce }), new Bool({ value: true })] }).toBER());
}
