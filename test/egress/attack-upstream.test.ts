import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const PUBLIC = '93.184.216.34';
const WAIT_MS = 15_000;
const VALUE = `upstream-${process.pid}-secret`;
/** Names whose server must not be believed, and why. */
const BAD = {
  expired: 'its certificate is over',
  early: 'its certificate does not hold yet',
  client: 'its certificate is for clients',
  leaf: 'its certificate was signed by one that is no authority',
  constrained: 'its authority may not speak for the name',
  weak: 'its key has 512 bits',
  tls11: 'it speaks TLS 1.1 at most',
  anonymous: 'it has no certificate',
  null: 'it does not encrypt',
} as const;
const SERVER = ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth', 'basicConstraints=critical,CA:FALSE'];
const AUTHORITY = ['keyUsage=critical,keyCertSign', 'basicConstraints=critical,CA:TRUE'];

interface Seen {
  readonly name: string;
  readonly handshake?: boolean;
  readonly got?: string;
  readonly certificate?: unknown;
}

interface Certificate {
  readonly key: string;
  readonly pem: string;
}

/** Makes the certificates of BAD, all below the authority of the fake Internet or below one that it signed. */
function makeCertificates(folder: string, caFile: string): void {
  const authority = dirname(caFile);
  writeFileSync(`${folder}/index.txt`, '');
  writeFileSync(`${folder}/ca.cnf`, `[req]\ndistinguished_name=p\n[ca]\ndefault_ca=d\n[d]\ndatabase=${folder}/index.txt\nnew_certs_dir=${folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n`);
  const newKey = (bits?: number): string =>
    (bits === undefined ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: bits })).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const openssl = (...argv: readonly string[]): string => execFileSync('openssl', [...argv, '-config', `${folder}/ca.cnf`], { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
  const make = (name: string, extensions: readonly string[], signer: Certificate, { from = 'now', to = 'later', bits }: { readonly from?: string; readonly to?: string; readonly bits?: number } = {}): Certificate => {
    const key = newKey(bits);
    const file = (end: string, text: string): string => {
      writeFileSync(`${folder}/${name}.${end}`, text);
      return `${folder}/${name}.${end}`;
    };
    const request = file('request', openssl('req', '-new', '-subj', `/CN=${name}`, '-key', file('key', key)));
    const times = [...(from === 'now' ? [] : ['-startdate', from]), ...(to === 'later' ? ['-days', '30'] : ['-enddate', to])];
    const pem = openssl('ca', '-batch', '-notext', '-in', request, '-cert', file('signer', signer.pem), '-keyfile', file('signer-key', signer.key), '-extfile', file('extensions', `${extensions.join('\n')}\n`), ...times);
    return { key, pem };
  };
  const root = { pem: readFileSync(caFile, 'utf8'), key: readFileSync(`${authority}/ca.key`, 'utf8') };
  const names = (name: string): string => `subjectAltName=DNS:${name}.upstream.test,DNS:*.upstream.test`;
  const write = (name: string, { key, pem }: Certificate, ...chain: readonly string[]): void => writeFileSync(`${folder}/${name}.pem`, [key, pem, ...chain, root.pem].join(''));

  write('good', make('good', [names('good'), ...SERVER], root));
  write('expired', make('expired', [names('expired'), ...SERVER], root, { from: '20200101000000Z', to: '20200201000000Z' }));
  write('early', make('early', [names('early'), ...SERVER], root, { from: '20990101000000Z', to: '20990201000000Z' }));
  write('client', make('client', [names('client'), ...SERVER.map((line) => line.replace('serverAuth', 'clientAuth'))], root));
  const plain = make('plain', ['subjectAltName=DNS:plain.test', ...SERVER], root);
  write('leaf', make('leaf', [names('leaf'), ...SERVER], plain), plain.pem);
  const held = make('held', [...AUTHORITY, 'nameConstraints=critical,permitted;DNS:.other.test'], root);
  write('constrained', make('constrained', [names('constrained'), ...SERVER], held), held.pem);
  write('weak', make('weak', [names('weak'), ...SERVER], root, { bits: 512 }));
}

describe('a server that the gate asks by TLS', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  let box: Box;
  const seen: Seen[] = [];
  const hosts = [...Object.keys(BAD), 'good', 'asks'].map((name) => `${name}.upstream.test`);
  const folder = mkdtempSync(`${tmpdir()}/caisson-upstream-`);
  const closing = new AsyncDisposableStack();
  before(async () => {
    closing.defer(() => rmSync(folder, { recursive: true, force: true }));
    scene = closing.use(await openScene({
      ownPorts: [443],
      policy: ({ net, dir }) => {
        writeFileSync(`${dir}.secret`, VALUE, { mode: 0o600 });
        closing.defer(() => rmSync(`${dir}.secret`, { force: true }));
        return { network: { certificateAuthorities: [net.caPem] }, secrets: { api: { from: `file:/${dir.slice(1)}.secret`, hosts } } };
      },
    }));
    for (const name of hosts) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
    makeCertificates(folder, scene.net.caFile);
    copyFileSync(scene.net.caFile, `${folder}/ca.crt`);
    const [program = '', ...argv] = scene.net.inInternet(['python3', `${import.meta.dirname}/attack-upstream-server.py`, folder]);
    const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    closing.defer(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    createInterface({ input: child.stdout }).on('line', (line) => seen.push(JSON.parse(line) as Seen));
    await until(({ name }) => name === 'ready');
    box = closing.use(await scene.open({ level: 'container', secrets: ['api'] }));
  });
  after(() => closing.disposeAsync());

  /** The first connection from here on of which this is true. */
  async function until(isIt: (each: Seen) => boolean): Promise<Seen> {
    for (const untilMs = performance.now() + WAIT_MS; ; await delay(20)) {
      const found = seen.find(isIt);
      if (found !== undefined) return found;
      assert.ok(performance.now() < untilMs, JSON.stringify(seen));
    }
  }

  const ask = async (name: string): Promise<string> => {
    const { stdout, stderr } = await box.exec(['sh', '-c', `curl -sS --http1.1 --max-time 20 -w "\\n%{http_code}" -H "Authorization: Bearer $API" https://${name}.upstream.test/`]);
    return `${stdout.toString()}${stderr}`;
  };

  test('control: is sent the secret when its certificate and its TLS are good', async () => {
    seen.length = 0;
    assert.match(await ask('good'), /here\n200/);
    assert.match((await until(({ name }) => name === 'good')).got ?? '', new RegExp(`Bearer ${VALUE}`));
  });

  for (const [name, why] of Object.entries(BAD)) {
    test(`is sent nothing when ${why}`, async () => {
      seen.length = 0;
      const said = await ask(name);
      assert.match(said, /\n502$/, said);
      const { got } = await until((each) => each.name === name);
      assert.equal(got, '');
    });
  }

  test('that asks for a certificate of the gate gets none', async () => {
    seen.length = 0;
    assert.match(await ask('asks'), /here\n200/);
    assert.equal((await until(({ name }) => name === 'asks')).certificate, null);
  });

  test('and a client cannot have its handshake again on the connection that it has (CVE-2011-1473)', { timeout: 60_000 }, async () => {
    const renew = `(for n in 1 2 3 4 5 6 7 8; do sleep 0.3; echo R; done; sleep 1) | timeout 20 openssl s_client -tls1_2 -connect good.upstream.test:443 -servername good.upstream.test 2>&1; echo "ended $?"`;
    const { stdout } = await box.exec(['sh', '-c', renew]);
    const [first = '', ...again] = stdout.toString().split('RENEGOTIATING');
    assert.match(first, /Verify return code: 0/, 'control: it has spoken with the gate');
    assert.ok(again.length >= 1, 'control: it has asked for it');
    assert.doesNotMatch(again.join(''), /verify return/, stdout.toString());
  });
});
