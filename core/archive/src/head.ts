import { openCheckpoint, parseCheckpoint, parseNote, rootAt, sha256, TileError, tileTree, type Checkpoint, type Fetch, type PublicKey, type Refusal } from '@caisson/tlog';

/** Path of the mutable head of a log (C2SP tlog-tiles, Checkpoints), and the most that is read of one. */
export const CHECKPOINT = 'checkpoint';
export const MAX_CHECKPOINT_BYTES = 1024 * 1024;

/** A signed head as it is stored. */
export interface Head extends Checkpoint {
  readonly bytes: Buffer;
  /** SHA-256 of `bytes`, in hex. */
  readonly digest: string;
}

const digestOf = (bytes: Buffer): string => sha256(bytes).toString('hex');

/** Path of the copy of a head that stays: one for each size that was archived. */
export function headPath(size: number): string {
  return `heads/${String(size).padStart(20, '0')}`;
}

/** Reads a head; where `logKeys` are given one of them has to have signed it. */
export function readHead(bytes: Buffer, logKeys?: readonly PublicKey[]): Head | Refusal {
  const checkpoint = logKeys === undefined ? unsigned(bytes) : openCheckpoint(bytes, { logKeys });
  return 'bad' in checkpoint ? checkpoint : { origin: checkpoint.origin, size: checkpoint.size, root: checkpoint.root, bytes, digest: digestOf(bytes) };
}

function unsigned(bytes: Buffer): Checkpoint | Refusal {
  const note = parseNote(bytes);
  return 'bad' in note ? note : parseCheckpoint(note.text);
}

/**
 * Whether `earlier` is a head of the same log as `own`, which has `fetch` for its tiles: undefined, or why it is not. A
 * head of more entries than our own is for the caller to judge.
 *
 * @throws TileError when a tile of our own is not there
 */
export async function notOfThisLog(fetch: Fetch, own: Checkpoint, earlier: Checkpoint): Promise<string | undefined> {
  if (earlier.origin !== own.origin) return `it is of the log ${earlier.origin}, not of ${own.origin}`;
  if (earlier.size > own.size) return undefined;
  const root = await rootAt(tileTree(fetch, own.size), earlier.size);
  return root.equals(earlier.root) ? undefined : `its ${earlier.size} entries are not the first ${earlier.size} here`;
}

/** Whether the tiles give the root that the head has. @throws TileError when one is not there or they do not. */
export async function checkRoot(fetch: Fetch, { size, root }: Checkpoint): Promise<void> {
  const computed = await rootAt(tileTree(fetch, size), size);
  if (!computed.equals(root)) throw new TileError(CHECKPOINT, `of ${size} entries has a root that its tiles do not give`);
}
