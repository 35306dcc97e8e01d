import { constants, createPrivateKey, generateKeyPairSync, randomBytes, webcrypto, type KeyObject } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type * as X509 from '@peculiar/x509';
import { certifies, type CertificateAuthority } from '@caisson/contract';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** Clocks differ, also that of a sandbox from the host's. */
const BACKDATED_MS = 3_600_000;
/** Certificates of hosts that are held for one sandbox at once. */
const HOSTS_HELD = 128;

/** Loaded when a sandbox first needs it: most never do. */
async function x509(): Promise<typeof X509> {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/**
 * Makes an authority for a sandbox, which can certify these names and those below them, no address and no further authority
 * (RFC 5280 §4.2.1.9, §4.2.1.10).
 *
 * @param names hosts of rules: a name, or `*.` and a name
 */
export async function makeAuthority({ sandbox, names: hosts, expiresMs, wallMs }: { readonly sandbox: string; readonly names: readonly string[]; readonly expiresMs: number; readonly wallMs: number }): Promise<CertificateAuthority> {
  const x = await x509();
  const names = [...new Set(hosts.map((host) => host.replace(/^\*\./, '')))];
  const keys = generateKeyPairSync('ec', { namedCurve: EC.namedCurve });
  const certificate = await x.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=Caisson gate of ${sandbox}`,
    notBefore: new Date(wallMs - BACKDATED_MS),
    notAfter: new Date(expiresMs + BACKDATED_MS),
    keys: await cryptoKeys(keys),
    signingAlgorithm: EC,
    extensions: [
      new x.BasicConstraintsExtension(true, 0, true),
      new x.KeyUsagesExtension(x.KeyUsageFlags.keyCertSign, true),
      new x.Extension(NAME_CONSTRAINTS, true, nameConstraints(names)),
      await x.SubjectKeyIdentifierExtension.create(await publicKey(keys.publicKey)),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), names };
}

/** What the gate shows a sandbox in place of its servers: made for each host when it is first wanted, with one key for all of them. */
export class Certificates {
  readonly #authority: CertificateAuthority;
  readonly #keys = generateKeyPairSync('ec', { namedCurve: EC.namedCurve });
  readonly #contexts = new Map<string, Promise<SecureContext>>();

  constructor(authority: CertificateAuthority) {
    this.#authority = authority;
  }

  certifies(host: string): boolean {
    return certifies(this.#authority, host);
  }

  contextFor(host: string): Promise<SecureContext> {
    const held = this.#contexts.get(host);
    if (held !== undefined) return held;
    const [oldest] = this.#contexts.keys();
    if (this.#contexts.size >= HOSTS_HELD && oldest !== undefined) this.#contexts.delete(oldest);
    const made = this.#issue(host);
    this.#contexts.set(host, made);
    made.catch(() => this.#contexts.delete(host));
    return made;
  }

  async #issue(host: string): Promise<SecureContext> {
    const x = await x509();
    const issuer = new x.X509Certificate(this.#authority.certificate);
    const signingKey = await webcrypto.subtle.importKey('pkcs8', createPrivateKey(this.#authority.key).export({ type: 'pkcs8', format: 'der' }), EC, false, ['sign']);
    const certificate = await x.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: '', // a name longer than 64 characters is no common name: who is meant stands in the alternative names (RFC 9525 §2)
      issuer: issuer.subject,
      notBefore: issuer.notBefore,
      notAfter: issuer.notAfter,
      publicKey: await publicKey(this.#keys.publicKey),
      signingKey,
      signingAlgorithm: EC,
      extensions: [
        new x.BasicConstraintsExtension(false, undefined, true),
        new x.KeyUsagesExtension(x.KeyUsageFlags.digitalSignature, true),
        new x.ExtendedKeyUsageExtension([x.ExtendedKeyUsage.serverAuth]),
        new x.SubjectAlternativeNameExtension([{ type: 'dns', value: host }], true),
        await x.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ],
    });
    const key = this.#keys.privateKey.export({ type: 'pkcs8', format: 'pem' });
    // Whoever begins TLS 1.2 anew costs the gate as much as one more connection, and is counted as none (CVE-2011-1473).
    return createSecureContext({ key, cert: `${certificate.toString('pem')}\n`, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION });
  }
}

async function cryptoKeys({ privateKey, publicKey: open }: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }): Promise<webcrypto.CryptoKeyPair> {
  const closed = await webcrypto.subtle.importKey('pkcs8', privateKey.export({ type: 'pkcs8', format: 'der' }), EC, true, ['sign']);
  return { privateKey: closed, publicKey: await publicKey(open) };
}

function publicKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('spki', key.export({ type: 'spki', format: 'der' }), EC, true, ['verify']);
}

/** RFC 5280 §4.1.2.2: positive, and of at most 20 bytes. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0);
  return bytes.toString('hex');
}

const NAME_CONSTRAINTS = '2.5.29.30';
const SEQUENCE = 0x30;
const PERMITTED = 0xa0;
const EXCLUDED = 0xa1;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** NameConstraints (RFC 5280 §4.2.1.10): these names, and no address of either family. */
function nameConstraints(names: readonly string[]): Uint8Array<ArrayBuffer> {
  const subtree = (tag: number, base: Uint8Array): Buffer => der(SEQUENCE, der(tag, base));
  const permitted = names.map((name) => subtree(DNS_NAME, Buffer.from(name, 'ascii')));
  const excluded = [8, 32].map((length) => subtree(IP_ADDRESS, Buffer.alloc(length)));
  return new Uint8Array(der(SEQUENCE, der(PERMITTED, ...permitted), der(EXCLUDED, ...excluded)));
}

/** One value of DER (X.690 §8.1, §10.1). */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = length < 0x100 ? [length] : length < 0x1_0000 ? [length >> 8, length & 0xff] : [length >> 16, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}
