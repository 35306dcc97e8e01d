import { EMPTY_ROOT, HASH_BYTES, isPowerOfTwo, nodeHash, splitOf } from './hash.ts';
import { decodeBundle, TILE_WIDTH, tilePath, widthIn, type BadBytes, type Tile } from './tile.ts';
import type { Edge } from './edge.ts';

/** Reads one static resource of a log by its path; null: there is none. Rejects when the store does not answer. */
export type Fetch = (path: string) => Promise<Buffer | null>;

const LEVELS_OF_A_TILE = 8;

/** The hashes of one tree of `size` entries, read from its tiles. What is read is not proven: compare `root` with a signed head. */
export interface TileTree {
  readonly size: number;
  /** Root of the entries from `from` to before `to` (RFC 6962 §2.1); `from` has to be a place where a subtree starts. */
  readonly range: (from: number, to: number) => Promise<Buffer>;
}

/** What is wrong with a resource of the log. */
export class TileError extends Error {
  readonly path: string;
  constructor(path: string, detail: string) {
    super(`${path} ${detail}`);
    this.path = path;
  }
}

/** @param cacheTiles Tiles that are kept in memory, 8 KiB each. Default 64. */
export function tileTree(fetch: Fetch, size: number, cacheTiles = 64): TileTree {
  const cache = new Map<string, Promise<Buffer>>();
  const cached = async (level: number, index: number): Promise<Buffer> => {
    const key = `${level}/${index}`;
    const known = cache.get(key) ?? readTile(fetch, size, { level, index });
    cache.delete(key);
    cache.set(key, known);
    const [oldest] = cache.keys();
    if (cache.size > cacheTiles && oldest !== undefined) cache.delete(oldest);
    return known;
  };
  const node = async (level: number, index: number): Promise<Buffer> => {
    const tileLevel = Math.floor(level / LEVELS_OF_A_TILE);
    const spans = 2 ** (level % LEVELS_OF_A_TILE);
    const first = index * spans;
    const tile = await cached(tileLevel, Math.floor(first / TILE_WIDTH));
    const at = (first % TILE_WIDTH) * HASH_BYTES;
    return perfectRoot(tile.subarray(at, at + spans * HASH_BYTES));
  };
  const range = async (from: number, to: number): Promise<Buffer> => {
    const count = to - from;
    if (count === 0) return EMPTY_ROOT;
    if (isPowerOfTwo(count) && from % count === 0) return node(Math.log2(count), from / count);
    const middle = from + splitOf(count);
    const [left, right] = await Promise.all([range(from, middle), range(middle, to)]);
    return nodeHash(left, right);
  };
  return { size, range };
}

function perfectRoot(hashes: Buffer): Buffer {
  if (hashes.length === HASH_BYTES) return Buffer.from(hashes);
  const middle = hashes.length / 2;
  return nodeHash(perfectRoot(hashes.subarray(0, middle)), perfectRoot(hashes.subarray(middle)));
}

/** A tile of hashes as a tree of `size` has it. @throws TileError when it is missing or has another length. */
export async function readTile(fetch: Fetch, size: number, place: Pick<Tile, 'level' | 'index'>): Promise<Buffer> {
  const { bytes, path, width } = await fetchTile(fetch, size, place);
  const expected = width * HASH_BYTES;
  // A partial tile may be gone once the full one is there (C2SP tlog-tiles, Partial Tiles): its beginning is the same.
  if (bytes.length !== expected && bytes.length !== TILE_WIDTH * HASH_BYTES) throw new TileError(path, `has ${bytes.length} bytes for ${expected}`);
  return bytes.subarray(0, expected);
}

/** The entries of a bundle as a log of `size` has it. @throws TileError when it is missing or is no bundle. */
export async function readBundle(fetch: Fetch, size: number, index: number): Promise<readonly Buffer[]> {
  const { bytes, path, width, full } = await fetchTile(fetch, size, { level: 'entries', index });
  const entries: readonly Buffer[] | BadBytes = decodeBundle(bytes, full ? TILE_WIDTH : width);
  if ('bad' in entries) throw new TileError(path, `is no bundle of entries: ${entries.bad}`);
  return entries.slice(0, width);
}

async function fetchTile(fetch: Fetch, size: number, place: Pick<Tile, 'level' | 'index'>): Promise<{ bytes: Buffer; path: string; width: number; full: boolean }> {
  const width = widthIn(size, place);
  const path = tilePath({ ...place, width });
  if (width === 0) throw new TileError(path, `is not in a log of ${size} entries`);
  const bytes = await fetch(path);
  if (bytes !== null) return { bytes, path, width, full: width === TILE_WIDTH };
  const whole = tilePath({ ...place, width: TILE_WIDTH });
  const instead = width === TILE_WIDTH ? null : await fetch(whole);
  if (instead === null) throw new TileError(path, 'is missing');
  return { bytes: instead, path: whole, width, full: true };
}

/** Root of the first `size` entries. */
export function rootAt(tree: TileTree, size: number): Promise<Buffer> {
  return tree.range(0, size);
}

/** What growth of a tree needs, from its tiles. */
export async function edgeAt(tree: TileTree, size: number): Promise<Edge> {
  const hashes: Buffer[] = [];
  for (let from = 0; from < size; ) {
    let span = 1;
    while (span * 2 <= size - from) span *= 2;
    hashes.push(await tree.range(from, from + span));
    from += span;
  }
  return { size, hashes };
}

/** Proof that the entry at `index` is in the first `size` (RFC 6962 §2.1.1). */
export async function inclusionProof({ range }: TileTree, index: number, size: number): Promise<readonly Buffer[]> {
  const path = (from: number, to: number): Promise<Buffer>[] => {
    if (to - from === 1) return [];
    const middle = from + splitOf(to - from);
    return index < middle ? [...path(from, middle), range(middle, to)] : [...path(middle, to), range(from, middle)];
  };
  return Promise.all(path(0, size));
}

/** Proof that the first `from` entries begin the first `to` (RFC 6962 §2.1.2). */
export async function consistencyProof({ range }: TileTree, from: number, to: number): Promise<readonly Buffer[]> {
  if (from === 0 || from === to) return [];
  const path = async (old: number, first: number, end: number, whole: boolean): Promise<Buffer[]> => {
    if (old === end - first) return whole ? [] : [await range(first, end)];
    const half = splitOf(end - first);
    const middle = first + half;
    if (old <= half) return [...(await path(old, first, middle, whole)), await range(middle, end)];
    return [...(await path(old - half, middle, end, false)), await range(first, middle)];
  };
  return path(from, 0, to, true);
}
