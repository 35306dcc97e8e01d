import { tilePath, type Fetch, type Tile } from '@caisson/tlog';
import { headPath, readHead, type Head } from './head.ts';
import { readChecked } from './local.ts';
import type { Stop } from './outcome.ts';
import type { ObjectStore } from './store.ts';

/** Objects under way at once. A bundle has at most 16 MiB, and is held twice when it is compared. */
const CONCURRENCY = 4;
/** Longest object that is read back to be compared: a bundle of 256 entries of 65,535 bytes. */
export const MAX_OBJECT_BYTES = 17 * 1024 * 1024;

const CLOSING: Stop = { state: 'away', failure: { failed: 'Network', detail: 'the archiver is closing' } };

export interface Upload {
  readonly store: ObjectStore;
  readonly local: Fetch;
  readonly signal: AbortSignal;
  /** Paths known to be there. What is found to be there is added. */
  readonly there: Set<string>;
}

/**
 * Brings tiles to the store, none over another: an object that is there already has to have the same bytes. Stops at the first
 * that cannot be brought; those under way are waited for.
 *
 * @throws TileError when the tiles here are not those of the log
 */
export async function uploadTiles(upload: Upload, size: number, tiles: readonly Tile[]): Promise<Stop | undefined> {
  const waiting = tiles.values();
  let stopped: Stop | undefined;
  const work = async (): Promise<void> => {
    for (const tile of waiting) {
      if (stopped !== undefined) return;
      const stop = upload.signal.aborted ? CLOSING : await uploadTile(upload, size, tile);
      stopped ??= stop; // looked at after the wait: what another found meanwhile stays
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: CONCURRENCY }, work));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
  return stopped;
}

async function uploadTile(upload: Upload, size: number, tile: Tile): Promise<Stop | undefined> {
  const path = tilePath(tile);
  if (upload.there.has(path)) return undefined;
  const bytes = await readChecked(upload.local, size, tile);
  const stop = await bring(upload.store, { path, bytes, same: (there) => there.equals(bytes) });
  if (stop === undefined) upload.there.add(path);
  return stop;
}

/** Keeps a copy of the head by its size. One that is there may have other signatures, not another tree. */
export async function uploadHead(store: ObjectStore, head: Head): Promise<Stop | undefined> {
  const same = (bytes: Buffer): boolean => {
    const there = readHead(bytes);
    return !('bad' in there) && there.origin === head.origin && there.size === head.size && there.root.equals(head.root);
  };
  return bring(store, { path: headPath(head.size), bytes: head.bytes, same });
}

interface Brought {
  readonly path: string;
  readonly bytes: Buffer;
  readonly same: (there: Buffer) => boolean;
}

/** A refusal by the condition is how a write shows whose answer was lost: then the object is there and is the same. */
async function bring(store: ObjectStore, { path, bytes, same }: Brought): Promise<Stop | undefined> {
  const written = await store.put({ key: path, bytes, condition: { ifNoneMatch: '*' }, keep: true });
  if (!('failed' in written)) return undefined;
  if (written.failed !== 'PreconditionFailed') return { state: 'away', failure: written };
  const there = await store.get(path, MAX_OBJECT_BYTES);
  if (there === null) return { state: 'away', failure: { failed: 'Other', detail: `${path} was there for a write and is not for a read` } };
  if ('failed' in there) return { state: 'away', failure: there };
  return same(there.bytes) ? undefined : { state: 'forked', detail: `${path} is there with other bytes` };
}
