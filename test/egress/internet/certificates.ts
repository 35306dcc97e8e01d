import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { promisify } from 'node:util';

const run = promisify(execFile);
const NAME = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i;
const SUBJECT = '/CN=Caisson test';
const LEAF = ['subjectKeyIdentifier=hash', 'basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth'];

/** How the certificate for a server name differs from a good one. */
export interface Presented {
  /** The name it is for. Default: the one that was asked. */
  readonly as?: string;
  /** Signed by itself instead of by the test's authority. Default false. */
  readonly isSelfSigned?: boolean;
  /** Whether its subject alone says the name. Default false. */
  readonly isNamedBySubject?: boolean;
}

const newKey = (): string => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Makes the authority of the fake Internet in this folder: ca.crt and ca.key, and leaf.key for every server. */
export function makeAuthority(dir: string): string {
  writeFileSync(`${dir}/openssl.cnf`, '[req]\ndistinguished_name=dn\n[dn]\n');
  for (const name of ['ca', 'leaf']) writeFileSync(`${dir}/${name}.key`, newKey(), { mode: 0o600 });
  const extensions = ['subjectKeyIdentifier=hash', 'basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
  const argv = ['req', '-x509', '-new', '-config', `${dir}/openssl.cnf`, '-subj', `${SUBJECT} authority`, '-days', '30', '-key', `${dir}/ca.key`];
  execFileSync('openssl', [...argv, '-out', `${dir}/ca.crt`, ...extensions.flatMap((line) => ['-addext', line])], { stdio: 'pipe' });
  return readFileSync(`${dir}/ca.crt`, 'utf8');
}

export interface Certificates {
  /** The context of a server with this name or address. A name that no certificate can carry gets one for `invalid.test`. */
  contextFor(server: string): Promise<SecureContext>;
  present(server: string, how: Presented): void;
}

/** Certificates of any name, made when they are first asked for. */
export function openCertificates(dir: string): Certificates {
  const [key, authority] = [readFileSync(`${dir}/leaf.key`, 'utf8'), readFileSync(`${dir}/ca.crt`, 'utf8')];
  const made = new Map<string, Promise<SecureContext>>();
  const presented = new Map<string, Presented>();
  const make = async (server: string): Promise<SecureContext> => {
    const { as = server, isSelfSigned = false, isNamedBySubject = false } = presented.get(server) ?? {};
    const subject = isIP(as) === 0 ? `DNS:${NAME.test(as) ? as : 'invalid.test'}` : `IP:${as}`;
    const signer = isSelfSigned ? [] : ['-CA', `${dir}/ca.crt`, '-CAkey', `${dir}/ca.key`];
    const argv = ['req', '-x509', '-new', '-config', `${dir}/openssl.cnf`, '-subj', isNamedBySubject ? `/CN=${as}` : SUBJECT, '-days', '30', '-key', `${dir}/leaf.key`, ...signer];
    const extensions = [...(isNamedBySubject ? [] : [`subjectAltName=${subject}`]), ...LEAF, ...(isSelfSigned ? [] : ['authorityKeyIdentifier=keyid'])];
    const { stdout } = await run('openssl', [...argv, ...extensions.flatMap((line) => ['-addext', line])]);
    return createSecureContext({ key, cert: isSelfSigned ? stdout : stdout + authority });
  };
  return {
    contextFor(server) {
      const name = server.toLowerCase();
      const ready = made.get(name) ?? make(name);
      made.set(name, ready);
      return ready;
    },
    present(server, how) {
      presented.set(server.toLowerCase(), how);
      made.delete(server.toLowerCase());
    },
  };
}
