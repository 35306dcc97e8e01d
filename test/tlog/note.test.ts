import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import {
  cosign, cosignedAtMs, formatCheckpoint, formatNote, formatProof, formatSignerKey, formatVerifierKey, generateKey, openCheckpoint, openNote, parseCheckpoint, parseNote, parseProof, parseSignerKey,
  parseVerifierKey, SIGNATURE_TYPE, signerOf, signNote, type Note,
} from '@caisson/tlog';

/** The note and key of the example in C2SP signed-note. */
const EXAMPLE = `Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
`;
const signer = signerOf(generateKey('example.com/log', SIGNATURE_TYPE.ed25519));
const witness = signerOf(generateKey('witness.example/w1', SIGNATURE_TYPE.cosignature));
const trusted = { logKeys: [signer.publicKey], witnesses: [witness.publicKey] };
const head = { origin: 'example.com/log', size: 20_852_163, root: Buffer.alloc(32, 7) };
const bytesOf = (note: string): Buffer => Buffer.from(note);

suite('a signed note', () => {
  test('is read as the example of C2SP signed-note is', () => {
    const note = parseNote(bytesOf(EXAMPLE)) as Note;
    assert.equal(note.text.split('\n').length, 5);
    assert.deepEqual(note.signatures.map(({ name, id, bytes }) => [name, id, bytes.length]), [['quasimodo.example/salvatore', '367ba04b', 64]]);
    assert.equal(formatNote(note), EXAMPLE);
  });

  test('opens for who trusts its key, and for nobody else', async () => {
    const note = bytesOf(await signNote('text\n', [signer]));
    assert.deepEqual(openNote(note, [signer.publicKey]), { ...(parseNote(note) as Note), signers: [signer.publicKey] });
    const stranger = signerOf(generateKey('example.com/log', SIGNATURE_TYPE.ed25519));
    assert.deepEqual(openNote(note, [stranger.publicKey]), { bad: 'has no signature of a key that is trusted' });
  });

  test('whose text or signature is changed by one bit does not open', async () => {
    const note = bytesOf(await signNote('some text\nand more\n', [signer]));
    fc.assert(fc.property(fc.nat(note.length * 8 - 1), (bit) => {
      const changed = Buffer.from(note);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.ok('bad' in openNote(changed, [signer.publicKey]));
    }), { numRuns: 500 });
  });

  test('with a bad signature of one trusted key is refused, whatever others say', async () => {
    const second = signerOf(generateKey('example.com/second', SIGNATURE_TYPE.ed25519));
    const note = parseNote(bytesOf(await signNote('text\n', [signer, second]))) as Note;
    const [first, other] = note.signatures;
    const forged = formatNote({ ...note, signatures: [{ ...(first as Note['signatures'][0]), bytes: Buffer.alloc(64) }, other as Note['signatures'][0]] });
    assert.ok('bad' in openNote(bytesOf(forged), [signer.publicKey, second.publicKey]));
    assert.ok(!('bad' in openNote(bytesOf(forged), [second.publicKey])), 'a key that is not trusted is passed over');
  });

  test('cannot be made of a text with control characters or without a last newline', async () => {
    for (const text of ['a', 'a\rb\n', 'a\u0000\n', '\ud800\n']) await assert.rejects(signNote(text, [signer]), RangeError);
  });

  test('of any bytes is a note that formats to them, or a reason', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 300 }), fc.string().map((text) => `${text}\n\n— a ${Buffer.from(`four${text}`).toString('base64')}\n`)), (text) => {
      const note = parseNote(bytesOf(text));
      if (!('bad' in note)) assert.equal(formatNote(note), text);
    }));
  });
});

suite('a key', () => {
  test('is written and read again, private and public', () => {
    const key = generateKey('example.com/log', SIGNATURE_TYPE.ed25519);
    assert.deepEqual(parseSignerKey(formatSignerKey(key)), key);
    const { publicKey } = signerOf(key);
    assert.deepEqual(parseVerifierKey(formatVerifierKey(publicKey)), publicKey);
  });

  test('whose id is not its own is none', () => {
    const text = formatVerifierKey(signer.publicKey);
    for (const bad of [text.replace('example.com', 'example.org'), text.slice(0, -4), text.replace('+', ' '), '', 'a+00000000+AQ==']) assert.equal(parseVerifierKey(bad), null, bad);
  });
});

suite('a checkpoint', () => {
  test('opens when its log has signed it, and says what it is a head of', async () => {
    const opened = openCheckpoint(bytesOf(await signNote(formatCheckpoint(head), [signer])), trusted);
    assert.ok(!('bad' in opened));
    assert.deepEqual([opened.origin, opened.size, opened.root], [head.origin, head.size, head.root]);
  });

  test('that only a witness has signed is none of the log', async () => {
    const text = formatCheckpoint(head);
    const note = formatNote({ text, signatures: [await cosign(text, witness, 1_679_315_147_000)] });
    assert.deepEqual(openCheckpoint(bytesOf(note), trusted), { bad: 'has no signature of the log' });
  });

  test('carries what a witness has said, and when; with another time the witness has said nothing', async () => {
    const text = formatCheckpoint(head);
    const cosignature = await cosign(text, witness, 1_679_315_147_999);
    assert.equal(cosignedAtMs(cosignature), 1_679_315_147_000);
    const signed = parseNote(bytesOf(await signNote(text, [signer]))) as Note;
    const both = openCheckpoint(bytesOf(formatNote({ text, signatures: [...signed.signatures, cosignature] })), trusted);
    assert.ok(!('bad' in both));
    assert.deepEqual(both.note.signers.map(({ name }) => name), ['example.com/log', 'witness.example/w1']);
    const later = Buffer.from(cosignature.bytes);
    later.writeBigUInt64BE(1_679_315_148n);
    assert.ok('bad' in openCheckpoint(bytesOf(formatNote({ text, signatures: [...signed.signatures, { ...cosignature, bytes: later }] })), trusted));
  });

  test('is read strictly', () => {
    const text = formatCheckpoint(head);
    assert.deepEqual(parseCheckpoint(text), head);
    assert.deepEqual(parseCheckpoint(`${text}more\n`), { ...head, extensions: ['more'] });
    for (const bad of [text.slice(0, -1), text.replace('20852163', '020852163'), text.replace('20852163', '-1'), text.replace('20852163', '99999999999999999'), text.replace('=', ''), `${text}\nmore\n`, `\n${text}`]) {
      assert.ok('bad' in parseCheckpoint(bad), JSON.stringify(bad));
    }
  });
});

suite('a proof as a file', () => {
  test('is read as it was written, and nothing else is', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
    const checkpoint = 'origin\n1\nroot\n\n— a b\n';
    fc.assert(fc.property(fc.nat(), fc.array(hash, { maxLength: 60 }), fc.option(fc.uint8Array().map((bytes) => Buffer.from(bytes)), { nil: undefined }), (index, hashes, extra) => {
      const proof = { index, hashes, checkpoint, ...(extra === undefined ? {} : { extra }) };
      assert.deepEqual(parseProof(formatProof(proof)), proof);
    }));
    for (const bad of ['', 'c2sp.org/tlog-proof@v1\nindex 01\n\nx', 'c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx', 'c2sp.org/tlog-proof@v2\nindex 1\n\nx', 'c2sp.org/tlog-proof@v1\nindex 1\n']) assert.ok('bad' in parseProof(bad), bad);
  });
});
