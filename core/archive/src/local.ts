import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeBundle, HASH_BYTES, leafHash, parseTilePath, readTile, rootOfLeaves, TILE_WIDTH, TileError, tilePath, type Fetch, type Tile } from '@caisson/tlog';
import { CHECKPOINT } from './head.ts';

/** Reads the static files of a log below a directory, and no other file in it. @throws what reading a file throws */
export function fetchFromDirectory(dir: string): Fetch {
  return async (path) => {
    if (path !== CHECKPOINT && parseTilePath(path) === null) return null;
    try {
      return await readFile(join(dir, path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  };
}

/**
 * The bytes of a tile of a tree of `size`, found to be what the hash above it says. Together with the root, which the
 * signed head says, that covers the whole log: what is stored under a lock for years is never what a disk made of it.
 *
 * @throws TileError when it is missing or is not what the log is made of
 */
export async function readChecked(fetch: Fetch, size: number, tile: Tile): Promise<Buffer> {
  const path = tilePath(tile);
  const bytes = await fetch(path);
  if (bytes === null) throw new TileError(path, 'is missing');
  if (tile.level === 'entries') await checkBundle(fetch, size, { tile, path, bytes });
  else await checkTile(fetch, size, { tile, level: tile.level, path, bytes });
  return bytes;
}

interface Read {
  readonly tile: Tile;
  readonly path: string;
  readonly bytes: Buffer;
}

async function checkBundle(fetch: Fetch, size: number, { tile: { index, width }, path, bytes }: Read): Promise<void> {
  const entries = decodeBundle(bytes, width);
  if ('bad' in entries) throw new TileError(path, `is no bundle of entries: ${entries.bad}`);
  const leaves = await readTile(fetch, size, { level: 0, index });
  if (!Buffer.concat(entries.map(leafHash)).equals(leaves)) throw new TileError(path, 'holds entries that the tree has not');
}

/** A partial tile has no node of its own above it; it is covered by the root. */
async function checkTile(fetch: Fetch, size: number, { tile: { index, width }, level, path, bytes }: Read & { readonly level: number }): Promise<void> {
  if (bytes.length !== width * HASH_BYTES) throw new TileError(path, `has ${bytes.length} bytes for ${width} hashes`);
  if (width < TILE_WIDTH) return;
  const above = await readTile(fetch, size, { level: level + 1, index: Math.floor(index / TILE_WIDTH) });
  const at = (index % TILE_WIDTH) * HASH_BYTES;
  if (!rootOfLeaves(hashesOf(bytes)).equals(above.subarray(at, at + HASH_BYTES))) throw new TileError(path, 'is not what the tile above it says');
}

function* hashesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += HASH_BYTES) yield bytes.subarray(at, at + HASH_BYTES);
}
