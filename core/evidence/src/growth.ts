import { encodeBundle, HASH_BYTES, leafHash, nodeHash, readBundle, readTile, rootOfLeaves, TILE_WIDTH, TileError, tilePath, widthIn, type Edge, type Fetch, type Tile } from '@caisson/tlog';
import type { NewFile } from './folder.ts';

/** What the next tiles of a log need of those that are there. */
export interface Tip {
  readonly size: number;
  /** Entries of the partial bundle. */
  readonly entries: readonly Buffer[];
  /** Hashes of the partial tile of each level. */
  readonly levels: readonly (readonly Buffer[])[];
}

export const EMPTY_TIP: Tip = { size: 0, entries: [], levels: [] };

/** The tip of a log of `size`, from its last tiles. Its entries are those of its hashes; whether these are of the log, the root of its edge says. */
export async function readTip(fetch: Fetch, size: number): Promise<Tip> {
  const levels: Buffer[][] = [];
  for (let level = 0; Math.floor(size / TILE_WIDTH ** level) > 0; level += 1) {
    const place = { level, index: Math.floor(size / TILE_WIDTH ** (level + 1)) };
    levels.push(widthIn(size, place) === 0 ? [] : hashesIn(await readTile(fetch, size, place)));
  }
  const hashes = levels[0] ?? [];
  const index = Math.floor(size / TILE_WIDTH);
  const entries = hashes.length === 0 ? [] : await readBundle(fetch, size, index);
  if (!entries.every((entry, at) => hashes[at]?.equals(leafHash(entry)))) throw new TileError(tilePath({ level: 'entries', index, width: hashes.length }), 'is not what its hashes are of');
  return { size, entries, levels };
}

export function hashesIn(tile: Buffer): Buffer[] {
  return Array.from({ length: tile.length / HASH_BYTES }, (_, at) => tile.subarray(HASH_BYTES * at, HASH_BYTES * (at + 1)));
}

/** The edge of the tree that has this tip: each partial tile gives as many perfect subtrees as its width has ones in binary. */
export function edgeOf({ size, levels }: Tip): Edge {
  const hashes: Buffer[] = [];
  for (const tile of levels.toReversed()) {
    let at = 0;
    for (let span = TILE_WIDTH / 2; span > 0; span /= 2) {
      if ((tile.length & span) === 0) continue;
      hashes.push(rootOfLeaves(tile.slice(at, at + span)));
      at += span;
    }
  }
  return { size, hashes };
}

export interface Leaf {
  readonly entry: Buffer;
  readonly hash: Buffer;
}

interface Growth {
  readonly tip: Tip;
  /** Bundles first, then tiles. */
  readonly files: readonly NewFile[];
  /** Folders of partial tiles that full ones stand for now. */
  readonly outdated: readonly string[];
}

/** The files that a log has once these leaves are in it, but not before. */
export function growTip(tip: Tip, leaves: readonly Leaf[]): Growth {
  const full: { readonly tile: Tile; readonly bytes: Buffer }[] = [];
  const levels = tip.levels.map((hashes) => [...hashes]);
  let entries = [...tip.entries];
  let size = tip.size;
  const add = (level: number, hash: Buffer): void => {
    const hashes = (levels[level] ??= []);
    hashes.push(hash);
    if (hashes.length < TILE_WIDTH) return;
    full.push({ tile: { level, index: Math.floor((size - 1) / TILE_WIDTH ** (level + 1)), width: TILE_WIDTH }, bytes: Buffer.concat(hashes) });
    levels[level] = [];
    add(level + 1, perfectRoot(hashes));
  };
  for (const { entry, hash } of leaves) {
    entries.push(entry);
    size += 1;
    if (entries.length === TILE_WIDTH) {
      full.push({ tile: { level: 'entries', index: size / TILE_WIDTH - 1, width: TILE_WIDTH }, bytes: encodeBundle(entries) });
      entries = [];
    }
    add(0, hash);
  }
  const grown = { size, entries, levels };
  const files = [...full, ...partials(grown, tip)].map(({ tile, bytes }) => ({ tile, path: tilePath(tile), bytes }));
  return {
    tip: grown,
    files: [...files.filter(({ tile }) => tile.level === 'entries'), ...files.filter(({ tile }) => tile.level !== 'entries')],
    outdated: full.map(({ tile }) => `${tilePath(tile)}.p`),
  };
}

/** Partial tiles of the grown log that are others than before. */
function partials({ size, entries, levels }: Tip, before: Tip): readonly { readonly tile: Tile; readonly bytes: Buffer }[] {
  const place = (level: number): number => Math.floor(size / TILE_WIDTH ** (level + 1));
  const hashes = levels.flatMap((tile, level) => {
    const same = before.levels[level]?.length === tile.length && Math.floor(before.size / TILE_WIDTH ** (level + 1)) === place(level);
    return tile.length === 0 || same ? [] : [{ tile: { level, index: place(level), width: tile.length }, bytes: Buffer.concat(tile) }];
  });
  const bundle = { tile: { level: 'entries' as const, index: place(0), width: entries.length }, bytes: encodeBundle(entries) };
  return entries.length === 0 || before.size === size ? hashes : [bundle, ...hashes];
}

function perfectRoot(hashes: readonly Buffer[]): Buffer {
  let row = hashes;
  while (row.length > 1) row = Array.from({ length: row.length / 2 }, (_, at) => nodeHash(row[2 * at] as Buffer, row[2 * at + 1] as Buffer));
  return row[0] as Buffer;
}
