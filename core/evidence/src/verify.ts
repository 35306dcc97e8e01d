import type { Receipt } from '@caisson/contract';
import { openToRead } from './lines.ts';
import { scanLog, type BadEntry } from './scan.ts';

/**
 * What a log shows on its own: every entry is chained to the one before it, from the first on, and each outcome has
 * its intent. It cannot show who wrote it, nor that nothing was cut from its end, unless a head kept elsewhere is given.
 */
export interface Verification {
  /** Good entries, counted from the first. */
  readonly entries: number;
  /** The last good entry. */
  readonly head: Receipt | null;
  /** Subjects with an intent and no outcome: under way, or lost. */
  readonly openIntents: readonly string[];
  /** The first entry that is not what was written; nothing after it was looked at. */
  readonly bad: BadEntry | null;
  /** Bytes after the last whole entry: being written now, never acknowledged, or what is left of a cut. */
  readonly unfinishedBytes: number;
  readonly knownHead: 'not given' | 'found' | 'missing';
}

/** Checks the log in `dir`, without a daemon. @throws CaissonError STATE_DIR_INVALID when it cannot be read. */
export async function verifyLog(dir: string, { head: known }: { readonly head?: Receipt | undefined } = {}): Promise<Verification> {
  await using file = await openToRead(dir);
  let found = false;
  const scan = await scanLog(file, ({ entry, hash }) => {
    if (entry.index === known?.index) found = hash === known.hash;
  });
  return {
    entries: scan.head === null ? 0 : scan.head.index + 1,
    head: scan.head,
    openIntents: [...scan.ledger.open.keys()],
    bad: scan.bad,
    unfinishedBytes: scan.tail.length,
    knownHead: known === undefined ? 'not given' : found ? 'found' : 'missing',
  };
}
