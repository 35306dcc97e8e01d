import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { IsolationSpec } from '@caisson/contract';

/** A certificate authority of a test, and a server's certificate for `localhost` that it signed. */
export interface Authority {
  readonly certificate: string;
  /** Certificate and key of a server, as PEM in one text. */
  readonly server: string;
}

/** The spec with a certificate that its sandbox trusts, in its place. */
export function trusting(spec: IsolationSpec, certificate: string): IsolationSpec {
  const at = spec.mounts.findIndex(({ kind }) => kind === 'denials' || kind === 'init');
  return { ...spec, mounts: spec.mounts.toSpliced(at, 0, { kind: 'trust', certificate }) };
}

/** Made anew by openssl, so that no key is kept anywhere. */
export function makeAuthority(name: string): Authority {
  const dir = mkdtempSync(`${tmpdir()}/caisson-authority-`);
  const request = (subject: string, out: string, ...more: string[]): unknown =>
    execFileSync('/usr/bin/openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', subject, '-keyout', `${out}.key`, '-out', `${out}.pem`, ...more], { cwd: dir, stdio: 'ignore' });
  try {
    request(`/CN=${name}`, 'ca', '-addext', 'keyUsage=critical,keyCertSign');
    request('/CN=localhost', 'server', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE');
    return { certificate: readFileSync(`${dir}/ca.pem`, 'utf8'), server: ['server.pem', 'server.key'].map((file) => readFileSync(`${dir}/${file}`, 'utf8')).join('') };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
