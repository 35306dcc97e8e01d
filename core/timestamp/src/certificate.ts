import { X509Certificate } from 'node:crypto';
import { DerError, fail, fieldsOf, itemsOf, octetsOf, oidOf, readDer, TAG, type Der } from './der.ts';
import { isStrong, weaknessOf } from './algorithms.ts';

export const EXTENSION = { keyIdentifier: '2.5.29.14', keyUsage: '2.5.29.15', constraints: '2.5.29.19', extendedKeyUsage: '2.5.29.37' } as const;
const PURPOSE = { timeStamping: '1.3.6.1.5.5.7.3.8', any: '2.5.29.37.0' } as const;

/** Critical extensions that are looked at here or by OpenSSL, or that take away nothing: certificate policies, other names of the subject. */
const KNOWN_CRITICAL: readonly string[] = [EXTENSION.keyUsage, EXTENSION.constraints, EXTENSION.extendedKeyUsage, '2.5.29.32', '2.5.29.17'];

interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

/** A certificate as OpenSSL reads it, and what it does not tell of it. */
export interface Certificate {
  readonly x509: X509Certificate;
  /** DER, byte for byte. */
  readonly raw: Buffer;
  /** DER of its issuer's name. */
  readonly issuer: Buffer;
  /** Content of the INTEGER. */
  readonly serial: Buffer;
  readonly signatureAlgorithm: string;
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** Reads a certificate (RFC 5280 §4.1). @throws DerError */
export function readCertificate(raw: Buffer): Certificate {
  const fields = fieldsOf(readDer(raw), TAG.sequence, 'a certificate');
  const body = fieldsOf(fields.next(TAG.sequence, 'body'), TAG.sequence, 'a certificate');
  const algorithm = fieldsOf(fields.next(TAG.sequence, 'algorithm'), TAG.sequence, 'the algorithm of a certificate');
  body.maybe('c0');
  const serial = body.next(TAG.integer, 'serial number');
  body.next(TAG.sequence, 'algorithm');
  const issuer = body.next(TAG.sequence, 'issuer');
  for (const part of ['validity', 'subject', 'key']) body.next(TAG.sequence, part);
  body.maybe('c1');
  body.maybe('c2');
  const extensions = body.maybe('c3');
  body.end();
  return {
    x509: opened(raw),
    raw,
    issuer: issuer.raw,
    serial: Buffer.from(serial.content),
    signatureAlgorithm: oidOf(algorithm.next(TAG.oid, 'name'), 'an algorithm'),
    extensions: extensions === null ? new Map() : extensionsOf(fieldsOf(extensions, 'c3', 'a certificate').next(TAG.sequence, 'extensions')),
  };
}

function opened(raw: Buffer): X509Certificate {
  try {
    const x509 = new X509Certificate(raw);
    void x509.publicKey; // of a kind that OpenSSL knows
    return x509;
  } catch (error) {
    throw new DerError(`a certificate cannot be read: ${(error as Error).message}`);
  }
}

/** Extensions by their identifiers (RFC 5280 §4.2). @throws DerError for one that stands there twice */
export function extensionsOf(list: Der): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>();
  for (const item of itemsOf(list, TAG.sequence, 'the list of extensions')) {
    const fields = fieldsOf(item, TAG.sequence, 'an extension');
    const id = oidOf(fields.next(TAG.oid, 'name'), 'an extension');
    const flag = fields.maybe(TAG.boolean);
    if (found.has(id)) fail(`the extension ${id} stands there twice`);
    found.set(id, { critical: flag !== null && flag.content[0] !== 0, value: octetsOf(fields.next(TAG.octets, 'value'), 'an extension') });
  }
  return found;
}

function purposesOf({ extensions }: Certificate): readonly string[] | null {
  const found = extensions.get(EXTENSION.extendedKeyUsage);
  return found === undefined ? null : itemsOf(readDer(found.value), TAG.sequence, 'the purposes of a key').map((one) => oidOf(one, 'a purpose'));
}

/**
 * Why a certificate is none of a time-stamping authority; null: it is one. Its key is for that alone, and says so in a critical
 * extension (RFC 3161 §2.3); what the key may be used for otherwise is signing.
 */
export function signerFault(certificate: Certificate): string | null {
  const purposes = purposesOf(certificate);
  if (purposes?.length !== 1 || purposes[0] !== PURPOSE.timeStamping) return 'its certificate is not for time-stamping alone';
  if (certificate.extensions.get(EXTENSION.extendedKeyUsage)?.critical !== true) return 'that its certificate is for time-stamping is not critical in it';
  const usage = certificate.extensions.get(EXTENSION.keyUsage);
  return usage === undefined || isForSigning(readDer(usage.value)) ? null : 'its certificate is for other uses of the key than signing';
}

/** digitalSignature, nonRepudiation or both, and nothing else (RFC 5280 §4.2.1.3). */
function isForSigning({ tag, content }: Der): boolean {
  const [, first = 0, ...more] = content;
  return tag === TAG.bits && (first & 0xc0) !== 0 && (first & 0x3f) === 0 && more.every((byte) => byte === 0);
}

/** Certificates that tokens have to lead to, and others that stand beside them. */
export interface Trust {
  readonly anchors: readonly Certificate[];
  readonly others: readonly Certificate[];
}

/**
 * The certificates of a PEM text. Those that have signed themselves are trusted, the others are links that a token may leave out: as
 * `openssl ts -verify -CAfile` takes them.
 *
 * @returns `bad`: none in it is trusted, or one cannot be read
 */
export function readTrust(pem: string): Trust | { readonly bad: string } {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  try {
    const all = blocks.map((block) => readCertificate(new X509Certificate(block).raw));
    const anchors = all.filter(({ x509 }) => x509.checkIssued(x509) && x509.verify(x509.publicKey)); // by whatever algorithm: it is trusted because it stands here
    return anchors.length === 0 ? { bad: 'it holds no certificate that has signed itself' } : { anchors, others: all.filter((one) => !anchors.includes(one)) };
  } catch (error) {
    return { bad: (error as Error).message };
  }
}

function isIssuedBy({ x509, signatureAlgorithm }: Certificate, issuer: Certificate): boolean {
  return x509.checkIssued(issuer.x509) && isStrong(signatureAlgorithm) && x509.verify(issuer.x509.publicKey);
}

const MAX_LENGTH = 8;
/** Signatures that are looked at for one chain: who sends many certificates of one name costs no more. */
const MAX_CHECKS = 64;

interface Search extends Trust {
  readonly atMs: number;
  readonly left: { checks: number };
}

/**
 * Why a certificate does not lead to one that is trusted, each on the way valid at that time and allowed to issue the one below;
 * null: it does (RFC 5280 §6.1, of which names and policies of issuers are not taken: who restricts them is not followed).
 *
 * @param others Certificates that may be on the way.
 * @throws DerError for an extension that cannot be read
 */
export function chainFault(certificate: Certificate, { anchors, others, atMs }: Trust & { readonly atMs: number }): string | null {
  return climb([certificate], { anchors, others, atMs, left: { checks: MAX_CHECKS } });
}

function climb(way: readonly Certificate[], search: Search): string | null {
  const last = way.at(-1) as Certificate;
  const fault = faultOn(last, way.length - 1, search.atMs);
  if (fault !== null || search.anchors.some(({ raw }) => raw.equals(last.raw))) return fault;
  if (way.length === MAX_LENGTH) return 'its certificate is too far from one that is trusted';
  let reason = `no certificate that is trusted has issued ${nameOf(last)}`;
  for (const issuer of [...search.anchors, ...search.others]) {
    if (way.some(({ raw }) => raw.equals(issuer.raw)) || !last.x509.checkIssued(issuer.x509)) continue;
    if ((search.left.checks -= 1) < 0) return 'its certificates lead to too many others';
    if (!isIssuedBy(last, issuer)) continue;
    const above = climb([...way, issuer], search);
    if (above === null) return null;
    reason = above;
  }
  return reason;
}

/** @param below certificates between this one and the key that is asked about, that of the key among them */
function faultOn(certificate: Certificate, below: number, atMs: number): string | null {
  const { x509, extensions } = certificate;
  const name = nameOf(certificate);
  if (atMs < x509.validFromDate.getTime() || atMs > x509.validToDate.getTime()) return `${name} was not valid at ${new Date(atMs).toISOString()}`;
  const weakness = weaknessOf(x509.publicKey);
  if (weakness !== null) return `${name} has ${weakness}`;
  const unknown = [...extensions].find(([id, { critical }]) => critical && !KNOWN_CRITICAL.includes(id));
  if (unknown !== undefined) return `${name} has the critical extension ${unknown[0]}, which is not known here`;
  return below === 0 ? null : issuerFault(certificate, below);
}

function issuerFault(certificate: Certificate, below: number): string | null {
  const purposes = purposesOf(certificate);
  if (!certificate.x509.ca) return `${nameOf(certificate)} may not issue certificates`;
  if (purposes !== null && !purposes.includes(PURPOSE.timeStamping) && !purposes.includes(PURPOSE.any)) return `${nameOf(certificate)} may not issue those of time-stamping authorities`;
  return below - 1 > mostBelow(certificate) ? `${nameOf(certificate)} may not be so far above` : null;
}

/** Issuers that may be between a certificate and what it leads to. */
function mostBelow({ extensions }: Certificate): number {
  const found = extensions.get(EXTENSION.constraints);
  if (found === undefined) return 0;
  const fields = fieldsOf(readDer(found.value), TAG.sequence, 'the constraints of an issuer');
  fields.maybe(TAG.boolean);
  const most = fields.maybe(TAG.integer);
  return most === null ? Number.POSITIVE_INFINITY : most.content.readUIntBE(0, Math.min(most.content.length, 6));
}

/** Its subject in one line. */
export function nameOf({ x509 }: Certificate): string {
  return x509.subject.replaceAll('\n', ', ');
}
