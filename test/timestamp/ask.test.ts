import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { checkTimeStamp, formatQuestion, httpTimeStamper, newNonce, type Stamped } from '@caisson/timestamp';
import { ANSWER_TYPE, answering, Authority, HONEST, openssl, POLICY, serve, type Between } from './given.ts';

const DATA = Buffer.from('caisson.example/evidence\n3\nc29tZSByb290\n');

let dir: string;
let authority: Authority;
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'caisson-tsa-'));
  authority = await Authority.make(dir);
});
after(() => rmSync(dir, { recursive: true, force: true }));

const askAt = async (url: string, more: { readonly timeoutMs?: number; readonly policy?: string } = {}): Promise<Stamped> =>
  httpTimeStamper({ url, trust: authority.trust, hash: 'sha256', timeoutMs: 10_000, answerBytes: 65_536, ...more }).stamp(DATA, new AbortController().signal);

suite('who asks a time-stamping authority', () => {
  test('gets an answer that holds, and that openssl takes as it is', async (t) => {
    const stamped = await askAt(await serve(t, authority), { policy: POLICY });
    assert.ok('stamp' in stamped, JSON.stringify(stamped));
    writeFileSync(`${dir}/data`, DATA);
    writeFileSync(`${dir}/answer`, stamped.answer);
    assert.match((await openssl('ts', '-verify', '-data', `${dir}/data`, '-in', `${dir}/answer`, '-CAfile', authority.root.cert)).toString(), /Verification: OK/);
    assert.deepEqual(checkTimeStamp(stamped.answer, { data: DATA, trust: authority.trust }), stamped.stamp);
  });

  test('sends a question that openssl reads: the digest and not the data, a nonce that is new each time, and that certificates are wanted', async (t) => {
    const questions: Buffer[] = [];
    const types: (string | undefined)[] = [];
    const url = await serve(t, authority, () => async (given) => {
      questions.push(given.question);
      types.push(given.request.headers['content-type']);
      await HONEST(given);
    });
    await askAt(url);
    await askAt(url, { policy: '1.2.3.4.2' });
    const texts = await Promise.all(questions.map(async (question, at) => {
      writeFileSync(`${dir}/question-${at}`, question);
      return (await openssl('ts', '-query', '-in', `${dir}/question-${at}`, '-text')).toString();
    }));
    for (const text of texts) assert.match(text, /Version: 1\nHash Algorithm: sha256\n[^]*Nonce: 0x[0-9A-F]{16}\nCertificate required: yes\n/);
    assert.match(texts[1] ?? '', /Policy OID: 1\.2\.3\.4\.2/);
    assert.notEqual(/Nonce: (\S+)/.exec(texts[0] ?? '')?.[1], /Nonce: (\S+)/.exec(texts[1] ?? '')?.[1]);
    assert.deepEqual(types, ['application/timestamp-query', 'application/timestamp-query']);
  });

  test('takes no answer that was good for another question, by whom ever it is brought', async (t) => {
    let first: Buffer | undefined;
    const url = await serve(t, authority, () => async ({ good, response }) => void response.writeHead(200, { 'content-type': ANSWER_TYPE }).end((first ??= await good())));
    assert.ok('stamp' in (await askAt(url)));
    assert.match(JSON.stringify(await askAt(url)), /another question/);
  });

  const send = (make: (good: Buffer, question: Buffer) => Promise<Buffer> | Buffer): Between => async ({ good, question, response }) => void response.writeHead(200, { 'content-type': ANSWER_TYPE }).end(await make(await good(), question));
  const cases: readonly (readonly [string, Between, RegExp])[] = [
    ['is not there at the moment', ({ response }) => void response.writeHead(503).end(), /"away":.*status 503/],
    ['forbids it', ({ response }) => void response.writeHead(403).end(), /"away":.*status 403/],
    ['sends elsewhere', ({ response }) => void response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(), /"away":/],
    ['breaks off', ({ response }) => void response.writeHead(200, { 'content-type': ANSWER_TYPE, 'content-length': '5000' }).write('x', () => response.destroy()), /"away":/],
    ['answers with a page', ({ response }) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), /"bad":.*text\/html/],
    ['answers with a good answer of another type', async ({ good, response }) => void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(await good()), /"bad":.*octet-stream/],
    ['answers without a type', async ({ good, response }) => void response.writeHead(200).end(await good()), /"bad":.*none/],
    ['answers with more than is read', ({ response }) => void response.writeHead(200, { 'content-type': ANSWER_TYPE }).end(Buffer.alloc(70_000)), /"bad":.*more than 65536/],
    ['answers without an end', ({ response }) => { response.writeHead(200, { 'content-type': ANSWER_TYPE }); const more = (): boolean => response.write(Buffer.alloc(16_384), () => response.destroyed || setImmediate(more)); more(); }, /"bad":.*more than 65536/],
    ['answers another question', send(() => authority.answer(formatQuestion({ data: DATA, hash: 'sha256', nonce: newNonce() }))), /"bad":.*another question/],
    ['stamps other data', send((_good, question) => authority.answer(Buffer.concat([question.subarray(0, 30), Buffer.alloc(10, 7), question.subarray(40)]))), /"bad":.*other data/],
    ['cuts its answer', send((good) => good.subarray(0, -1)), /"bad":/],
    ['answers with nothing', send(() => Buffer.alloc(0)), /"bad":.*empty/],
    ['changes a bit of the signature', send((good) => { const changed = Buffer.from(good); changed[good.length - 3] = (changed[good.length - 3] as number) ^ 1; return changed; }), /"bad":/],
    ['is not the one that is trusted', async ({ question, response }) => {
      const other = await Authority.make(mkdtempSync(join(dir, 'other-')));
      response.writeHead(200, { 'content-type': ANSWER_TYPE }).end(await other.answer(question));
    }, /"bad":.*no certificate that is trusted/],
  ];
  for (const [what, between, reason] of cases) {
    test(`keeps nothing of one that ${what}`, async (t) => assert.match(JSON.stringify(await askAt(await serve(t, authority, () => between))), reason));
  }

  test('keeps nothing of one that does not grant the policy that was asked for, and says what it has said', async (t) => {
    assert.match(JSON.stringify(await askAt(await serve(t, authority), { policy: '1.2.3.9' })), /^\{"refused":"status 2: it does not have the policy: .+"\}$/);
  });

  test('waits no longer than it wants for one that is silent, slow from byte to byte, or not there, and is gone when it is closed', async (t) => {
    const slow = await answering(t, (_request, response) => {
      response.writeHead(200, { 'content-type': ANSWER_TYPE });
      const drip = setInterval(() => void response.write('0'), 20);
      response.once('close', () => clearInterval(drip));
    });
    const silent = await answering(t, () => undefined);
    for (const url of [silent, slow]) {
      const beganMs = performance.now();
      assert.deepEqual(await askAt(url, { timeoutMs: 300 }), { away: 'no whole answer within 300 ms' });
      assert.ok(performance.now() - beganMs < 5_000);
    }
    assert.match(JSON.stringify(await askAt('http://127.0.0.1:9/')), /"away":/);
    const closing = new AbortController();
    const asked = httpTimeStamper({ url: silent, trust: authority.trust, hash: 'sha256', timeoutMs: 60_000, answerBytes: 65_536 }).stamp(DATA, closing.signal);
    closing.abort();
    assert.ok('away' in (await asked));
  });
});
