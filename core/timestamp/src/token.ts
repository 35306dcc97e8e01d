import { hash } from 'node:crypto';
import { hashOf, hasSigned, type HashName } from './algorithms.ts';
import { EXTENSION, extensionsOf, readCertificate, type Certificate } from './certificate.ts';
import { countOf, fail, fieldsOf, itemsOf, octetsOf, oidOf, readDer, TAG, type Der } from './der.ts';

const SIGNED_DATA = '1.2.840.113549.1.7.2';
const TST_INFO = '1.2.840.113549.1.9.16.1.4';
const ATTRIBUTE = { contentType: '1.2.840.113549.1.9.3', messageDigest: '1.2.840.113549.1.9.4', signer: '1.2.840.113549.1.9.16.2.12', signerV2: '1.2.840.113549.1.9.16.2.47' } as const;
const MAX_CERTIFICATES = 16;

/** What a token says (RFC 3161 §2.4.2, TSTInfo). */
export interface TokenInfo {
  readonly policy: string;
  readonly imprint: { readonly hash: HashName; readonly digest: Buffer };
  /** Content of the INTEGER. */
  readonly serial: Buffer;
  /** Milliseconds since 1970 UTC. */
  readonly timeMs: number;
  /** How far that may be off, in milliseconds, rounded up; null: it does not say. */
  readonly accuracyMs: number | null;
  /** Content of the INTEGER. */
  readonly nonce: Buffer | null;
}

/** A token whose signature is good. Whether its signer is to be believed is not looked at. */
export interface Token extends TokenInfo {
  readonly signer: Certificate;
  readonly certificates: readonly Certificate[];
}

/**
 * Reads a token and checks its signature: a CMS SignedData (RFC 5652 §5) of one signer, who has signed what kind of content it is,
 * its digest, and which certificate is the signer's (RFC 2634 §5.4, RFC 5035 §3), so that no other one of the same key stands in.
 *
 * @throws DerError
 */
export function readToken(token: Der): Token {
  const outer = fieldsOf(token, TAG.sequence, 'the token');
  if (oidOf(outer.next(TAG.oid, 'kind'), 'the kind of the token') !== SIGNED_DATA) fail('the token is no signed data');
  const signed = fieldsOf(fieldsOf(outer.next('c0', 'content'), 'c0', 'the token').any('content'), TAG.sequence, 'the signed data');
  outer.end();
  signed.next(TAG.integer, 'version');
  signed.next(TAG.set, 'list of digests');
  const content = contentOf(signed.next(TAG.sequence, 'content'));
  const certificates = certificatesOf(signed.maybe('c0'));
  signed.maybe('c1');
  const [signerInfo, ...others] = itemsOf(signed.next(TAG.set, 'signer'), TAG.set, 'the list of signers');
  signed.end();
  if (signerInfo === undefined || others.length > 0) fail('the token has not one signer');
  return { ...infoOf(readDer(content)), signer: signerOf(signerInfo, content, certificates), certificates };
}

function contentOf(encapsulated: Der): Buffer {
  const fields = fieldsOf(encapsulated, TAG.sequence, 'the content');
  if (oidOf(fields.next(TAG.oid, 'kind'), 'the kind of the content') !== TST_INFO) fail('the content is no time-stamp');
  return octetsOf(fieldsOf(fields.next('c0', 'bytes'), 'c0', 'the content').any('bytes'), 'the content');
}

function certificatesOf(set: Der | null): readonly Certificate[] {
  const found = set === null ? [] : itemsOf(set, 'c0', 'the list of certificates').filter(({ tag }) => tag === TAG.sequence);
  if (found.length > MAX_CERTIFICATES) fail(`the token has more than ${MAX_CERTIFICATES} certificates`);
  return found.map(({ raw }) => readCertificate(raw));
}

/** @throws DerError where it has not signed the content */
function signerOf(info: Der, content: Buffer, certificates: readonly Certificate[]): Certificate {
  const fields = fieldsOf(info, TAG.sequence, 'the signer');
  fields.next(TAG.integer, 'version');
  const id = fields.any('name');
  const digest = hashOf(algorithmOf(fields.next(TAG.sequence, 'digest')));
  const attributes = fields.next('c0', 'signed attributes');
  const algorithm = algorithmOf(fields.next(TAG.sequence, 'algorithm'));
  const signature = octetsOf(fields.next(TAG.octets, 'signature'), 'the signature');
  fields.maybe('c1');
  fields.end();
  const said = attributesOf(attributes);
  if (oidOf(valueOf(said, ATTRIBUTE.contentType), 'the kind of the content') !== TST_INFO) fail('the signer has signed another kind of content');
  if (!octetsOf(valueOf(said, ATTRIBUTE.messageDigest), 'the digest').equals(hash(digest, content, 'buffer'))) fail('the signer has signed another content');
  const signer = certificates.find((one) => isNamed(one, id)) ?? fail('the token holds no certificate of its signer');
  if (!isMeant(signer, said)) fail('the signer has signed for another certificate');
  // What is signed has the tag of a SET (RFC 5652 §5.4).
  const bytes = Buffer.concat([Buffer.of(0x31), attributes.raw.subarray(1)]);
  return hasSigned(signer.x509.publicKey, { algorithm, digest, bytes, signature }) ? signer : fail('its signature is not good');
}

function algorithmOf(algorithm: Der): string {
  return oidOf(fieldsOf(algorithm, TAG.sequence, 'an algorithm').next(TAG.oid, 'name'), 'an algorithm');
}

function attributesOf(attributes: Der): ReadonlyMap<string, readonly Der[]> {
  const found = new Map<string, readonly Der[]>();
  for (const item of itemsOf(attributes, 'c0', 'the list of signed attributes')) {
    const fields = fieldsOf(item, TAG.sequence, 'an attribute');
    const id = oidOf(fields.next(TAG.oid, 'name'), 'an attribute');
    if (found.has(id)) fail(`the attribute ${id} stands there twice`);
    found.set(id, itemsOf(fields.next(TAG.set, 'values'), TAG.set, 'the values of an attribute'));
  }
  return found;
}

function valueOf(attributes: ReadonlyMap<string, readonly Der[]>, id: string): Der {
  const [value, ...others] = attributes.get(id) ?? [];
  return value !== undefined && others.length === 0 ? value : fail(`the signer has not signed one attribute ${id}`);
}

/** Whether a certificate is the one that the signer is named by: its issuer and number, or the identifier of its key (RFC 5652 §5.3). */
function isNamed({ issuer, serial, extensions }: Certificate, id: Der): boolean {
  if (id.tag === TAG.sequence) {
    const fields = fieldsOf(id, TAG.sequence, 'the name of the signer');
    return fields.next(TAG.sequence, 'issuer').raw.equals(issuer) && fields.next(TAG.integer, 'number').content.equals(serial);
  }
  const key = extensions.get(EXTENSION.keyIdentifier);
  return id.tag === 'c0' && key !== undefined && octetsOf(readDer(key.value), 'the identifier of a key').equals(id.content);
}

/** Whether it is the first certificate that the signer says to be its own, in each of the two forms that are there, and one is. */
function isMeant({ raw }: Certificate, attributes: ReadonlyMap<string, readonly Der[]>): boolean {
  const forms = [ATTRIBUTE.signer, ATTRIBUTE.signerV2].filter((id) => attributes.has(id));
  return forms.length > 0 && forms.every((id) => {
    const first = fieldsOf(fieldsOf(valueOf(attributes, id), TAG.sequence, 'the attribute of the signer').next(TAG.sequence, 'list'), TAG.sequence, 'the attribute of the signer').next(TAG.sequence, 'certificate');
    const fields = fieldsOf(first, TAG.sequence, 'the identifier of a certificate');
    const algorithm = id === ATTRIBUTE.signerV2 ? fields.maybe(TAG.sequence) : null;
    const name = id === ATTRIBUTE.signer ? 'sha1' : algorithm === null ? 'sha256' : hashOf(algorithmOf(algorithm));
    return octetsOf(fields.next(TAG.octets, 'digest'), 'the digest of a certificate').equals(hash(name, raw, 'buffer'));
  });
}

function infoOf(der: Der): TokenInfo {
  const fields = fieldsOf(der, TAG.sequence, 'the time-stamp');
  if (countOf(fields.next(TAG.integer, 'version'), 'the version') !== 1) fail('the time-stamp is of another version');
  const policy = oidOf(fields.next(TAG.oid, 'policy'), 'the policy');
  const imprint = fieldsOf(fields.next(TAG.sequence, 'imprint'), TAG.sequence, 'the imprint');
  const name = hashOf(algorithmOf(imprint.next(TAG.sequence, 'algorithm')));
  const digest = octetsOf(imprint.next(TAG.octets, 'digest'), 'the imprint');
  imprint.end();
  const serial = Buffer.from(fields.next(TAG.integer, 'number').content);
  const timeMs = timeOf(fields.next(TAG.time, 'time').content.toString('latin1'));
  const accuracy = fields.maybe(TAG.sequence);
  fields.maybe(TAG.boolean);
  const nonce = fields.maybe(TAG.integer);
  fields.maybe('c0');
  const extensions = fields.maybe('c1');
  fields.end();
  if (extensions !== null && [...extensionsOf({ ...extensions, tag: TAG.sequence }).values()].some(({ critical }) => critical)) fail('the time-stamp has a critical extension, which is not known here');
  return { policy, imprint: { hash: name, digest }, serial, timeMs, accuracyMs: accuracy === null ? null : accuracyOf(accuracy), nonce: nonce === null ? null : Buffer.from(nonce.content) };
}

/** A GeneralizedTime of DER (RFC 3161 §2.4.2): UTC, with seconds, a fraction without zeros at its end. */
function timeOf(text: string): number {
  const [, year, month, day, hour, minute, second, fraction = ''] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d*[1-9]))?Z$/.exec(text) ?? fail('its time is none of UTC');
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const timeMs = Date.parse(iso);
  if (Number.isNaN(timeMs) || new Date(timeMs).toISOString() !== iso) fail('its time is none of UTC');
  return timeMs + Math.floor(Number(`0.${fraction || '0'}`) * 1000);
}

function accuracyOf(der: Der): number {
  const fields = fieldsOf(der, TAG.sequence, 'the accuracy');
  const part = (tag: string): number => {
    const found = fields.maybe(tag);
    return found === null ? 0 : countOf(found, 'the accuracy');
  };
  const [seconds, millis, micros] = [part(TAG.integer), part('c0'), part('c1')];
  fields.end();
  return seconds * 1000 + millis + Math.ceil(micros / 1000);
}
