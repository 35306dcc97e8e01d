import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import {
  consistencyProof, edgeAt, EMPTY_EDGE, grow, inclusionProof, leafHash, provesConsistency, provesInclusion, readBundle, rootAt, rootOf, rootOfLeaves, TileError, tileTree,
} from '@caisson/tlog';
import { entriesOf, fetchOf, mth, resourcesOf } from './given.ts';

/** Inputs and roots of the test vectors that implementations of RFC 6962 share. */
const INPUTS = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) => Buffer.from(hex, 'hex'));
const ROOTS: Readonly<Record<number, string>> = {
  0: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  1: '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  2: 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  8: '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
};
const big = entriesOf(66_000);
const bigLog = resourcesOf(big.slice(0, 65_800));

suite('the tree', () => {
  test('has the roots of the shared vectors of RFC 6962', () => {
    for (const [size, root] of Object.entries(ROOTS)) assert.equal(rootOfLeaves(INPUTS.slice(0, Number(size)).map(leafHash)).toString('hex'), root);
  });

  test('has at every size the root that RFC 6962 defines, however it has grown', () => {
    let edge = EMPTY_EDGE;
    const entries = entriesOf(300);
    for (const [at, entry] of entries.entries()) {
      edge = grow(edge, leafHash(entry));
      assert.deepEqual(rootOf(edge), mth(entries.slice(0, at + 1)));
    }
  });

  test('is read from its tiles, at every size it ever had, and grows on from there', async () => {
    const tree = tileTree(fetchOf(bigLog), 65_800);
    for (const size of [0, 1, 2, 255, 256, 257, 511, 4_000, 65_535, 65_536, 65_537, 65_800]) {
      assert.deepEqual(await rootAt(tree, size), mth(big.slice(0, size)), `root at ${size}`);
      const edge = await edgeAt(tree, size);
      assert.deepEqual(rootOf(grow(edge, leafHash(Buffer.from('next')))), mth([...big.slice(0, size), Buffer.from('next')]), `growth from ${size}`);
    }
  });

  test('proves every entry to who has the root, and nothing else', async () => {
    const tree = tileTree(fetchOf(bigLog), 65_800);
    await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 65_800 }), fc.nat(), fc.nat(), async (size, at, other) => {
      const index = at % size;
      const proof = await inclusionProof(tree, index, size);
      const given = { index, size, leaf: leafHash(big[index] as Buffer), root: await rootAt(tree, size), proof };
      assert.ok(provesInclusion(given));
      assert.ok(!provesInclusion({ ...given, leaf: leafHash(Buffer.from('forged')) }), 'another entry');
      assert.ok(!provesInclusion({ ...given, proof: [...proof, given.leaf] }), 'a longer proof');
      if (proof.length > 0) assert.ok(!provesInclusion({ ...given, proof: proof.slice(1) }), 'a shorter proof');
      const wrong = other % size;
      if (wrong !== index) assert.ok(!provesInclusion({ ...given, index: wrong }), 'another place');
    }), { numRuns: 300 });
  });

  test('proves that it only grew, and a rewritten beginning fails', async () => {
    const tree = tileTree(fetchOf(bigLog), 65_800);
    await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 65_800 }), fc.nat(), async (to, at) => {
      const from = 1 + (at % to);
      const proof = await consistencyProof(tree, from, to);
      const given = { from, fromRoot: await rootAt(tree, from), to, toRoot: await rootAt(tree, to), proof };
      assert.ok(provesConsistency(given), `${from} to ${to}`);
      const forged = leafHash(Buffer.from('forged'));
      assert.ok(!provesConsistency({ ...given, fromRoot: forged }));
      assert.ok(!provesConsistency({ ...given, toRoot: forged }));
      if (proof.length > 0) assert.ok(!provesConsistency({ ...given, proof: [forged, ...proof.slice(1)] }));
      assert.ok(!provesConsistency({ ...given, proof: [...proof, forged] }));
    }), { numRuns: 300 });
  });

  test('agrees with the definition of proofs for all pairs of small sizes', async () => {
    for (let to = 1; to <= 40; to += 1) {
      const tree = tileTree(fetchOf(resourcesOf(big.slice(0, to))), to);
      for (let from = 0; from <= to; from += 1) {
        const proof = await consistencyProof(tree, from, to);
        assert.ok(provesConsistency({ from, fromRoot: mth(big.slice(0, from)), to, toRoot: mth(big.slice(0, to)), proof }));
        if (from === to) continue;
        const inclusion = await inclusionProof(tree, from, to);
        assert.ok(provesInclusion({ index: from, size: to, leaf: leafHash(big[from] as Buffer), root: mth(big.slice(0, to)), proof: inclusion }));
      }
    }
  });
});

suite('what a store gives', () => {
  test('a full tile stands for a partial one that is gone', async () => {
    const grown = new Map(resourcesOf(big.slice(0, 600)));
    assert.ok(!grown.has('tile/0/000.p/10'));
    assert.deepEqual(await rootAt(tileTree(fetchOf(grown), 10), 10), mth(big.slice(0, 10)));
    assert.deepEqual(await readBundle(fetchOf(grown), 10, 0), big.slice(0, 10));
  });

  test('a missing or cut tile is named', async () => {
    const damaged = new Map(bigLog);
    damaged.delete('tile/0/003');
    await assert.rejects(inclusionProof(tileTree(fetchOf(damaged), 65_800), 800, 65_800), (error) => error instanceof TileError && error.path === 'tile/0/003');
    damaged.set('tile/0/003', Buffer.alloc(100));
    await assert.rejects(inclusionProof(tileTree(fetchOf(damaged), 65_800), 800, 65_800), /tile\/0\/003 has 100 bytes for 8192/);
  });
});
