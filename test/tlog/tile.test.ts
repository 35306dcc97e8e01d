import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { decodeBundle, encodeBundle, MAX_ENTRY_BYTES, parseTilePath, partialsOf, tilePath, tilesBetween, type Tile } from '@caisson/tlog';

const tile = fc.record({ level: fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 63 })), index: fc.nat(2_000_000_000), width: fc.integer({ min: 1, max: 256 }) }, { noNullPrototype: true });

suite('a path of a tile', () => {
  test('is that of C2SP tlog-tiles', () => {
    assert.equal(tilePath({ level: 0, index: 1_234_067, width: 256 }), 'tile/0/x001/x234/067');
    assert.equal(tilePath({ level: 'entries', index: 0, width: 3 }), 'tile/entries/000.p/3');
  });

  test('leads back to its tile, and no other text does', () => {
    fc.assert(fc.property(tile, (given) => assert.deepEqual(parseTilePath(tilePath(given)), given)));
    for (const path of ['tile/0/67', 'tile/00/067', 'tile/0/x000/067', 'tile/0/067.p/0', 'tile/0/067.p/256', 'tile/0/067.p/03', 'tile/0/../067', 'tile/0/067/', '/tile/0/067', 'tile/entries/001/002']) {
      assert.equal(parseTilePath(path), null, path);
    }
  });
});

suite('the tiles of a size', () => {
  test('are those of the example of C2SP tlog-tiles for 70,000 entries', () => {
    const tiles = tilesBetween(0, 70_000);
    const count = (level: Tile['level'], full: boolean): number => tiles.filter((each) => each.level === level && (each.width === 256) === full).length;
    assert.deepEqual([count(0, true), count(0, false), count(1, true), count(1, false), count(2, true), count(2, false)], [273, 1, 1, 1, 0, 1]);
    assert.deepEqual(partialsOf(70_000).map(tilePath), ['tile/entries/273.p/112', 'tile/0/273.p/112', 'tile/1/001.p/17', 'tile/2/000.p/1']);
  });

  test('that growth adds are what the larger size has and the smaller has not', () => {
    fc.assert(fc.property(fc.nat(140_000), fc.nat(2_000), (from, more) => {
      const paths = (a: number, b: number): Set<string> => new Set(tilesBetween(a, b).map(tilePath));
      assert.deepEqual(paths(from, from + more), paths(0, from + more).difference(paths(0, from)));
    }), { numRuns: 200 });
  });
});

suite('a bundle', () => {
  test('gives back its entries, and whatever else it is read as is refused', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 256 }), fc.nat(), (entries, cut) => {
      const bytes = encodeBundle(entries);
      assert.deepEqual(decodeBundle(bytes, entries.length), entries.map((entry) => Buffer.from(entry)));
      assert.ok('bad' in decodeBundle(bytes, entries.length + 1));
      if (bytes.length > 0) assert.ok('bad' in decodeBundle(bytes.subarray(0, cut % bytes.length), entries.length));
    }));
  });

  test('holds an entry of 65,535 bytes and none longer', () => {
    assert.ok(!('bad' in decodeBundle(encodeBundle([Buffer.alloc(MAX_ENTRY_BYTES)]), 1)));
    assert.throws(() => encodeBundle([Buffer.alloc(MAX_ENTRY_BYTES + 1)]), RangeError);
  });

  test('of any bytes is entries or a reason', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.nat(256), (bytes, width) => {
      const entries = decodeBundle(Buffer.from(bytes), width);
      if (!('bad' in entries)) assert.deepEqual(encodeBundle(entries), Buffer.from(bytes));
    }));
  });
});
