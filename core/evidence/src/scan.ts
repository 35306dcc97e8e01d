import type { Entry, Receipt } from '@caisson/contract';
import {
  EMPTY_EDGE, grow, HASH_BYTES, leafHash, openCheckpoint, readBundle, readTile, rootOf, rootOfLeaves, TILE_WIDTH, TileError, type Checkpoint, type Edge, type Fetch, type PublicKey,
} from '@caisson/tlog';
import { claimed, type Doubt } from './claimed.ts';
import { parseEntry } from './entry.ts';
import { CHECKPOINT_FILE, folderFetch } from './folder.ts';
import { EMPTY_TIP, growTip, hashesIn, type Leaf, type Tip } from './growth.ts';
import { journalName, journalsIn, readJournal, type Batch } from './journal.ts';
import { withAlert } from './alerts.ts';
import { emptyLedger, enter, objection, type Ledger } from './ledger.ts';
import { handOn, isVouchedFor, readRotation, signersOf, type Trust } from './rotation.ts';

export interface BadEntry {
  readonly index: number;
  readonly reason: string;
}

/** One good entry, as it is passed by. */
export interface Seen {
  readonly leaf: Leaf;
  readonly entry: Entry;
  readonly edge: Edge;
}

/** A log read from its first entry: all of it, or all before the first bad one. */
export interface Scan {
  readonly edge: Edge;
  readonly ledger: Ledger;
  /** Whose signature counts after all this. */
  readonly trust: Trust;
  /** What is published: the tiles and the checkpoint. */
  readonly checkpoint: Checkpoint | null;
  readonly tip: Tip;
  /** Good entries of the journal that are not published, and the checkpoint of them. */
  readonly unpublished: readonly Leaf[];
  readonly head: { readonly size: number; readonly checkpoint: string } | null;
  /** The newest journal, and the bytes of it that are acknowledged; null: there is none. */
  readonly journal: { readonly first: number; readonly wholeBytes: number; readonly tail: Buffer } | null;
  readonly bad: BadEntry | null;
}

/** A log at one size, as its own key has signed it apart from its heads. */
export interface Known {
  readonly size: number;
  readonly root: Buffer;
}

export interface ScanOptions {
  readonly onEntry?: ((seen: Seen) => void) | undefined;
  /** What the log has to come by. */
  readonly known?: Known | undefined;
  /** Waited for after each bundle of entries. */
  readonly rest?: (() => Promise<void>) | undefined;
}

export interface Cursor extends ScanOptions {
  edge: Edge;
  trust: Trust;
  /** The first head that no key of ours has signed. A key of ours that takes over later vouches for it: it has signed all before. */
  doubt?: Doubt | undefined;
  readonly ledger: Ledger;
  /** Entries before this one are in the ledger already. */
  readonly ledgerSize: number;
  /** Whether the log came by a state that its key has signed, in another form. */
  isOther?: boolean;
}

/** The last entry of a log of this edge. */
export function headOf(edge: Edge): Receipt | null {
  return edge.size === 0 ? null : { index: edge.size - 1, hash: rootOf(edge).toString('hex') };
}

/** Reads and checks a whole log by the keys that are trusted; memory does not grow with it, but for the journal. */
export async function scanLog(dir: string, keys: readonly PublicKey[], options: ScanOptions = {}): Promise<Scan> {
  const cursor = cursorOf(keys, options);
  const fetch = folderFetch(dir);
  const published = await scanPublished(fetch, cursor);
  if (published.bad !== null) return scanOf(cursor, published);
  const journals = await scanJournals(dir, cursor, published.tip.size);
  return scanOf(cursor, { ...published, ...journals, bad: journals.bad ?? notKnown(cursor) });
}

function cursorOf(keys: readonly PublicKey[], options: ScanOptions): Cursor {
  return { ...options, edge: EMPTY_EDGE, trust: { keys, earlier: [] }, ledger: emptyLedger(), ledgerSize: 0 };
}

/** What was read up to here; where a head is left that nobody of ours has vouched for, it ends before that. */
function scanOf({ edge, ledger, trust, doubt }: Cursor, read: Published & Partial<Journals>): Scan {
  const isFirst = doubt !== undefined && (read.bad === null || doubt.bad.index <= read.bad.index);
  return { unpublished: [], head: null, journal: null, ...read, ledger, trust, ...(isFirst ? { ...doubt, checkpoint: null } : { edge }) };
}

/** What shows that this is not the log that the known state is of, or not that of the keys. */
export function notKnown({ edge, known, isOther, doubt }: Cursor): BadEntry | null {
  if (doubt !== undefined) return doubt.bad;
  if (known === undefined) return null;
  if (isOther === true) return { index: 0, reason: `or another one is not what the key of the log has signed when it had ${known.size} entries` };
  if (edge.size >= known.size) return null;
  return { index: edge.size, reason: `is missing: the key of the log has signed a state of ${known.size} entries, so entries were cut off` };
}

/** Reads and checks what is published of a log, and no journal: all that a store or a mirror of it has. Memory does not grow with it. */
export async function scanTiles(fetch: Fetch, keys: readonly PublicKey[], options: ScanOptions = {}): Promise<Scan> {
  const cursor = cursorOf(keys, options);
  return scanOf(cursor, await scanPublished(fetch, cursor));
}

type Published = Pick<Scan, 'checkpoint' | 'tip' | 'bad'>;
type Journals = Pick<Scan, 'unpublished' | 'head' | 'journal' | 'bad'>;

/** Reads what is in tiles, up to the checkpoint. Who may have signed one of this size is known only then. */
async function scanPublished(fetch: Fetch, cursor: Cursor): Promise<Published> {
  const bytes = await fetch(CHECKPOINT_FILE);
  if (bytes === null) return { checkpoint: null, tip: EMPTY_TIP, bad: null };
  const said = claimed(bytes, cursor.trust.keys);
  if ('bad' in said) return { checkpoint: null, tip: EMPTY_TIP, bad: { index: 0, reason: `is under a checkpoint that ${said.bad}` } };
  const scanned = { checkpoint: said, ...(await scanUpTo(fetch, said, cursor)) };
  const checkpoint = openCheckpoint(bytes, { logKeys: signersOf(cursor.trust) });
  if ('bad' in checkpoint) {
    const edge = cursor.trust.proven ?? EMPTY_EDGE;
    cursor.doubt = { edge, bad: scanned.bad ?? { index: edge.size, reason: `is under a checkpoint that ${checkpoint.bad}` } };
  }
  return scanned;
}

async function scanUpTo(fetch: Fetch, { size, root }: Checkpoint, cursor: Cursor): Promise<Pick<Published, 'tip' | 'bad'>> {
  let tip = EMPTY_TIP;
  try {
    for (let bundle = 0; bundle * TILE_WIDTH < size; bundle += 1) {
      const { leaves, reason } = await scanBundle(fetch, size, bundle, cursor);
      if (reason !== null) return { tip, bad: { index: cursor.edge.size, reason } };
      tip = growTip(tip, leaves).tip;
      await cursor.rest?.();
    }
    const bad = await firstWrongTile(fetch, size);
    if (bad !== null) return { tip, bad };
  } catch (error) {
    if (error instanceof TileError) return { tip, bad: { index: cursor.edge.size, reason: `cannot be read: ${error.message}` } };
    throw error;
  }
  const isSigned = rootOf(cursor.edge).equals(root);
  return { tip, bad: isSigned ? null : { index: 0, reason: 'or another one is not what was signed: entries and their hashes were changed together' } };
}

/** Takes the entries of a bundle that come next; those before must have their hash in the tree. */
export async function scanBundle(fetch: Fetch, size: number, bundle: number, cursor: Cursor): Promise<{ readonly leaves: readonly Leaf[]; readonly reason: string | null }> {
  const entries = await readBundle(fetch, size, bundle);
  const hashes = await readTile(fetch, size, { level: 0, index: bundle });
  const leaves: Leaf[] = [];
  for (const [at, entry] of entries.entries()) {
    const leaf = { entry, hash: leafHash(entry) };
    const inTree = leaf.hash.equals(hashes.subarray(HASH_BYTES * at, HASH_BYTES * (at + 1)));
    const passed = bundle * TILE_WIDTH + at < cursor.edge.size;
    const reason = !inTree ? 'is not what its hash in the tree is of' : passed ? null : pass(cursor, leaf);
    if (reason !== null) return { leaves, reason };
    leaves.push(leaf);
  }
  return { leaves, reason: null };
}

/** The first tile above the leaves that is not what the tiles below it hash to. */
async function firstWrongTile(fetch: Fetch, size: number): Promise<BadEntry | null> {
  for (let level = 1; Math.floor(size / TILE_WIDTH ** level) > 0; level += 1) {
    const span = TILE_WIDTH ** level;
    for (let below = 0; below < Math.floor(size / span); below += 1) {
      const tile = await readTile(fetch, size, { level, index: Math.floor(below / TILE_WIDTH) });
      const at = HASH_BYTES * (below % TILE_WIDTH);
      const hashes = await readTile(fetch, size, { level: level - 1, index: below });
      if (rootOfLeaves(hashesIn(hashes)).equals(tile.subarray(at, at + HASH_BYTES))) continue;
      return { index: below * span, reason: `or one of the ${span} from it on is not what a tile of level ${level} is of` };
    }
  }
  return null;
}

function take(ledger: Ledger, entry: Entry, edge: Edge): void {
  enter(ledger, entry, edge);
  ledger.alerts = withAlert(ledger.alerts, entry);
}

/** Takes an entry as the next, or says why it cannot be. */
function pass(cursor: Cursor, leaf: Leaf): string | null {
  const entry = parseEntry(leaf.entry);
  if ('bad' in entry) return entry.bad;
  if (entry.index !== cursor.edge.size) return `says that it is entry ${entry.index}: entries were removed, added or moved`;
  const isNew = entry.index >= cursor.ledgerSize;
  const objected = (isNew ? objection(cursor.ledger, entry) : undefined) ?? null;
  const wrong = objected ?? follow(cursor, entry);
  if (wrong !== null) return wrong;
  const edge = grow(cursor.edge, leaf.hash);
  if (edge.size === cursor.known?.size) cursor.isOther = !rootOf(edge).equals(cursor.known.root);
  cursor.edge = edge;
  if (isNew) take(cursor.ledger, entry, edge);
  cursor.onEntry?.({ leaf, entry, edge: cursor.edge });
  return null;
}

/** Goes over to the key that an entry hands on to, or says why it is no rotation though it has the place of one. */
function follow(cursor: Cursor, entry: Entry): string | null {
  const rotation = readRotation(entry, cursor.edge);
  if (rotation === null) return null;
  const trust = 'bad' in rotation ? rotation : handOn(cursor.trust, rotation, cursor.edge);
  if ('bad' in trust) return trust.bad;
  if (!('bad' in rotation) && isVouchedFor(cursor.trust, rotation)) cursor.doubt = undefined;
  cursor.trust = trust;
  return null;
}

export async function scanJournals(dir: string, cursor: Cursor, published: number): Promise<Journals> {
  const unpublished: Leaf[] = [];
  let journal: Scan['journal'] = null;
  let head: Scan['head'] = null;
  const bad = (index: number, reason: string): Journals => ({ unpublished, head, journal, bad: { index, reason } });
  for (const first of await journalsIn(dir)) {
    const read = await readJournal(`${dir}/${journalName(first)}`);
    if (read === null) continue;
    let index = first;
    let wholeBytes = 0;
    for (const batch of read.batches) {
      const before = cursor.edge;
      const wrong = passBatch(cursor, batch, { index, published, unpublished });
      if (wrong !== null) return bad(cursor.edge.size, wrong);
      index += batch.entries.length;
      const reason = index >= published ? unsigned(batch.checkpoint, cursor, before) : null;
      if (reason !== null) return bad(before.size, reason);
      if (index > published) head = { size: index, checkpoint: batch.checkpoint };
      wholeBytes = batch.end;
    }
    journal = { first, wholeBytes, tail: read.tail };
    if (read.bad !== null) return bad(first + read.bad.before, read.bad.reason);
  }
  return journal === null && published > 0 ? bad(published, 'would be in the journal, which is missing') : { unpublished, head, journal, bad: null };
}

/** Takes what a batch adds to what is published; `index` is that of its first entry. */
function passBatch(cursor: Cursor, { entries }: Batch, given: { readonly index: number; readonly published: number; readonly unpublished: Leaf[] }): string | null {
  for (const [at, { bytes }] of entries.entries()) {
    const index = given.index + at;
    if (index < given.published) continue;
    const leaf = { entry: bytes, hash: leafHash(bytes) };
    const reason = index === cursor.edge.size ? pass(cursor, leaf) : `does not follow: the journal goes on with entry ${index}`;
    if (reason !== null) return reason;
    given.unpublished.push(leaf);
  }
  return null;
}

/** @param before the log without what is under this checkpoint alone */
function unsigned(text: string, cursor: Cursor, before: Edge): string | null {
  const bytes = Buffer.from(text);
  const { edge, trust } = cursor;
  const proven = openCheckpoint(bytes, { logKeys: signersOf(trust) });
  const opened = 'bad' in proven ? claimed(bytes, trust.keys) : proven;
  if ('bad' in opened) return `is before a checkpoint that ${opened.bad}`;
  if ('bad' in proven) cursor.doubt ??= { edge: before, bad: { index: before.size, reason: `is before a checkpoint that ${proven.bad}` } };
  if (opened.size !== edge.size) return `is before a checkpoint of ${opened.size} entries: entries were removed, added or moved`;
  return opened.root.equals(rootOf(edge)) ? null : 'or what is appended with it is not what was signed';
}
