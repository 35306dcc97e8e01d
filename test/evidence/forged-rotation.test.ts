import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { folderFetch, verifyPublished } from '@caisson/evidence';
import { EMPTY_EDGE, formatCheckpoint, formatVerifierKey, grow, leafHash, rootOf, signNote, type Edge, type PublicKey, type Signer } from '@caisson/tlog';
import { entryOf, newSigner, secondOpinion, writeLog } from '../verify/given.ts';
import { tempDir } from './given.ts';

const edgeOf = (entries: readonly Buffer[]): Edge => entries.reduce((edge, entry) => grow(edge, leafHash(entry)), EMPTY_EDGE);

interface Making {
  readonly from: Signer;
  readonly to: Signer;
  readonly signers?: readonly Signer[];
  readonly edge?: Edge;
  readonly names?: PublicKey | null;
  readonly body?: { readonly [name: string]: string | number };
}

/** The entry after these that hands on, or one that only looks so. */
async function rotation(entries: readonly Buffer[], { from, to, signers = [from, to], edge = edgeOf(entries), names = to.publicKey, body = {} }: Making): Promise<Buffer> {
  const extensions = names === null ? [] : [`key ${formatVerifierKey(names)}`];
  const head = await signNote(formatCheckpoint({ origin: from.publicKey.name, size: edge.size, root: rootOf(edge), extensions }), signers);
  const keys = { from: formatVerifierKey(from.publicKey), to: formatVerifierKey(to.publicKey) };
  return entryOf(entries.length, { kind: 'alert', source: 'scribe', subject: 'key.rotated', body: { alert: 'key-rotated', ...keys, head, ...body } });
}

const calls = (count: number, from = 0): readonly Buffer[] => Array.from({ length: count }, (_, at) => entryOf(from + at, { kind: 'lifecycle' }));

interface Judged {
  /** Index of the first bad entry; null: the log is good. */
  readonly bad: number | null;
  readonly entries: number;
  readonly python: number | null;
  readonly said: string;
}

async function judge(t: TestContext, entries: readonly Buffer[], signer: Signer, key: PublicKey): Promise<Judged> {
  const dir = join(tempDir(t), 'log');
  rmSync(dir, { recursive: true, force: true });
  await writeLog(dir, entries, signer);
  const { bad, entries: good } = await verifyPublished(folderFetch(dir), { keys: [key] });
  const { status, stdout } = await secondOpinion(dir, '--key', formatVerifierKey(key));
  return { bad: bad?.index ?? null, entries: good, python: status, said: stdout };
}

suite('an entry that only looks like a rotation', () => {
  const SIZE = 3;
  const cases: readonly { readonly name: string; readonly forge: (before: readonly Buffer[], own: Signer, other: Signer) => Promise<Buffer> }[] = [
    { name: 'without a signature of the old key', forge: (before, from, to) => rotation(before, { from, to, signers: [to] }) },
    { name: 'without a signature of the new key', forge: (before, from, to) => rotation(before, { from, to, signers: [from] }) },
    { name: 'over a head of another size', forge: (before, from, to) => rotation(before, { from, to, edge: { ...edgeOf(before), size: SIZE - 1 } }) },
    { name: 'over another tree', forge: (before, from, to) => rotation(before, { from, to, edge: edgeOf(calls(SIZE, 7)) }) },
    { name: 'over a head that names another key', forge: (before, from, to) => rotation(before, { from, to, names: from.publicKey }) },
    { name: 'over a head that names no key', forge: (before, from, to) => rotation(before, { from, to, names: null }) },
    { name: 'to the same key', forge: (before, from) => rotation(before, { from, to: from, signers: [from] }) },
    { name: 'to a key of another log', forge: (before, from) => rotation(before, { from, to: newSigner('another.example/log') }) },
    { name: 'that has no head', forge: (before, from, to) => rotation(before, { from, to, body: { head: 7 } }) },
    { name: 'that has no key', forge: (before, from, to) => rotation(before, { from, to, body: { to: 'x' } }) },
    { name: 'in which the old key is another', forge: (before, from, to) => rotation(before, { from, to, body: { from: formatVerifierKey(newSigner().publicKey) } }) },
    { name: 'of no fields', forge: async (before) => entryOf(before.length, { kind: 'alert', source: 'scribe', subject: 'key.rotated', body: {} }) },
  ];
  for (const { name, forge } of cases) {
    test(`${name} is the first bad entry to both verifiers, whoever signs the head`, async (t) => {
      const [own, other] = [newSigner(), newSigner()];
      const before = calls(SIZE);
      const forged = await forge(before, own, other);
      const entries = [...before, forged, entryOf(SIZE + 1, { kind: 'lifecycle' })];
      for (const signer of [own, other]) {
        const { bad, python, said } = await judge(t, entries, signer, own.publicKey);
        assert.deepEqual([bad, python], [SIZE, 1], said);
        assert.match(said, /^bad: entry 3: hands on to no other key/);
      }
    });
  }

  test('is good where it is one, which shows that the others are refused for what they have', async (t) => {
    const [own, other] = [newSigner(), newSigner()];
    const before = calls(SIZE);
    const entries = [...before, await rotation(before, { from: own, to: other }), entryOf(SIZE + 1, { kind: 'lifecycle' })];
    for (const key of [own.publicKey, other.publicKey]) assert.deepEqual(await judge(t, entries, other, key).then(({ bad, python, entries: good }) => [bad, python, good]), [null, 0, 5]);
  });
});

suite('a log of three keys', () => {
  interface Chain {
    readonly keys: readonly [Signer, Signer, Signer];
    readonly entries: readonly Buffer[];
  }
  /** Rotations at 3 and 7, of ten entries. */
  async function chain(): Promise<Chain> {
    const keys = [newSigner(), newSigner(), newSigner()] as const;
    const one = calls(3);
    const two = [...one, await rotation(one, { from: keys[0], to: keys[1] }), ...calls(3, 4)];
    return { keys, entries: [...two, await rotation(two, { from: keys[1], to: keys[2] }), ...calls(2, 8)] };
  }

  test('is good to who has any of them, and to nobody else', async (t) => {
    const { keys, entries } = await chain();
    for (const { publicKey } of keys) assert.deepEqual(await judge(t, entries, keys[2], publicKey).then(({ bad, python }) => [bad, python]), [null, 0]);
    const other = await judge(t, entries, keys[2], newSigner().publicKey);
    assert.deepEqual([other.bad, other.entries, other.python], [0, 0, 1]);
  });

  test('is bad from its last rotation on when a key that was replaced signs its head, to who has any of them', async (t) => {
    const { keys, entries } = await chain();
    for (const signer of [keys[0], keys[1]]) {
      for (const [at, { publicKey }] of keys.entries()) {
        const { bad, python, entries: good } = await judge(t, entries, signer, publicKey);
        assert.deepEqual([bad, good, python], [7, 7, 1], `key ${at}`);
      }
    }
  });

  test('is bad at a rotation that is there twice, moved, or of keys that never were of this log', async (t) => {
    const { keys: [first, second, third], entries } = await chain();
    const [stranger, other] = [newSigner(), newSigner()];
    const twice = [...entries, entryOf(10, { kind: 'alert', source: 'scribe', subject: 'key.rotated', body: (JSON.parse(String(entries[7])) as { body: Record<string, string> }).body })];
    const again = [...entries, await rotation(entries, { from: first, to: second })];
    const foreign = [...entries, await rotation(entries, { from: stranger, to: other })];
    const moved = [...entries.slice(0, 2), entryOf(2, { kind: 'alert', source: 'scribe', subject: 'key.rotated', body: (JSON.parse(String(entries[3])) as { body: Record<string, string> }).body }), ...calls(3, 3)];
    for (const [forged, index, signer] of [[twice, 10, third], [again, 10, third], [foreign, 10, third], [moved, 2, second]] as const) {
      for (const key of [first, second, third]) {
        const { bad, python, said } = await judge(t, forged, signer, key.publicKey);
        assert.deepEqual([bad, python], [index, 1], said);
      }
    }
  });

  test('is bad under the head of a key that it has not handed on to, though that one is trusted', async (t) => {
    const trusted = newSigner();
    const [one, two] = [newSigner(), newSigner()];
    const before = calls(3);
    const entries = [...before, await rotation(before, { from: one, to: two }), ...calls(2, 4)];
    const { bad, python, entries: good } = await judge(t, entries, trusted, trusted.publicKey);
    assert.deepEqual([bad, good, python], [0, 0, 1]);
  });

  test('that was rolled back to before a rotation is good only to who has an earlier key', async (t) => {
    const { keys: [first, second, third], entries } = await chain();
    const cut = entries.slice(0, 3);
    assert.deepEqual(await judge(t, cut, first, first.publicKey).then(({ bad, python }) => [bad, python]), [null, 0]);
    for (const { publicKey } of [second, third]) assert.deepEqual(await judge(t, cut, first, publicKey).then(({ bad, python }) => [bad, python]), [0, 1]);
  });
});
