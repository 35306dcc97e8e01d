import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { encodeBundle, formatVerifierKey, type Signer } from '@caisson/tlog';
import { callsOf, entryOf, headOf, newSigner, put, secondOpinion, tempFolder, writeLog } from './given.ts';

/** A full tile of entries and a partial one. */
const SIZE = 300;
const KEPT = 280;
const entries = callsOf(SIZE);
const signer = newSigner();
const FULL = 'tile/entries/000';
const PARTIAL = `tile/entries/001.p/${SIZE - 256}`;

interface Given {
  readonly folder: string;
  readonly signer: Signer;
}

interface Attack {
  readonly name: string;
  readonly change: (given: Given) => void | Promise<void>;
  /** What the first line has to name. */
  readonly first: RegExp;
  /** The attacker can read a kept head, but not change it. Default: nobody kept one. */
  readonly kept?: true;
}

const at = (index: number): Buffer => entries[index] as Buffer;
const edited = (index: number): Buffer => Buffer.from(at(index).toString().replace('"exit"', '"exiT"'));
const swapped = entries.with(10, at(20)).with(20, at(10));

/** Puts other entries into the first bundle, and nothing else. */
function firstBundle(change: (bundle: readonly Buffer[]) => readonly Buffer[]): Attack['change'] {
  return ({ folder }) => put(folder, FULL, encodeBundle(change(entries.slice(0, 256))));
}

/** A whole log anew, by whoever has the key of the log. */
function signedAnew(other: readonly Buffer[]): Attack['change'] {
  return async ({ folder, signer: own }) => {
    rmSync(join(folder, 'tile'), { recursive: true });
    await writeLog(folder, other, own);
  };
}

/** A whole log anew, but for the head, which only the key of the log can sign. */
function madeAnew(other: readonly Buffer[]): Attack['change'] {
  return async (given) => {
    const head = readFileSync(join(given.folder, 'checkpoint'));
    await signedAnew(other)(given);
    put(given.folder, 'checkpoint', head);
  };
}

function changeByte(path: string, offset: number): Attack['change'] {
  return ({ folder }) => {
    const bytes = readFileSync(join(folder, path));
    bytes[offset] = (bytes[offset] as number) ^ 1;
    put(folder, path, bytes);
  };
}

const renumbered = (list: readonly Buffer[]): readonly Buffer[] => list.map((entry, index) => Buffer.from(entry.toString().replace(/"index":\d+/, `"index":${index}`)));

const attacks: readonly Attack[] = [
  { name: 'an edited entry', change: firstBundle((list) => list.with(7, edited(7))), first: /^bad: entry 7: not what tile\/0\/000 was made of/ },
  { name: 'a deleted entry', change: firstBundle((list) => list.toSpliced(7, 1)), first: /^bad: entry 7: says that it is entry 8/ },
  { name: 'an inserted entry', change: firstBundle((list) => list.toSpliced(7, 0, entryOf(7, { kind: 'alert' }))), first: /^bad: entry 7: not what tile\/0\/000 was made of\nbad: entry 8: says that it is entry 7/ },
  { name: 'two entries that changed places', change: firstBundle(() => swapped.slice(0, 256)), first: /^bad: entry 10: says that it is entry 20/ },
  { name: 'an entry that is there twice', change: firstBundle((list) => list.toSpliced(7, 0, at(7))), first: /^bad: entry 8: says that it is entry 7/ },
  { name: 'the first entries cut off', change: firstBundle((list) => list.slice(3)), first: /^bad: entry 0: says that it is entry 3/ },
  { name: 'the first entries cut off, and all tiles made for it', change: madeAnew(entries.slice(3)), first: /^bad: entry 0: says that it is entry 3/ },
  { name: 'a middle cut out, renumbered and all tiles made for it', change: madeAnew(renumbered(entries.toSpliced(100, 50))), first: /^bad: file tile\/entries\/000: is missing/ },
  { name: 'the last entries cut off', change: madeAnew(entries.slice(0, 290)), first: /^bad: file tile\/entries\/001\.p\/44: is missing/ },
  { name: 'the last bundle cut off', change: ({ folder }) => rmSync(join(folder, PARTIAL)), first: /^bad: file tile\/entries\/001\.p\/44: is missing/ },
  { name: 'the last entries cut off, and a head signed for it', change: signedAnew(entries.slice(0, 270)), first: /^bad: file checkpoint: has 270 entries, and .* has 280: entries were cut off/, kept: true },
  { name: 'an older state of the whole log', change: signedAnew(entries.slice(0, 200)), first: /^bad: file checkpoint: has 200 entries/, kept: true },
  { name: 'a fork that the key of the log has signed', change: signedAnew(entries.with(20, edited(20))), first: /^bad: entries 0 to 279: are not those of /, kept: true },
  { name: 'an edited entry, and all tiles made for it', change: madeAnew(entries.with(20, edited(20))), first: /^bad: file checkpoint: its root is not that of the entries/ },
  { name: 'another key, and all signed by it', change: async ({ folder }) => writeLog(folder, entries, newSigner()), first: /^bad: file .*kept: has no signature of a key of the log/, kept: true },
  { name: 'a head signed by another key of the same name', change: async ({ folder }) => put(folder, 'checkpoint', await headOf(entries, newSigner())), first: /^bad: file checkpoint: has no signature/ },
  { name: 'a head of another log', change: async ({ folder, signer: own }) => put(folder, 'checkpoint', await headOf(entries, own, 'other.example/log')), first: /^bad: file checkpoint: is of the log 'other.example\/log'/ },
  { name: 'a head of another size', change: ({ folder }) => put(folder, 'checkpoint', readFileSync(join(folder, 'checkpoint'), 'utf8').replace('\n300\n', '\n299\n')), first: /^bad: file checkpoint: its signature is not of the key/ },
  { name: 'no head', change: ({ folder }) => rmSync(join(folder, 'checkpoint')), first: /^bad: file checkpoint: is no signed note/ },
  { name: 'bytes after the head', change: ({ folder }) => put(folder, 'checkpoint', `${readFileSync(join(folder, 'checkpoint'), 'utf8')}x`), first: /^bad: file checkpoint: is no signed note/ },
  { name: 'a changed full tile', change: changeByte('tile/0/000', 32 * 9), first: /^bad: file tile\/0\/000: its hash of entry 9 is another/ },
  { name: 'a changed partial tile', change: changeByte('tile/0/001.p/44', 32 * 2), first: /^bad: file tile\/0\/001\.p\/44: its hash of entry 258 is another/ },
  { name: 'a changed tile of a higher level', change: changeByte('tile/1/000.p/1', 0), first: /^bad: file tile\/1\/000\.p\/1: its hash of entries 0 to 255 is another/ },
  { name: 'a tile with bytes after it', change: ({ folder }) => put(folder, 'tile/0/000', Buffer.concat([readFileSync(join(folder, 'tile/0/000')), Buffer.alloc(1)])), first: /^bad: file tile\/0\/000: has 8193 bytes for 8192/ },
  { name: 'a missing tile', change: ({ folder }) => rmSync(join(folder, 'tile/1/000.p/1')), first: /^bad: file tile\/1\/000\.p\/1: is missing/ },
  { name: 'a tile that is a link', change: ({ folder }) => {
    renameSync(join(folder, 'tile/0/000'), join(folder, 'elsewhere'));
    symlinkSync('../../elsewhere', join(folder, 'tile/0/000'));
  }, first: /^bad: file tile\/0\/000: is missing/ },
  { name: 'a bundle with bytes after its last entry', change: ({ folder }) => put(folder, PARTIAL, Buffer.concat([encodeBundle(entries.slice(256)), Buffer.from('x')])), first: /^bad: file tile\/entries\/001\.p\/44: 1 bytes follow/ },
  { name: 'a bundle with an entry more than the head says', change: ({ folder }) => put(folder, PARTIAL, encodeBundle([...entries.slice(256), entryOf(300)])), first: /^bad: file tile\/entries\/001\.p\/44: \d+ bytes follow/ },
  { name: 'a bundle that ends inside a length', change: ({ folder }) => put(folder, PARTIAL, Buffer.concat([encodeBundle(entries.slice(256, 299)), Buffer.from([0])])), first: /^bad: file tile\/entries\/001\.p\/44: entry 43 of it is cut off/ },
  { name: 'a length that takes in the next entry', change: ({ folder }) => {
    const bytes = encodeBundle(entries.slice(0, 256));
    bytes.writeUInt16BE(at(0).length + 2 + at(1).length);
    put(folder, FULL, bytes);
  }, first: /^bad: entry 0: is not canonical JSON/ },
  { name: 'a length beyond the end', change: ({ folder }) => {
    const bytes = encodeBundle(entries.slice(256));
    bytes.writeUInt16BE(65_535);
    put(folder, PARTIAL, bytes);
  }, first: /^bad: file tile\/entries\/001\.p\/44: entry 0 of it is cut off/ },
  { name: 'a fuller bundle with other entries', change: ({ folder }) => put(folder, 'tile/entries/001', encodeBundle(callsOf(512).slice(256).with(3, edited(259)))), first: /^bad: file tile\/entries\/001\.p\/44: is not the beginning of tile\/entries\/001/ },
];

/** Entries that a log must not hold, whoever has signed it. */
const text = (index: number, change: (json: string) => string): Buffer => Buffer.from(change(at(index).toString()));
const badEntries: readonly { readonly name: string; readonly entry: Buffer; readonly why: RegExp }[] = [
  { name: 'white space', entry: text(30, (json) => json.replace(':', ': ')), why: /can be written in another way/ },
  { name: 'fields in another order', entry: text(30, (json) => json.replace(/("index":30),("kind":"intent")/, '$2,$1')), why: /not sorted/ },
  { name: 'a field twice', entry: text(30, (json) => json.replace('"index":30', '"index":30,"index":30')), why: /one twice/ },
  { name: 'a float', entry: text(30, (json) => json.replace('"exit":30', '"exit":30.0')), why: /no whole number/ },
  { name: 'minus zero', entry: text(30, (json) => json.replace('"exit":30', '"exit":-0')), why: /can be written in another way/ },
  { name: 'a number beyond 2^53', entry: text(30, (json) => json.replace('"exit":30', '"exit":9007199254740993')), why: /no whole number/ },
  { name: 'NaN', entry: text(30, (json) => json.replace('"exit":30', '"exit":NaN')), why: /no whole number/ },
  { name: 'an escape that is not needed', entry: text(30, (json) => json.replace('"exit"', '"\\u0065xit"')), why: /can be written in another way/ },
  { name: 'letters in another form than NFC', entry: text(30, (json) => json.normalize('NFD')), why: /can be written in another way/ },
  { name: 'a lone surrogate', entry: text(30, (json) => json.replace('ä', '\\ud800')), why: /can be written in another way/ },
  { name: 'bytes that are not UTF-8', entry: Buffer.concat([at(30).subarray(0, 20), Buffer.from([0xff]), at(30).subarray(20)]), why: /not canonical JSON/ },
  { name: 'nothing', entry: Buffer.alloc(0), why: /not canonical JSON/ },
  { name: 'a list', entry: Buffer.from('[]'), why: /has not the fields/ },
  { name: 'nesting without end', entry: Buffer.from('['.repeat(60_000)), why: /not canonical JSON/ },
  { name: 'a field more', entry: text(30, (json) => json.replace('"source"', '"more":1,"source"')), why: /has not the fields/ },
  { name: 'a field less', entry: text(30, (json) => json.replace('"source":"control",', '')), why: /has not the fields/ },
  { name: 'an index that is true', entry: text(30, (json) => json.replace('"index":30', '"index":true')), why: /another type/ },
  { name: 'a second intent of a subject', entry: entryOf(30, { subject: 'sbx-2' }), why: /is a second intent of 'sbx-2'/ },
  { name: 'a second outcome of a subject', entry: entryOf(30, { kind: 'outcome', subject: 'sbx-2' }), why: /is a second outcome of 'sbx-2'/ },
  { name: 'an outcome without an intent', entry: entryOf(30, { kind: 'outcome', subject: 'sbx-999' }), why: /is an outcome of 'sbx-999', which has no intent/ },
];

suite('a second opinion of a log', () => {
  for (const { name, change, first, kept } of attacks) {
    test(`names the first that is bad after ${name}`, async (t) => {
      const folder = tempFolder(t);
      await writeLog(folder, entries, signer);
      put(folder, 'kept', await headOf(entries.slice(0, KEPT), signer));
      await change({ folder, signer });
      const { status, stdout, stderr } = await secondOpinion(folder, ...(kept === true ? ['--checkpoint', join(folder, 'kept')] : []));
      assert.match(stdout, first, stderr);
      assert.equal(status, 1);
    });
  }

  for (const { name, entry, why } of badEntries) {
    test(`refuses an entry with ${name}, whoever has signed it`, async (t) => {
      const folder = tempFolder(t);
      await writeLog(folder, entries.with(30, entry), signer);
      const { status, stdout, stderr } = await secondOpinion(folder);
      assert.match(stdout, /^bad: entry 30: /, stderr);
      assert.match(stdout, why);
      assert.equal(status, 1);
    });
  }

  test('that is asked with the key from elsewhere refuses the log of whoever has another', async (t) => {
    const folder = tempFolder(t);
    await writeLog(folder, entries, newSigner());
    const { status, stdout } = await secondOpinion(folder, '--key', formatVerifierKey(signer.publicKey));
    assert.match(stdout, /^bad: file checkpoint: has no signature of a key of the log/);
    assert.equal(status, 1);
  });
});
