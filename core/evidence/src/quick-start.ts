import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError, type Receipt } from '@caisson/contract';
import { consistencyProof, edgeAt, openCheckpoint, provesConsistency, rootAt, rootOf, TILE_WIDTH, TileError, tileTree, type Fetch, type PublicKey } from '@caisson/tlog';
import { CHECKPOINT_FILE, folderFetch } from './folder.ts';
import { edgeOf, readTip } from './growth.ts';
import { notKnown, scanBundle, scanJournals, scanTiles, type BadEntry, type Cursor, type Scan } from './scan.ts';
import type { SavedLedger } from './saved-ledger.ts';

/** How long a check of the past rests after each bundle, as a multiple of what the bundle took: appends have the process to themselves meanwhile. */
const REST = 4;

/**
 * The state of a log from what its key has signed about it: the checkpoint, the tiles at its edge, which have to hash to the
 * root of that checkpoint, the saved ledger, which has to be of a root that the tiles lead to, and every entry after it.
 * Entries before it are not read.
 *
 * @returns null when anything does not fit: reading the whole log then says what.
 */
export async function quickScan(dir: string, keys: readonly PublicKey[], saved: SavedLedger): Promise<Scan | null> {
  const fetch = folderFetch(dir);
  const bytes = await fetch(CHECKPOINT_FILE);
  const checkpoint = bytes === null ? null : openCheckpoint(bytes, { logKeys: keys });
  if (checkpoint === null || 'bad' in checkpoint) return null;
  try {
    const { size, root } = checkpoint;
    const tip = await readTip(fetch, size);
    if (!rootOf(edgeOf(tip)).equals(root)) return null;
    const edge = saved.size < size ? await edgeAt(tileTree(fetch, size), saved.size) : edgeOf(tip);
    if (saved.size <= size && !rootOf(edge).equals(saved.root)) return null;
    const cursor: Cursor = { edge, trust: { keys, earlier: [] }, ledger: saved.ledger, ledgerSize: saved.size, known: saved };
    for (let bundle = Math.floor(edge.size / TILE_WIDTH); cursor.edge.size < size; bundle += 1) {
      if ((await scanBundle(fetch, size, bundle, cursor)).reason !== null) return null;
    }
    if (!rootOf(cursor.edge).equals(root)) return null;
    const journals = await scanJournals(dir, cursor, size);
    return (journals.bad ?? notKnown(cursor)) === null ? { checkpoint, tip, ledger: cursor.ledger, trust: cursor.trust, ...journals, edge: cursor.edge } : null;
  } catch (error) {
    if (error instanceof TileError) return null;
    throw error;
  }
}

/** What a check of the past has found: nothing wrong, the first bad entry, or that it could not be made. */
export type PastCheck = { readonly entries: number } | { readonly bad: BadEntry } | { readonly failed: string };

/**
 * Reads everything that is in tiles now as `verifyLog` does, at a fifth of the speed, so that appends go on.
 *
 * @returns null when `signal` ended it.
 */
export async function checkPast(dir: string, keys: readonly PublicKey[], signal: AbortSignal): Promise<PastCheck | null> {
  try {
    const fetch = folderFetch(dir);
    const checkpoint = await fetch(CHECKPOINT_FILE);
    let entries = 0;
    let sinceMs = performance.now();
    const rest = async (): Promise<void> => {
      await sleep(REST * (performance.now() - sinceMs), undefined, { signal });
      sinceMs = performance.now();
    };
    const asNow: Fetch = async (path) => (path === CHECKPOINT_FILE ? checkpoint : fetch(path));
    const { bad } = await scanTiles(asNow, keys, { rest, onEntry: () => void (entries += 1) });
    return bad === null ? { entries } : { bad };
  } catch (error) {
    return signal.aborted ? null : { failed: (error as Error).message };
  }
}

/** The receipt of the last of `size` entries, from tiles that lead to the checkpoint. @throws CaissonError EVIDENCE_DAMAGED */
export async function receiptFromTiles(dir: string, keys: readonly PublicKey[], size: number): Promise<Receipt> {
  const fetch = folderFetch(dir);
  const bytes = await fetch(CHECKPOINT_FILE);
  const head = bytes === null ? { bad: 'is missing' } : openCheckpoint(bytes, { logKeys: keys });
  const damaged = (detail: string): CaissonError => new CaissonError('EVIDENCE_DAMAGED', { index: size - 1, detail });
  if ('bad' in head) throw damaged(`is under a checkpoint that ${head.bad}`);
  try {
    const tree = tileTree(fetch, head.size);
    const [root, proof] = [await rootAt(tree, size), await consistencyProof(tree, size, head.size)];
    if (!provesConsistency({ from: size, fromRoot: root, to: head.size, toRoot: head.root, proof })) throw damaged('is not what the checkpoint was made of');
    return { index: size - 1, hash: root.toString('hex') };
  } catch (error) {
    if (error instanceof TileError) throw damaged(`cannot be read: ${error.message}`);
    throw error;
  }
}
