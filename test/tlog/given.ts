import { createHash } from 'node:crypto';
import { encodeBundle, leafHash, tilePath, tilesBetween, type Fetch } from '@caisson/tlog';

/** RFC 6962 §2.1 word by word, without anything of the code under test. */
export function mth(entries: readonly Buffer[]): Buffer {
  const sha = (...parts: readonly Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
  const [only] = entries;
  if (only === undefined) return sha();
  if (entries.length === 1) return sha(Buffer.from([0]), only);
  let k = 1;
  while (2 * k < entries.length) k *= 2;
  return sha(Buffer.from([1]), mth(entries.slice(0, k)), mth(entries.slice(k)));
}

export const entriesOf = (count: number): readonly Buffer[] => Array.from({ length: count }, (_, at) => Buffer.from(`entry ${at}`));

/** The static resources of a log of these entries, made by the definition of a tile (C2SP tlog-tiles, Merkle Tree). */
export function resourcesOf(entries: readonly Buffer[]): Map<string, Buffer> {
  const resources = new Map<string, Buffer>();
  for (const tile of tilesBetween(0, entries.length)) {
    const { level, index, width } = tile;
    const span = 256 ** (level === 'entries' ? 0 : level);
    const first = index * 256 * span;
    const slice = entries.slice(first, first + width * span);
    const hashes = Array.from({ length: width }, (_, at) => (level === 0 ? leafHash(slice[at] as Buffer) : mth(slice.slice(at * span, (at + 1) * span))));
    resources.set(tilePath(tile), level === 'entries' ? encodeBundle(slice) : Buffer.concat(hashes));
  }
  return resources;
}

export function fetchOf(resources: ReadonlyMap<string, Buffer>): Fetch {
  return async (path) => resources.get(path) ?? null;
}
