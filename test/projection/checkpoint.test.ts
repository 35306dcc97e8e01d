import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareReplay, createCheckpoint, emptyState, foldAll, openCheckpointFile, stateBytes, type State } from '@caisson/projection';
import { formatCheckpoint, generateKey, SIGNATURE_TYPE, signerOf, signNote, type Signer } from '@caisson/tlog';
import fc from 'fast-check';
import { logged, madeLog } from './given.ts';

const LINES = logged(madeLog('checkpoint', 120));
const ORIGIN = 'caisson.example/log';
const SIGNER = signerOf(generateKey(ORIGIN, SIGNATURE_TYPE.ed25519));
const stateAt = (entries: number): State => foldAll(emptyState(), LINES.slice(0, entries).map(({ entry }) => entry));
const rootAt = (entries: number): string => LINES[entries - 1]?.hash ?? '';

async function made(entries: number, signer: Signer = SIGNER): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  return createCheckpoint({ state: stateAt(entries), origin: ORIGIN, root: rootAt(entries), timeMs: 1_700_000_000_000, sign: (text) => signNote(text, [signer]) });
}

function refused(file: Buffer, why: RegExp): void {
  const opened = openCheckpointFile(file, [SIGNER.publicKey]);
  assert.match('bad' in opened ? opened.bad : 'it was accepted', why);
}

const parts = (file: Buffer): { version: number; note: string; state: string } => JSON.parse(file.toString()) as { version: number; note: string; state: string };
const whole = (value: object): Buffer => Buffer.from(`${JSON.stringify(value)}\n`);

test('a checkpoint opens to the state and the facts that were signed, and its name says which', async () => {
  const { name, bytes } = await made(100);
  const opened = openCheckpointFile(bytes, [SIGNER.publicKey]);
  if ('bad' in opened) assert.fail(opened.bad);
  assert.ok(stateBytes(opened.state).equals(stateBytes(stateAt(100))));
  const { index, root, origin, stateHash } = opened.facts;
  assert.deepEqual({ index, root, origin }, { index: 99, root: rootAt(100), origin: ORIGIN });
  assert.equal(name, `cp_99_${stateHash.slice(0, 8)}.json`);
  assert.equal(compareReplay(opened, { state: stateAt(100), root: rootAt(100) }), null);
});

test('the state of another entry in the place of the one that is signed is refused without a replay', async () => {
  const [one, other] = [await made(100), await made(90)];
  refused(whole({ ...parts(one.bytes), state: parts(other.bytes).state }), /bytes, not the|not the one that is signed/);
});

test('a state of the same length with one count changed is refused without a replay', async () => {
  const { bytes } = await made(100);
  const state = Buffer.from(parts(bytes).state, 'base64').toString().replace(/"calls":(\d)/, (_, digit) => `"calls":${(Number(digit) + 1) % 10}`);
  refused(whole({ ...parts(bytes), state: Buffer.from(state).toString('base64') }), /not the one that is signed/);
});

test('every fact of the text is signed: index, root, hash, length, origin and time', async () => {
  const { bytes } = await made(100);
  for (const [from, to] of [['entry 99', 'entry 98'], [rootAt(100), rootAt(99)], [/tree 100/, 'tree 101'], [/state (\d)/, 'state 9$1'], ['origin caisson', 'origin Caisson'], ['time 17', 'time 18']] as const) {
    const { note } = parts(bytes);
    const changed = note.replace(from, to);
    assert.notEqual(changed, note);
    refused(whole({ ...parts(bytes), note: changed }), /not of its key/);
  }
});

test('a checkpoint that another key signed is refused, under its own name and under that of the log', async () => {
  refused((await made(100, signerOf(generateKey('evil.example', SIGNATURE_TYPE.ed25519)))).bytes, /no signature of a key that is trusted/);
  refused((await made(100, signerOf(generateKey(ORIGIN, SIGNATURE_TYPE.ed25519)))).bytes, /no signature of a key that is trusted/);
});

test('a field beside note and state is refused, and so are another version, other white space and what is no JSON', async () => {
  const { bytes } = await made(20);
  refused(whole({ ...parts(bytes), meta: { by: 'evil' } }), /other fields/);
  refused(whole({ ...parts(bytes), version: 2 }), /other fields/);
  refused(Buffer.concat([bytes, Buffer.from(' ')]), /other fields/);
  refused(whole({ note: parts(bytes).note }), /no note and state/);
  refused(Buffer.from('null'), /no note and state/);
  refused(Buffer.from('{'), /not JSON/);
});

test('a signature of the same key on a head of the log stands for no state', async () => {
  const { bytes } = await made(20);
  const head = await signNote(formatCheckpoint({ origin: ORIGIN, size: 20, root: Buffer.alloc(32) }), [SIGNER]);
  refused(whole({ ...parts(bytes), note: head }), /is no checkpoint of a state/);
});

test('a signed state that does not follow from the log is found by a replay, and so are another log and one that was cut', async () => {
  const lying = await createCheckpoint({ state: { ...stateAt(100), unread: 7 }, origin: ORIGIN, root: rootAt(100), timeMs: 1, sign: (text) => signNote(text, [SIGNER]) });
  const opened = openCheckpointFile(lying.bytes, [SIGNER.publicKey]);
  if ('bad' in opened) assert.fail(opened.bad);
  assert.match(compareReplay(opened, { state: stateAt(100), root: rootAt(100) }) ?? '', /follows from the log is another/);
  assert.match(compareReplay(opened, { state: stateAt(100), root: rootAt(99) }) ?? '', /another root/);
  assert.match(compareReplay(opened, { state: stateAt(50), root: rootAt(50) }) ?? '', /cut or rolled back/);
});

test('no single changed byte of a checkpoint is accepted', async () => {
  const { bytes } = await made(10);
  fc.assert(fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ by;
    assert.ok('bad' in openCheckpointFile(changed, [SIGNER.publicKey]));
  }), { numRuns: 500 });
});

test('an empty log, and an origin of several lines, give no checkpoint', async () => {
  const sign = (text: string): Promise<string> => signNote(text, [SIGNER]);
  await assert.rejects(createCheckpoint({ state: emptyState(), origin: ORIGIN, root: rootAt(1), timeMs: 1, sign }), RangeError);
  await assert.rejects(createCheckpoint({ state: stateAt(1), origin: 'a\nentry 7', root: rootAt(1), timeMs: 1, sign }), RangeError);
});
