import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { openNote, signNote, type Signer } from '@caisson/tlog';
import { formatRequest, openRecords, parseRequest } from '@caisson/witness';
import { newSigner } from '../verify/given.ts';
import { forkOf, head, makeWitness, newLog, requestFor, rootAfter, send, serveWitness, ORIGIN, type Answered } from './given.ts';

const log = newLog(300);
const SIZE_300: Answered = { status: 409, type: 'text/x.tlog.size', body: '300\n' };

suite('a witness that has signed a head', () => {
  test('signs that head again, and one that it is the beginning of', async (t) => {
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    for (const [old, size] of [[0, 0], [0, 1], [1, 1], [1, 256], [256, 300], [300, 300]] as const) {
      const { status, body } = await send(url, await requestFor(log, old, size));
      assert.equal(status, 200, `${old} to ${size}: ${body}`);
      assert.ok('signers' in openNote(Buffer.concat([await head(log, size), Buffer.from(body)]), [witness.key]));
    }
  });

  const attacks: readonly (readonly [string, () => Promise<Parameters<typeof send>[1]>, Partial<Answered>])[] = [
    ['a fork: another root of the same size', () => requestFor(forkOf(log, 299, 300), 300), SIZE_300],
    ['a fork: a larger log that it does not begin', () => requestFor(forkOf(log, 200, 310), 300), { status: 422 }],
    ['a fork: a larger log without a proof', async () => ({ old: 300, proof: [], checkpoint: await head(newLog(310, log.signer)) }), { status: 422 }],
    ['a roll-back to a head it has signed before', () => requestFor(log, 256, 257), SIZE_300],
    ['a cut tail that says so', () => requestFor(log, 300, 299), { status: 400 }],
    ['a cut tail that says the witness was never there', () => requestFor(log, 0, 299), SIZE_300],
    ['a log that begins anew', () => requestFor(forkOf(log, 0, 310), 0), SIZE_300],
    ['the empty tree', () => requestFor(log, 0, 0), SIZE_300],
    ['an old request, sent again', () => requestFor(log, 1, 256), SIZE_300],
    ['a size that it never had', () => requestFor(newLog(310, log.signer), 305), SIZE_300],
    ['a proof with a hash changed', async () => ({ ...(await requestFor(newLog(310, log.signer), 300)), proof: (await requestFor(newLog(310, log.signer), 300)).proof.map((hash, at) => (at === 0 ? Buffer.alloc(32, 1) : hash)) }), { status: 422 }],
    ['a proof of one hash more', async () => ({ ...(await requestFor(log, 300)), proof: [Buffer.alloc(32)] }), { status: 422 }],
    ['an unknown log', () => requestFor(newLog(310, newSigner('other.example/log')), 300), { status: 404 }],
    ['a head signed by another key of the same name', () => requestFor(newLog(310, newSigner(ORIGIN)), 300), { status: 403 }],
    ['a head whose signature says the right key and is not of it', async () => {
      const forged = newSigner(ORIGIN);
      const liar: Signer = { publicKey: log.signer.publicKey, sign: forged.sign };
      return requestFor({ ...newLog(310), signer: liar }, 300);
    }, { status: 403 }],
    ['a head that was changed after it was signed', async () => ({ ...(await requestFor(newLog(310, log.signer), 300)), checkpoint: Buffer.from((await head(newLog(310, log.signer))).toString().replace('\n310\n', '\n311\n')) }), { status: 403 }],
    ['a note that is signed by the log and is no checkpoint', async () => ({ old: 300, proof: [], checkpoint: Buffer.from(await signNote(`${ORIGIN}\nhello\n`, [log.signer])) }), { status: 400 }],
    ['a body that is nothing', async () => Buffer.alloc(0), { status: 400 }],
    ['a size with a leading zero', async () => Buffer.concat([Buffer.from('old 0300\n\n'), await head(log)]), { status: 400 }],
    ['a size beyond what is counted exactly', async () => Buffer.concat([Buffer.from('old 9007199254740993\n\n'), await head(log)]), { status: 400 }],
    ['a proof of 64 lines', async () => ({ ...(await requestFor(log, 300)), proof: Array.from({ length: 64 }, () => Buffer.alloc(32)) }), { status: 400 }],
    ['a line of the proof that is short', async () => ({ ...(await requestFor(log, 300)), proof: [Buffer.alloc(31)] }), { status: 400 }],
    ['lines that end as on another system', async () => Buffer.concat([Buffer.from('old 300\r\n\r\n'), await head(log)]), { status: 400 }],
  ];

  for (const [what, attack, expected] of attacks) {
    test(`refuses ${what}`, async (t) => {
      const { url } = await serveWitness(t, await makeWitness(t, [log]));
      for (const [old, size] of [[0, 1], [1, 256], [256, 300]] as const) assert.equal((await send(url, await requestFor(log, old, size))).status, 200);
      const answer = await send(url, await attack());
      for (const [field, value] of Object.entries(expected)) assert.equal(answer[field as keyof Answered], value, JSON.stringify(answer));
      assert.ok(!answer.body.includes('\u2014'), 'no signature');
      assert.equal((await send(url, await requestFor(newLog(310, log.signer), 300))).status, 200, 'and it still signs what is honest');
    });
  }

  test('signs one of two forks that come at once', async (t) => {
    const { url } = await serveWitness(t, await makeWitness(t, [log]));
    for (let round = 0; round < 10; round += 1) {
      const size = 300 + round;
      const honest = newLog(310, log.signer);
      const base = await send(url, await requestFor(honest, round === 0 ? 0 : size - 1, size)).then(({ status }) => status);
      assert.equal(base, 200);
    }
    const grown = newLog(310, log.signer);
    const requests = await Promise.all(Array.from({ length: 8 }, (_, at) => requestFor(forkOf({ ...grown, entries: grown.entries.slice(0, 309) }, 309, 310 + at), 309)));
    const answers = await Promise.all(requests.map((request) => send(url, request)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1, 'they are of different sizes, and each is proven from 309 on');
  });

  test('has two processes on one folder, and one of two forks is signed', async (t) => {
    const witness = await makeWitness(t, [log]);
    const [one, other] = [await serveWitness(t, witness), await serveWitness(t, witness)];
    assert.equal((await send(one.url, await requestFor(log, 0, 100))).status, 200);
    const forked = await Promise.all([send(one.url, await requestFor(log, 100, 101)), send(other.url, await requestFor(forkOf(log, 100, 101), 100))]);
    assert.deepEqual(forked.map(({ status }) => status).toSorted((a, b) => a - b), [200, 409]);
    assert.deepEqual(await send(other.url, await requestFor(log, 0, 101)), { ...SIZE_300, body: '101\n' });
  });

  test('is what it was after it was started again, and leaves one file for each log', async (t) => {
    const witness = await makeWitness(t, [log]);
    {
      await using running = await serveWitness(t, witness);
      for (let size = 0; size < 20; size += 1) assert.equal((await send(running.url, await requestFor(log, size, size + 1))).status, 200);
    }
    const { url } = await serveWitness(t, witness);
    assert.deepEqual(await send(url, await requestFor(log, 0, 19)), { ...SIZE_300, body: '20\n' });
    const [folder = '', ...others] = readdirSync(`${witness.dir}/state`);
    assert.deepEqual(others, []);
    assert.equal(readdirSync(`${witness.dir}/state/${folder}`).length, 1);
  });
});

test('of two writers of a record one has it, also when the other is late by many', async (t) => {
  const { dir } = await makeWitness(t, []);
  const [early, late] = [openRecords(`${dir}/state`), openRecords(`${dir}/state`)];
  const at = (size: number): { size: number; root: Buffer } => ({ size, root: rootAfter(log, size) });
  assert.ok(await early.write(ORIGIN, null, at(1)));
  const stale = await late.read(ORIGIN);
  for (const size of [2, 3, 4]) assert.ok(await early.write(ORIGIN, await early.read(ORIGIN), at(size)));
  assert.equal(await late.write(ORIGIN, stale, at(2)), false);
  assert.equal(await late.write(ORIGIN, null, at(9)), false);
  assert.equal((await late.read(ORIGIN))?.size, 4);
});

suite('a stranger', () => {
  test('who sends a huge body is cut off, with and without its length told', async (t) => {
    const { url } = await serveWitness(t, await makeWitness(t, [log]));
    const port = Number(new URL(url).port);
    for (const length of ['Content-Length: 100000000', 'Transfer-Encoding: chunked']) {
      const socket = connect(port, '127.0.0.1');
      const heard: Buffer[] = [];
      const closed = new Promise<void>((done) => socket.once('close', () => done()));
      socket.on('data', (part) => heard.push(part)).on('error', () => undefined);
      socket.write(`POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n${length}\r\n\r\n`);
      const chunk = Buffer.alloc(70_000, 'x');
      socket.write(length.startsWith('Transfer') ? Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]) : chunk);
      await closed;
      assert.match(Buffer.concat(heard).toString(), /^HTTP\/1\.1 413 /);
    }
  });

  test('who sends slowly is cut off, and others are served meanwhile', async (t) => {
    const { url } = await serveWitness(t, await makeWitness(t, [log]));
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const closed = new Promise<void>((done) => socket.once('close', () => done()));
    socket.on('error', () => undefined).resume();
    socket.write('POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nold');
    const drip = setInterval(() => socket.write('x'), 200);
    try {
      assert.equal((await send(url, await requestFor(log, 0, 1))).status, 200);
      await closed;
    } finally {
      clearInterval(drip);
    }
  });

  test('finds nothing at other paths and methods', async (t) => {
    const { url } = await serveWitness(t, await makeWitness(t, [log]));
    assert.equal((await fetch(`${url}/state`)).status, 404);
    assert.equal((await fetch(`${url}/add-checkpoint`)).status, 405);
  });
});

test('a request is read as it was made, and any other bytes are a request or a refusal', async () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
  fc.assert(fc.property(fc.maxSafeNat(), fc.array(hash, { maxLength: 63 }), fc.uint8Array(), (old, proof, rest) => {
    const request = { old, proof, checkpoint: Buffer.from(rest) };
    assert.deepEqual(parseRequest(formatRequest(request)), request);
  }));
  const honest = formatRequest(await requestFor(log, 200));
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(honest.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
    const bytes = Buffer.from(honest);
    for (const [at, value] of changes) bytes[at] = value;
    const read = parseRequest(bytes);
    if (!('bad' in read)) assert.deepEqual(formatRequest(read), bytes);
  }));
});
