import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { cosign, formatSignature, generateKey, openCheckpoint, parseNote, SIGNATURE_TYPE, signerOf, type Signer } from '@caisson/tlog';
import { askWitness, witnessed, type WitnessAnswer } from '@caisson/witness';
import { fetchFor, forkOf, head, makeWitness, newLog, serveWitness, type GivenLog } from './given.ts';

const log = newLog(300);
const timeoutMs = 5_000;
const asked = async (given: GivenLog, size = given.entries.length): Promise<{ fetch: ReturnType<typeof fetchFor>; checkpoint: Buffer }> => ({ fetch: fetchFor(given), checkpoint: await head(given, size) });
const newWitness = (name = 'witness.example/w1'): Signer => signerOf(generateKey(name, SIGNATURE_TYPE.cosignature));

/** Somebody at an address who answers as told. */
async function answering(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

suite('who asks a witness', () => {
  test('gets its cosignature of every head as the log grows, whatever size it was at', async (t) => {
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    for (const [size, knownSize] of [[10, 0], [10, undefined], [256, 3], [257, 256], [299, 299], [300, 1_000]] as const) {
      const { fetch, checkpoint } = await asked(newLog(size, log.signer));
      const answer = await askWitness({ url: `${url}/`, publicKey: witness.key, timeoutMs }, { fetch, checkpoint, ...(knownSize === undefined ? {} : { knownSize }) });
      assert.ok('line' in answer, `${size}: ${JSON.stringify(answer)}`);
      const opened = openCheckpoint(Buffer.concat([checkpoint, Buffer.from(answer.line)]), { logKeys: [log.signer.publicKey], witnesses: [witness.key] });
      assert.ok('note' in opened && opened.note.signers.includes(witness.key));
      assert.ok(Math.abs(Date.now() - answer.timeMs) < 60_000);
    }
  });

  test('is told of a roll-back and of a fork by alarms', async (t) => {
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    const ask = async (given: GivenLog): Promise<WitnessAnswer> => askWitness({ url, publicKey: witness.key, timeoutMs }, await asked(given));
    assert.ok('line' in (await ask(log)));
    assert.deepEqual(await ask(newLog(299, log.signer)), { alarm: 'rollback', witnessSize: 300 });
    assert.deepEqual(await ask(forkOf(log, 200, 300)), { alarm: 'fork', witnessSize: 300 });
    assert.deepEqual(await ask(forkOf(log, 299, 301)), { alarm: 'fork', witnessSize: 300 });
  });

  test('takes the signature of nobody else, of no other text, and none that is hidden in another note', async (t) => {
    const [own, other] = [newWitness(), newWitness()];
    const given = await asked(log);
    const note = parseNote(given.checkpoint);
    assert.ok(!('bad' in note));
    const line = async (text: string, signer: Signer): Promise<string> => formatSignature(await cosign(text, signer, Date.now()));
    const good = await line(note.text, own);
    const junk = '\u2014 junk AAAAAAAA\n';
    const answers: readonly (readonly [string, string, RegExp | null])[] = [
      ['its own', good, null],
      ['its own among others', `${await line(note.text, newWitness('else'))}${good}`, null],
      ['of another key', await line(note.text, other), /no signature/],
      ['of another key under its id', formatSignature({ ...(await cosign(note.text, other, 0)), id: own.publicKey.id }), /not of its key/],
      ['of another text', await line(note.text.replace('300', '301'), own), /not of its key/],
      ['of a text that the answer makes up', `${junk}\n${await line(`${note.text}\n${junk}`, own)}`, /more than signature lines/],
      ['nothing', '', /./],
      ['a page', '<html>\n', /./],
    ];
    for (const [what, body, refused] of answers) {
      const url = await answering(t, (_request, response) => response.end(body));
      const answer = await askWitness({ url, publicKey: own.publicKey, timeoutMs }, given);
      if (refused === null) assert.deepEqual('line' in answer && answer.line, good, what);
      else assert.match('refused' in answer ? answer.refused : JSON.stringify(answer), refused, what);
    }
  });

  test('waits no longer than it wants, reads no endless answer, follows nobody elsewhere, and asks no witness for ever', async (t) => {
    const own = newWitness();
    const given = await asked(log);
    let size = 0;
    const places: readonly (readonly [string, RequestListener, RegExp])[] = [
      ['silent', () => undefined, /within 300 ms/],
      ['endless', (_request, response) => { const more = (): boolean => response.write(Buffer.alloc(16_384), () => response.destroyed || setImmediate(more)); more(); }, /more than|within/],
      ['elsewhere', (_request, response) => response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(), /redirect|fetch failed/],
      ['unsteady', (_request, response) => response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${(size += 1)}\n`), /every question/],
      ['broken', (_request, response) => response.writeHead(503).end(), /status 503/],
    ];
    for (const [what, listener, away] of places) {
      const url = await answering(t, listener);
      const answer = await askWitness({ url, publicKey: own.publicKey, timeoutMs: what === 'silent' ? 300 : timeoutMs }, given);
      assert.match('away' in answer ? answer.away : JSON.stringify(answer), away, what);
    }
    assert.ok('away' in (await askWitness({ url: 'http://127.0.0.1:1', publicKey: own.publicKey, timeoutMs }, given)), 'nobody there');
    assert.ok('away' in (await askWitness({ url: 'no address', publicKey: own.publicKey, timeoutMs }, given)), 'no address');
  });

  test('is refused when its own log cannot be read or its head is none', async (t) => {
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    const place = { url, publicKey: witness.key, timeoutMs };
    assert.ok('line' in (await askWitness(place, await asked(newLog(10, log.signer)))));
    const answer = await askWitness(place, { fetch: async () => null, checkpoint: await head(log) });
    assert.match('refused' in answer ? answer.refused : '', /cannot be read/);
    assert.ok('refused' in (await askWitness(place, { fetch: fetchFor(log), checkpoint: Buffer.from('hello') })));
  });
});

suite('a quorum', () => {
  test('is of different keys whose signatures are good', async () => {
    const witnesses = [newWitness('w1'), newWitness('w2'), newWitness('w3')] as const;
    const keys = witnesses.map(({ publicKey }) => publicKey);
    const checkpoint = await head(log);
    const note = parseNote(checkpoint);
    assert.ok(!('bad' in note));
    const lines = await Promise.all(witnesses.map(async (signer) => formatSignature(await cosign(note.text, signer, 1_000))));
    const signed = (...which: readonly string[]): Buffer => Buffer.concat([checkpoint, Buffer.from(which.join(''))]);
    assert.deepEqual(witnessed(signed(lines[0] as string, lines[2] as string), keys, 2), { by: ['w1', 'w3'], enough: true });
    assert.deepEqual(witnessed(signed(lines[0] as string, lines[0] as string), keys, 2), { by: ['w1'], enough: false });
    assert.deepEqual(witnessed(signed(...lines), keys, 4), { by: ['w1', 'w2', 'w3'], enough: false });
    assert.ok('bad' in witnessed(checkpoint, keys, 1));
    assert.deepEqual(witnessed(checkpoint, keys, 0), { by: [], enough: true });
    for (const quorum of [-1, 0.5, Number.NaN]) assert.throws(() => witnessed(checkpoint, keys, quorum), RangeError);
    assert.throws(() => witnessed(checkpoint, [log.signer.publicKey], 1), RangeError, 'the log is no witness of itself');
  });

  test('counts a key once, whatever names it goes by', async () => {
    const seed = generateKey('w1', SIGNATURE_TYPE.cosignature).seed;
    const names = ['w1', 'w2'].map((name) => signerOf({ name, type: SIGNATURE_TYPE.cosignature, seed }));
    const checkpoint = await head(log);
    const note = parseNote(checkpoint);
    assert.ok(!('bad' in note));
    const lines = await Promise.all(names.map(async (signer) => formatSignature(await cosign(note.text, signer, 1_000))));
    const counted = witnessed(Buffer.concat([checkpoint, Buffer.from(lines.join(''))]), names.map(({ publicKey }) => publicKey), 2);
    assert.ok('enough' in counted && !counted.enough);
  });
});
