import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { readTrust, type Trust } from '@caisson/timestamp';

const run = promisify(execFile);
export const ANSWER_TYPE = 'application/timestamp-reply';
export const POLICY = '1.2.3.4.1';
export const DAY_MS = 86_400_000;

/** What closes with a test, or with a suite. */
export interface Ending {
  after(close: () => unknown): void;
}

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly issuer?: Issued;
  /** Line of openssl's extendedKeyUsage; null: the extension is not there. */
  readonly purposes?: string | null;
  readonly usage?: string | null;
  readonly constraints?: string;
  readonly more?: readonly string[];
  readonly fromMs?: number;
  readonly toMs?: number;
  /** Arguments of openssl genpkey. */
  readonly algorithm?: readonly string[];
  readonly digest?: string;
}

/** Runs openssl(1). Rejects with what it says. */
export async function openssl(...args: readonly string[]): Promise<Buffer> {
  const { stdout } = await run('openssl', [...args], { encoding: 'buffer', maxBuffer: 1024 * 1024 });
  return stdout;
}

const P256 = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
export const RSA = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];

/** A time-stamping authority that openssl(1) is, in a folder: its CA, its certificates and what it answers. */
export class Authority {
  readonly dir: string;
  readonly root: Issued;
  readonly signer: Issued;
  #count = 0;

  private constructor(dir: string) {
    this.dir = dir;
    this.root = { cert: `${dir}/root.pem`, key: `${dir}/root.key` };
    this.signer = { cert: `${dir}/signer.pem`, key: `${dir}/signer.key` };
  }

  static async make(dir: string, name = 'Test'): Promise<Authority> {
    const made = new Authority(dir);
    writeFileSync(`${dir}/index.txt`, '');
    writeFileSync(`${dir}/serial`, '01\n');
    writeFileSync(`${dir}/config`, [
      '[ca]', 'default_ca = d', '[d]', `database = ${dir}/index.txt`, `new_certs_dir = ${dir}`, 'rand_serial = yes', 'unique_subject = no', 'policy = p', 'default_md = sha256',
      '[p]', 'commonName = supplied', '[tsa]', 'default_tsa = t', '[t]', `serial = ${dir}/serial`, 'signer_digest = sha256', `default_policy = ${POLICY}`, 'other_policies = 1.2.3.4.2',
      'digests = sha256, sha384, sha512', 'accuracy = secs:1, millisecs:500', 'ess_cert_id_alg = sha256', '',
    ].join('\n'));
    await made.issue('root', `${name} Root`, { issuer: made.root, purposes: null, usage: 'critical,keyCertSign,cRLSign', constraints: 'critical,CA:TRUE' });
    await made.issue('signer', `${name} TSA`);
    return made;
  }

  get trust(): Trust {
    const trust = readTrust(readFileSync(this.root.cert, 'utf8'));
    if ('bad' in trust) throw new Error(trust.bad);
    return trust;
  }

  /** Makes a key and a certificate for it. */
  async issue(file: string, name: string, options: CertificateOptions = {}): Promise<Issued> {
    const { issuer = this.root, purposes = 'critical,timeStamping', usage = 'critical,digitalSignature', constraints, more = [], fromMs = Date.now() - DAY_MS, toMs = Date.now() + 10 * DAY_MS, algorithm = P256, digest = 'sha256' } = options;
    const made = { cert: `${this.dir}/${file}.pem`, key: `${this.dir}/${file}.key` };
    const lines = [purposes === null ? [] : [`extendedKeyUsage = ${purposes}`], usage === null ? [] : [`keyUsage = ${usage}`], constraints === undefined ? [] : [`basicConstraints = ${constraints}`], more, ['subjectKeyIdentifier = hash']];
    writeFileSync(`${this.dir}/${file}.ext`, `${lines.flat().join('\n')}\n`);
    await openssl('genpkey', ...algorithm, '-out', made.key);
    await openssl('req', '-new', '-key', made.key, '-subj', `/CN=${name}`, '-out', `${this.dir}/${file}.csr`);
    const by = issuer.cert === made.cert ? ['-selfsign', '-keyfile', made.key] : ['-keyfile', issuer.key, '-cert', issuer.cert];
    await openssl('ca', '-batch', '-notext', '-config', `${this.dir}/config`, '-in', `${this.dir}/${file}.csr`, '-out', made.cert, ...by, '-md', digest, '-startdate', stamp(fromMs), '-enddate', stamp(toMs), '-extfile', `${this.dir}/${file}.ext`);
    return made;
  }

  /** What it answers to a question: openssl ts -reply. */
  async answer(question: Buffer, { signer = this.signer, chain, more = [] }: { readonly signer?: Issued; readonly chain?: string; readonly more?: readonly string[] } = {}): Promise<Buffer> {
    const file = `${this.dir}/${(this.#count += 1)}`;
    writeFileSync(`${file}.tsq`, question);
    await openssl('ts', '-reply', '-config', `${this.dir}/config`, '-section', 't', '-queryfile', `${file}.tsq`, '-signer', signer.cert, '-inkey', signer.key, ...(chain === undefined ? [] : ['-chain', chain]), ...more, '-out', `${file}.tsr`);
    return readFileSync(`${file}.tsr`);
  }

  /** The same words signed by whoever has a certificate, whatever that is for; `args` of openssl cms -sign say how. */
  async signed(answer: Buffer, by: Issued, args: readonly string[] = ['-cades'], kind = '1.2.840.113549.1.9.16.1.4'): Promise<Buffer> {
    return this.wrapped(await this.content(answer), by, args, kind);
  }

  /** A TSTInfo that somebody signs. */
  async wrapped(content: Buffer, by: Issued, args: readonly string[] = ['-cades'], kind = '1.2.840.113549.1.9.16.1.4'): Promise<Buffer> {
    const file = `${this.dir}/${(this.#count += 1)}`;
    writeFileSync(`${file}.content`, content);
    await openssl('cms', '-sign', '-binary', '-nodetach', '-nosmimecap', '-md', 'sha256', '-econtent_type', kind, '-in', `${file}.content`, '-signer', by.cert, '-inkey', by.key, ...args, '-outform', 'DER', '-out', `${file}.cms`);
    return granted(readFileSync(`${file}.cms`));
  }

  /** The TSTInfo of an answer. */
  async content(answer: Buffer): Promise<Buffer> {
    const file = `${this.dir}/${(this.#count += 1)}`;
    writeFileSync(`${file}.tsr`, answer);
    await openssl('ts', '-reply', '-config', `${this.dir}/config`, '-section', 't', '-in', `${file}.tsr`, '-token_out', '-out', `${file}.cms`);
    return openssl('cms', '-verify', '-noverify', '-inform', 'DER', '-in', `${file}.cms`);
  }
}

function stamp(ms: number): string {
  return `${new Date(ms).toISOString().replace(/[-:T]|\.\d+Z/g, '')}Z`;
}

/** A value of DER. */
export function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

/** A TimeStampResp that grants a token. */
function granted(token: Buffer): Buffer {
  return der(0x30, der(0x30, der(0x02, Buffer.of(0))), token);
}

/** Somebody at an address who answers as told. */
export async function answering(t: Ending, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/tsr`;
}

/** Who stands between the log and the authority: it has the good answer, and does with it what it wants. */
export type Between = (given: { readonly good: () => Promise<Buffer>; readonly question: Buffer; readonly request: IncomingMessage; readonly response: ServerResponse }) => void | Promise<void>;

export const HONEST: Between = async ({ good, response }) => void response.writeHead(200, { 'content-type': ANSWER_TYPE }).end(await good());

/** The authority behind HTTP. */
export async function serve(t: Ending, authority: Authority, between: () => Between = () => HONEST): Promise<string> {
  return answering(t, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const question = Buffer.concat(parts);
      void Promise.resolve(between()({ good: () => authority.answer(question), question, request, response })).catch(() => response.destroy());
    });
  });
}
