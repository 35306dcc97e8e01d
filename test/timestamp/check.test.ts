import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { checkTimeStamp, formatQuestion, newNonce, readTrust, type Expected } from '@caisson/timestamp';
import { leastMs } from '../least.ts';
import { Authority, DAY_MS, der, openssl, POLICY, RSA, type Issued } from './given.ts';

const DATA = Buffer.from('caisson.example/evidence\n3\nc29tZSByb290\n');
const NONCE = newNonce();
const QUESTION = formatQuestion({ data: DATA, hash: 'sha256', nonce: NONCE });

let dir: string;
let authority: Authority;
let good: Buffer;
const expected = (): Expected => ({ data: DATA, trust: authority.trust, hash: 'sha256', nonce: NONCE });
const reasonOf = (answer: Buffer, more: Partial<Expected> = {}): string => {
  const checked = checkTimeStamp(answer, { ...expected(), ...more });
  return 'bad' in checked ? checked.bad : 'refused' in checked ? `refused: ${checked.refused}` : 'good';
};

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'caisson-tsa-'));
  authority = await Authority.make(dir);
  good = await authority.answer(QUESTION);
});
after(() => rmSync(dir, { recursive: true, force: true }));

suite('a time-stamp of a real authority', () => {
  test('holds, and says when, how exactly, by whom and under which policy', () => {
    const checked = checkTimeStamp(good, { ...expected(), policy: POLICY });
    assert.ok('timeMs' in checked, JSON.stringify(checked));
    assert.ok(Math.abs(Date.now() - checked.timeMs) < 60_000);
    assert.deepEqual([checked.accuracyMs, checked.authority, checked.policy], [1_500, 'CN=Test TSA', POLICY]);
  });

  for (const [what, algorithm, digest] of [['RSA', RSA, 'sha512'], ['P-384', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'], 'sha384']] as const) {
    test(`holds with a key of ${what}, a digest of ${digest} and an issuer between, which is sent or stands beside what is trusted`, async () => {
      const between = await authority.issue(`between-${what}`, 'Between', { purposes: null, usage: 'critical,keyCertSign', constraints: 'critical,CA:TRUE,pathlen:0', algorithm });
      const signer = await authority.issue(`far-${what}`, 'Far TSA', { issuer: between, algorithm });
      const question = formatQuestion({ data: DATA, hash: digest, nonce: NONCE });
      assert.equal(reasonOf(await authority.answer(question, { signer, chain: between.cert, more: [`-${digest}`] }), { hash: digest }), 'good');
      const alone = await authority.answer(question, { signer });
      assert.match(reasonOf(alone, { hash: digest }), /no certificate that is trusted has issued CN=Far TSA/);
      const both = readTrust(readFileSync(authority.root.cert, 'utf8') + readFileSync(between.cert, 'utf8'));
      assert.ok('anchors' in both && both.anchors.length === 1);
      assert.equal(reasonOf(alone, { hash: digest, trust: both }), 'good');
    });
  }

  test('holds with the older form of the signer’s certificate, which is a digest of SHA-1', async () => {
    const config = readFileSync(`${dir}/config`, 'utf8');
    writeFileSync(`${dir}/config`, config.replace('ess_cert_id_alg = sha256', 'ess_cert_id_alg = sha1'));
    const older = await authority.answer(QUESTION);
    writeFileSync(`${dir}/config`, config);
    assert.equal(older.includes(Buffer.from('060b2a864886f70d010910020c', 'hex')), true);
    assert.equal(reasonOf(older), 'good');
  });

  for (const [what, args, algorithm] of [
    ['in the indefinite form that other makers write', ['-stream'], undefined],
    ['whose signer is named by the identifier of its key', ['-keyid'], undefined],
    ['with PSS', ['-keyopt', 'rsa_padding_mode:pss'], RSA],
  ] as const) {
    test(`holds ${what}`, async () => {
      const signer = algorithm === undefined ? authority.signer : await authority.issue('signer-other', 'Other TSA', { algorithm });
      assert.equal(reasonOf(await authority.signed(good, signer, ['-cades', ...args])), 'good');
    });
  }

  test('holds under a root that has signed itself with SHA-1: it is trusted because somebody says so', async () => {
    const root = await authority.issue('sha1-root', 'SHA-1 Root', { issuer: { cert: `${dir}/sha1-root.pem`, key: '' }, purposes: null, usage: 'critical,keyCertSign', constraints: 'critical,CA:TRUE', digest: 'sha1' });
    const trust = readTrust(readFileSync(root.cert, 'utf8'));
    assert.ok('anchors' in trust);
    assert.equal(reasonOf(await authority.signed(good, await authority.issue('under-sha1', 'Under', { issuer: root })), { trust }), 'good');
  });

  test('that somebody signs in the same form as openssl does is told by its certificate alone', async () => {
    assert.equal(reasonOf(await authority.signed(good, authority.signer)), 'good');
  });
});

suite('a time-stamp is bad', () => {
  const cases: readonly (readonly [string, () => Promise<Buffer>, RegExp, Partial<Expected>?])[] = [
    ['over other data', async () => good, /over other data/, { data: Buffer.from('other') }],
    ['over another digest than was asked for', async () => authority.answer(formatQuestion({ data: DATA, hash: 'sha512', nonce: NONCE })), /digest of sha512/],
    ['that answers another question about the same data', async () => authority.answer(formatQuestion({ data: DATA, hash: 'sha256', nonce: newNonce() })), /another question/],
    ['without the nonce that was sent', async () => authority.answer(await bare()), /another question/],
    ['under another policy', async () => good, /under the policy 1\.2\.3\.4\.1/, { policy: '1.2.3.4.2' }],
    ['by a certificate that nobody trusted has issued', async () => other(), /no certificate that is trusted/],
    ['by a certificate with the names and numbers of the trusted one', async () => twin().then(async (signer) => authority.signed(await authority.answer(QUESTION), signer)), /no certificate that is trusted/],
    ['by a certificate that is for no use', async () => by({ purposes: null }), /not for time-stamping alone/],
    ['by a certificate for servers', async () => by({ purposes: 'critical,serverAuth' }), /not for time-stamping alone/],
    ['by a certificate that is for servers too', async () => by({ purposes: 'critical,timeStamping,serverAuth' }), /not for time-stamping alone/],
    ['by a certificate for anything', async () => by({ purposes: 'critical,anyExtendedKeyUsage' }), /not for time-stamping alone/],
    ['by a certificate that does not insist on its use', async () => by({ purposes: 'timeStamping' }), /not critical/],
    ['by a key that is for encryption as well', async () => by({ usage: 'digitalSignature,keyEncipherment' }), /other uses/],
    ['by a key that may issue certificates', async () => by({ usage: 'digitalSignature,keyCertSign' }), /other uses/],
    ['by a certificate that was over at that time', async () => by({ fromMs: Date.now() - 3 * DAY_MS, toMs: Date.now() - DAY_MS }), /was not valid at/],
    ['by a certificate that was not yet valid at that time', async () => by({ fromMs: Date.now() + DAY_MS }), /was not valid at/],
    ['by a certificate that SHA-1 holds together', async () => by({ digest: 'sha1' }), /no certificate that is trusted/],
    ['by an RSA key of 1024 bits', async () => by({ algorithm: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'] }), /RSA key of 1024/],
    ['by a certificate with a critical extension that nobody here knows', async () => by({ more: ['1.2.3.4.5 = critical,ASN1:UTF8String:x'] }), /critical extension 1\.2\.3\.4\.5/],
    ['by an issuer that may not issue', async () => by({ issuer: await authority.issue('no-issuer', 'No issuer', { purposes: null, usage: 'digitalSignature' }) }), /may not issue|no certificate that is trusted/],
    ['by an issuer that is over', async () => by({ issuer: await issuer('old-issuer', { fromMs: Date.now() - 3 * DAY_MS, toMs: Date.now() - DAY_MS }) }), /Issuer was not valid/],
    ['by an issuer whose certificates are for servers', async () => by({ issuer: await issuer('web-issuer', { purposes: 'serverAuth' }) }), /may not issue those of time-stamping/],
    ['by an issuer that may have none below', async () => far(), /may not be so far above/],
    ['by a signer who does not say which certificate is its own', async () => authority.signed(good, authority.signer, []), /another certificate/],
    ['without its certificate', async () => authority.signed(good, authority.signer, ['-cades', '-nocerts']), /no certificate of its signer/],
    ['that is another kind of content', async () => authority.signed(good, authority.signer, ['-cades'], '1.2.840.113549.1.7.1'), /no time-stamp/],
    ['without signed attributes', async () => authority.signed(good, authority.signer, ['-noattr']), /no signed attributes/],
    ['with two signers', async () => two(), /not one signer/],
    ['whose content was exchanged', async () => exchange(good), /another content|other data|another question/],
    ['that goes on after its end', async () => Buffer.concat([good, Buffer.of(0)]), /after its end/],
    ['that is empty', async () => Buffer.alloc(0), /is empty/],
    ['that is a page', async () => Buffer.from('<html></html>'), /./],
    ['that is granted and not there', async () => der(0x30, der(0x30, der(0x02, Buffer.of(0)))), /no token/],
    ['that is nested without an end', async () => Buffer.concat([Buffer.alloc(60_000, Buffer.from('3080', 'hex')), Buffer.alloc(60_000)]), /no ASN\.1/],
    ['that has more parts than anybody reads', async () => der(0x30, Buffer.alloc(60_000, Buffer.from('0500', 'hex'))), /no ASN\.1/],
    ['that the authority does not grant', async () => refusal(), /^refused: status 2: it does not have the policy: no such policy$/],
  ];
  for (const [what, make, reason, more] of cases) test(what, async () => assert.match(reasonOf(await make(), more), reason));

  let count = 0;
  const by = async (options: Parameters<Authority['issue']>[2]): Promise<Buffer> => authority.signed(good, await authority.issue(`by-${(count += 1)}`, 'By', options), ['-cades', ...(options?.issuer === undefined ? [] : ['-certfile', options.issuer.cert])]);
  const issuer = async (file: string, options: Parameters<Authority['issue']>[2]): Promise<Issued> => authority.issue(file, 'Issuer', { purposes: null, usage: 'critical,keyCertSign', constraints: 'critical,CA:TRUE', ...options });
  const far = async (): Promise<Buffer> => {
    const top = await issuer('top', { constraints: 'critical,CA:TRUE,pathlen:0' });
    const low = await issuer('low', { issuer: top });
    const signer = await authority.issue('far', 'Far', { issuer: low });
    writeFileSync(`${dir}/both.pem`, readFileSync(top.cert, 'utf8') + readFileSync(low.cert, 'utf8'));
    return authority.signed(good, signer, ['-cades', '-certfile', `${dir}/both.pem`]);
  };
  const other = async (): Promise<Buffer> => {
    const folder = mkdtempSync(join(dir, 'other-'));
    return (await Authority.make(folder)).answer(QUESTION);
  };
  /** A certificate of another root of the same name, with the number of the trusted signer’s. */
  const twin = async (): Promise<Issued> => {
    const folder = mkdtempSync(join(dir, 'twin-'));
    const made = await Authority.make(folder);
    const serial = (await openssl('x509', '-in', authority.signer.cert, '-noout', '-serial')).toString().replace(/^serial=|\n$/g, '');
    await openssl('x509', '-req', '-in', `${folder}/signer.csr`, '-CA', made.root.cert, '-CAkey', made.root.key, '-set_serial', `0x${serial}`, '-days', '5', '-extfile', `${folder}/signer.ext`, '-out', made.signer.cert);
    return made.signer;
  };
  const two = async (): Promise<Buffer> => {
    const second = await authority.issue('second', 'Second');
    return authority.signed(good, authority.signer, ['-cades', '-signer', second.cert, '-inkey', second.key]);
  };
  const bare = async (): Promise<Buffer> => {
    writeFileSync(`${dir}/data`, DATA);
    return openssl('ts', '-query', '-data', `${dir}/data`, '-sha256', '-cert', '-no_nonce');
  };
  const refusal = async (): Promise<Buffer> => der(0x30, der(0x30, der(0x02, Buffer.of(2)), der(0x30, der(0x0c, Buffer.from('no such policy'))), der(0x03, Buffer.from('000001', 'hex'))));
  /** The token as it is, with the digest in its content made that of other data. */
  const exchange = async (answer: Buffer): Promise<Buffer> => {
    const at = answer.indexOf(hash('sha256', DATA, 'buffer'));
    return Buffer.concat([answer.subarray(0, at), hash('sha256', 'other', 'buffer'), answer.subarray(at + 32)]);
  };
});

test('certificates that all seem to have issued each other cost no more than a few looks', async () => {
  const evil = await authority.issue('evil', 'Evil', { issuer: { cert: `${dir}/evil.pem`, key: '' }, purposes: null, usage: 'critical,keyCertSign', constraints: 'critical,CA:TRUE' });
  const signer = await authority.issue('evil-signer', 'Evil TSA', { issuer: evil });
  const all: string[] = [];
  for (let number = 1; number <= 14; number += 1) {
    await openssl('x509', '-req', '-in', `${dir}/evil.csr`, '-signkey', evil.key, '-set_serial', String(number), '-days', '5', '-extfile', `${dir}/evil.ext`, '-out', `${dir}/evil-${number}.pem`);
    all.push(readFileSync(`${dir}/evil-${number}.pem`, 'utf8'));
  }
  writeFileSync(`${dir}/evils.pem`, all.join(''));
  const answer = await authority.signed(await authority.answer(QUESTION), signer, ['-cades', '-certfile', `${dir}/evils.pem`]);
  const tookMs = leastMs(1_000, () => assert.match(reasonOf(answer), /lead to too many others/));
  assert.ok(tookMs < 1_000, `${tookMs} ms`);
});

test('certificates that are trusted have signed themselves; a file of which none has, or that cannot be read, is none', () => {
  assert.deepEqual(readTrust(''), { bad: 'it holds no certificate that has signed itself' });
  assert.deepEqual(readTrust(readFileSync(authority.signer.cert, 'utf8')), { bad: 'it holds no certificate that has signed itself' });
  assert.ok('bad' in readTrust('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'));
});

suite('whatever is done to the bytes of an answer', () => {
  const facts = (answer: Buffer): string => JSON.stringify(checkTimeStamp(answer, expected()));

  test('one that is cut anywhere is bad', () => {
    for (let length = 0; length < good.length; length += 1) assert.match(facts(good.subarray(0, length)), /^\{"bad"/, `${length} of ${good.length} bytes`);
  });

  test('a bit that is changed makes it bad, or changes nothing of what it says', () => {
    const whole = facts(good);
    fc.assert(fc.property(fc.nat(good.length * 8 - 1), (bit) => {
      const changed = Buffer.from(good);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      const found = facts(changed);
      return found === whole || /^\{"(bad|refused)"/.test(found);
    }), { numRuns: 1_000 });
  });

  test('bytes that are put in, taken out or repeated make it bad, or change nothing of what it says', () => {
    const whole = facts(good);
    const place = fc.nat(good.length);
    fc.assert(fc.property(place, place, fc.uint8Array({ maxLength: 40 }), (from, to, bytes) => {
      const found = facts(Buffer.concat([good.subarray(0, from), bytes, good.subarray(to)]));
      return found === whole || /^\{"(bad|refused)"/.test(found);
    }), { numRuns: 500 });
  });

  test('bytes that are anything are bad', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => /^\{"(bad|refused)"/.test(facts(Buffer.from(bytes)))), { numRuns: 500 });
  });
});
