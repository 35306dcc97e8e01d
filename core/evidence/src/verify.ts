import { CaissonError, type Entry, type Receipt } from '@caisson/contract';
import { formatVerifierKey, rootOf, type Fetch, type PublicKey } from '@caisson/tlog';
import { completeness, conclude, passEntry, type Unread } from './complete.ts';
import type { Finding } from './findings.ts';
import { CHECKPOINT_FILE, folderFetch } from './folder.ts';
import { publishedKeys } from './keys.ts';
import { readable } from './read.ts';
import { headOf, scanLog, scanTiles, type BadEntry, type Scan, type Seen } from './scan.ts';

/** How often a log that changes under the reader is read. */
const MAX_TRIES = 5;

/**
 * What a log shows: every entry from the first on is what its key has signed, in its place, each outcome has its intent, and what
 * the processes said of their entries fits those that are there. It cannot show that nothing was cut from its end, unless a head kept elsewhere is given.
 */
export interface Verification {
  /** Name of the log. */
  readonly origin: string | null;
  /**
   * Verifier keys that have signed heads of this log, the one that signs its last entry first. The first is of those that are
   * trusted, or was handed on to by them; of the others the log says that they were in use, each until it was replaced.
   */
  readonly keys: readonly string[];
  /** Good entries, counted from the first. */
  readonly entries: number;
  /** Of these, how many are in tiles, under the published checkpoint. */
  readonly published: number;
  /** The last good entry. */
  readonly head: Receipt | null;
  /** Subjects with an intent and no outcome: under way, or lost. */
  readonly openIntents: readonly string[];
  /** The first entry that is not what was written; nothing after it was looked at. */
  readonly bad: BadEntry | null;
  /**
   * What good entries say of those that are not there: numbers that are missing, heartbeats that are overdue or contradict each other,
   * intents of which nothing more was said. The first come first, at most 100 of them. Empty where an entry is bad.
   */
  readonly findings: readonly Finding[];
  /** How many there are of these. */
  readonly findingsCount: number;
  /** Good entries whose body is none that this version knows of their kind: a newer one may have written them. */
  readonly unread: Readonly<Unread>;
  /** Bytes after the last checkpoint: being written now, never acknowledged, or what is left of a cut. */
  readonly unfinishedBytes: number;
  readonly knownHead: 'not given' | 'found' | 'missing';
}

export interface VerifyOptions {
  /** A head that was kept elsewhere. */
  readonly head?: Receipt | undefined;
  /** Keys of the log that are trusted. Default: those that stand beside it, which whoever rewrites it can replace. */
  readonly keys?: readonly PublicKey[] | undefined;
  /**
   * Is given every entry that is good so far, from the first on, and the hash of its leaf. Entry 0 again: the log changed under
   * the reader, and what was given before does not count.
   */
  readonly visit?: ((entry: Entry, leaf: Buffer) => void) | undefined;
}

/** Checks the log in `dir`, without a daemon. @throws CaissonError STATE_DIR_INVALID when it cannot be read. */
export async function verifyLog(dir: string, options: VerifyOptions = {}): Promise<Verification> {
  const keys = options.keys ?? (await readable(dir, () => publishedKeys(folderFetch(dir))));
  if (keys.length === 0) throw new CaissonError('STATE_DIR_INVALID', { dir, detail: 'it holds no evidence log (log.vkey)' });
  return verified(keys, options, (onEntry) => readable(dir, () => scanSettled(dir, keys, onEntry)));
}

/**
 * Checks what is published of a log, by its keys, from wherever its static resources are: a store, a mirror, a copy without
 * journals. What the log has appended since its published head is not looked at.
 */
export async function verifyPublished(fetch: Fetch, options: VerifyOptions & { readonly keys: readonly PublicKey[] }): Promise<Verification> {
  return verified(options.keys, options, (onEntry) => scanTiles(fetch, options.keys, { onEntry }));
}

async function verified(keys: readonly PublicKey[], { head: known, visit }: VerifyOptions, read: (onEntry: (seen: Seen) => void) => Promise<Scan>): Promise<Verification> {
  let found = false;
  let complete = completeness();
  const onEntry = ({ edge, entry, leaf }: Seen): void => {
    if (edge.size === 1) complete = completeness(); // it is read anew
    visit?.(entry, leaf.hash);
    passEntry(complete, entry);
    if (edge.size - 1 === known?.index) found = rootOf(edge).toString('hex') === known.hash;
  };
  const scan = await read(onEntry);
  const { findings, count } = scan.bad === null ? conclude(complete, scan.edge.size) : { findings: [], count: 0 };
  return {
    origin: keys[0]?.name ?? null,
    keys: keysOf(scan),
    entries: scan.edge.size,
    published: scan.checkpoint?.size ?? 0,
    head: headOf(scan.edge),
    openIntents: [...scan.ledger.open.keys()],
    bad: scan.bad,
    findings,
    findingsCount: count,
    unread: complete.unread,
    unfinishedBytes: scan.journal?.tail.length ?? 0,
    knownHead: known === undefined ? 'not given' : found ? 'found' : 'missing',
  };
}

/** Where no rotation is, any of the keys that are trusted signs. */
function keysOf({ trust: { heir, keys, earlier }, bad }: Scan): readonly string[] {
  if (bad !== null) return [];
  return [...new Set([...(heir === undefined ? keys : [heir]), ...earlier].map(formatVerifierKey))];
}

/** A log that is being written can drop a journal while it is read: what is bad then is read again. */
async function scanSettled(dir: string, keys: readonly PublicKey[], onEntry: (seen: Seen) => void): Promise<Scan> {
  const fetch = folderFetch(dir);
  for (let tries = 1; ; tries += 1) {
    const before = await fetch(CHECKPOINT_FILE);
    const scan = await scanLog(dir, keys, { onEntry });
    const after = await fetch(CHECKPOINT_FILE);
    const isSame = before === null ? after === null : after?.equals(before) === true;
    if (scan.bad === null || isSame || tries === MAX_TRIES) return scan;
  }
}
