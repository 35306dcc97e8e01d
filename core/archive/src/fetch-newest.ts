import { CaissonError } from '@caisson/contract';
import type { Fetch, PublicKey } from '@caisson/tlog';
import { fetchFrom, keysOf } from './fetch-from.ts';
import { CHECKPOINT, readHead, type Head } from './head.ts';
import type { ObjectStore } from './store.ts';

const KEPT_HEADS = 'heads/';
/** Of the last names this many are looked at: one that somebody has put there does not hide those before it. */
const LOOKED_AT = 16;

/**
 * Reads a log out of its archive as of the newest head that was ever written there. The copies of heads stay when the checkpoint,
 * which can be replaced, is put back to an earlier one: what it has left out is read all the same.
 *
 * @param keys of the log; a kept head that none of them has signed counts only where they lead to its key
 * @param heirsOf the keys that these have handed on to in the log that it is given, where all of that is good. Default: none
 * @throws CaissonError STATE_DIR_INVALID when the store does not answer or holds no log
 */
export async function fetchNewest(store: ObjectStore, keys: readonly PublicKey[], heirsOf: HeirsOf = async () => []): Promise<Fetch> {
  const fetch = fetchFrom(store);
  const present = await fetch(CHECKPOINT);
  const kept = await newestKept(store, fetch, { keys, heirsOf });
  if (present === null && kept === null) throw new CaissonError('STATE_DIR_INVALID', { dir: store.name, detail: 'it holds no log: neither a checkpoint nor a copy of one' });
  const newest = newerOf(present, kept);
  return async (path) => (path === CHECKPOINT ? newest : fetch(path));
}

/** What tells which keys a log goes on to from those that are trusted. */
export type HeirsOf = (fetch: Fetch) => Promise<readonly PublicKey[]>;

async function newestKept(store: ObjectStore, fetch: Fetch, { keys, heirsOf }: { readonly keys: readonly PublicKey[]; readonly heirsOf: HeirsOf }): Promise<Head | null> {
  let last: string[] = [];
  for await (const key of keysOf(store, KEPT_HEADS)) last = [...last.slice(1 - LOOKED_AT), key];
  let heirs: readonly PublicKey[] = [];
  for (const key of last.toReversed()) {
    const bytes = await fetch(key);
    if (bytes === null) continue;
    if ('bad' in readHead(bytes, [...keys, ...heirs])) heirs = [...heirs, ...(await heirsOf(async (path) => (path === CHECKPOINT ? bytes : fetch(path))))];
    const head = readHead(bytes, [...keys, ...heirs]);
    if (!('bad' in head)) return head;
  }
  return null;
}

/** The present head, or one that was kept and has more entries. One that is bad is left to whoever verifies it. */
function newerOf(present: Buffer | null, kept: Head | null): Buffer | null {
  if (present === null || kept === null) return present ?? kept?.bytes ?? null;
  const now = readHead(present);
  return 'bad' in now || kept.size <= now.size ? present : kept.bytes;
}
