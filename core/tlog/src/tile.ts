/** Hashes, or entries, of a full tile (C2SP tlog-tiles, Merkle Tree). */
export const TILE_WIDTH = 256;

/** Longest entry that a bundle holds: its length is a uint16 (C2SP tlog-tiles, Log entries). */
export const MAX_ENTRY_BYTES = 65_535;

/** One static resource of a log: a tile of hashes of some level, or a bundle of entries. */
export interface Tile {
  readonly level: number | 'entries';
  readonly index: number;
  /** 1 to 256; less than 256 is a partial tile. */
  readonly width: number;
}

/** Path of a tile below the prefix of a log: `tile/0/x001/067`, `tile/entries/000.p/3`. */
export function tilePath({ level, index, width }: Tile): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, '0');
  const groups = digits.match(/.{3}/g) ?? [];
  const path = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/');
  return `tile/${level}/${path}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

const PATH = /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*)([0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

/** The tile of a path, or null: no tile has this path. */
export function parseTilePath(path: string): Tile | null {
  const [, level, above, last, width] = PATH.exec(path) ?? [];
  if (level === undefined || above === undefined || last === undefined) return null;
  const tile: Tile = { level: level === 'entries' ? level : Number(level), index: Number(above.replaceAll(/[x/]/g, '') + last), width: width === undefined ? TILE_WIDTH : Number(width) };
  return Number.isSafeInteger(tile.index) && tilePath(tile) === path ? tile : null;
}

/** Hashes that a tree of `size` has at this level of tiles: roots of full tiles of the level below, or leaves. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** Width that the tile has in a tree of `size`; 0: it is not in it. */
export function widthIn(size: number, { level, index }: Pick<Tile, 'level' | 'index'>): number {
  return Math.max(0, Math.min(TILE_WIDTH, hashesAt(level === 'entries' ? 0 : level, size) - index * TILE_WIDTH));
}

/**
 * Every tile that a tree of `to` entries has and one of `from` had not, bundles of entries first, then level by level:
 * whoever publishes them in this order never shows a hash of what is not there.
 */
export function tilesBetween(from: number, to: number): readonly Tile[] {
  const tiles: Tile[] = [];
  const add = (level: Tile['level']): void => {
    const hashLevel = level === 'entries' ? 0 : level;
    const count = hashesAt(hashLevel, to);
    const before = hashesAt(hashLevel, from);
    if (count === before) return;
    for (let index = Math.floor(before / TILE_WIDTH); index * TILE_WIDTH < count; index += 1) tiles.push({ level, index, width: widthIn(to, { level, index }) });
  };
  add('entries');
  for (let level = 0; hashesAt(level, to) > 0; level += 1) add(level);
  return tiles;
}

/** The partial tiles of a tree, and its partial bundle. */
export function partialsOf(size: number): readonly Tile[] {
  return tilesBetween(0, size).filter(({ width }) => width < TILE_WIDTH);
}

export interface BadBytes {
  readonly bad: string;
}

/** A bundle of entries, each with its length before it (C2SP tlog-tiles, Log entries). @throws RangeError for an entry that is too long. */
export function encodeBundle(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(entries.flatMap((entry) => {
    if (entry.length > MAX_ENTRY_BYTES) throw new RangeError(`an entry of ${entry.length} bytes`);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(entry.length);
    return [length, entry];
  }));
}

/** The entries of a bundle; views of its bytes. */
export function decodeBundle(bytes: Buffer, width: number): readonly Buffer[] | BadBytes {
  const entries: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 2 > bytes.length) return { bad: 'a length is cut off' };
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) return { bad: `entry ${entries.length} of it is cut off` };
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries.length === width ? entries : { bad: `it holds ${entries.length} entries for ${width}` };
}
