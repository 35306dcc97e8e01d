import { readFile } from 'node:fs/promises';
import { CaissonError, type Entry } from '@caisson/contract';
import { EMPTY_EDGE, grow, parseCheckpoint, parseNote, rootOf, type PublicKey } from '@caisson/tlog';
import type { Trust } from '@caisson/timestamp';

export interface StampFlags {
  /** PEM file of the certificates that time-stamping authorities have to lead to: every stamp that is kept has to be good. */
  readonly timestamps?: string | undefined;
  /** The folder of the stamps. Default: the one that the feeder keeps beside the log. */
  readonly stamped?: string | undefined;
}

export interface AskedStamps {
  readonly trust: Trust;
  readonly dir: string;
}

/** What is asked of the time-stamps of the log in `dir`; null: nothing. @throws CaissonError USAGE */
export async function askedStamps({ timestamps: file, stamped }: StampFlags, dir: string): Promise<AskedStamps | null> {
  if (file === undefined) {
    if (stamped !== undefined) throw usage('--stamped says something of --timestamps, which is not given');
    return null;
  }
  const { readTrust } = await import('@caisson/timestamp');
  const pem = await readFile(file, 'utf8').catch((error: Error) => Promise.reject(usage(`--timestamps: ${error.message}`)));
  const trust = readTrust(pem);
  if ('bad' in trust) throw usage(`--timestamps ${file}: ${trust.bad}`);
  return { trust, dir: stamped ?? `${dir}/timestamps` };
}

function usage(detail: string): CaissonError {
  return new CaissonError('USAGE', { detail });
}

/** A head that was there at a time, because an authority has stamped it. */
export interface StampedHead {
  readonly entries: number;
  /** 32 bytes. */
  readonly root: Buffer;
  /** By the clock of the authority, in milliseconds since 1970 UTC. */
  readonly timeMs: number;
  /** How far that may be off; null: the authority does not say. */
  readonly accuracyMs: number | null;
  readonly authority: string;
  readonly policy: string;
}

/**
 * The stamped heads that are kept, the smallest first, each of this log by its name and under a token that holds; or why one does not.
 *
 * @throws CaissonError STATE_DIR_INVALID when they cannot be read
 */
export async function stampedHeads({ trust, dir }: AskedStamps, logKeys: readonly PublicKey[]): Promise<readonly StampedHead[] | { readonly bad: string }> {
  const { checkTimeStamp, keptSizes, readStamp } = await import('@caisson/timestamp');
  const readable = async <T>(reading: Promise<T>, none: T): Promise<T> => reading.catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return none;
    throw new CaissonError('STATE_DIR_INVALID', { dir, detail: cause.message }, { cause });
  });
  const heads: StampedHead[] = [];
  for (const entries of await readable(keptSizes(dir), [])) {
    const kept = await readable(readStamp(dir, entries), null);
    if (kept === null) return { bad: `of the head of ${entries} entries the token or the head itself is missing, or no file` };
    const note = parseNote(kept.checkpoint); // a key that was replaced since may have signed it: that the log holds its root is what counts
    const head = 'bad' in note ? note : parseCheckpoint(note.text);
    if ('bad' in head) return { bad: `the head that is kept as stamped at ${entries} entries ${head.bad}` };
    if (head.size !== entries || !logKeys.some(({ name }) => name === head.origin)) return { bad: `the head that is kept as stamped at ${entries} entries is of ${head.size} entries of ${head.origin}` };
    const stamp = checkTimeStamp(kept.answer, { data: kept.checkpoint, trust });
    if (!('timeMs' in stamp)) return { bad: `the time-stamp of ${entries} entries: ${'bad' in stamp ? stamp.bad : stamp.refused}` };
    const { timeMs, accuracyMs, authority, policy } = stamp;
    heads.push({ entries, root: head.root, timeMs, accuracyMs, authority, policy });
  }
  return heads.length === 0 ? { bad: 'there is no head that is time-stamped' } : heads;
}

/** Finds the heads in a log as it is read. */
export interface HeadSearch {
  readonly visit: (entry: Entry, leaf: Buffer) => void;
  /** The smallest head that the log does not hold; null: it holds all. */
  readonly missing: () => StampedHead | null;
}

export function searchFor(heads: readonly StampedHead[]): HeadSearch {
  const wanted = new Map(heads.map((head) => [head.entries, head]));
  const found = new Set<number>();
  let edge = EMPTY_EDGE;
  const visit: HeadSearch['visit'] = (entry, leaf) => {
    if (entry.index === 0) { // the log is read anew
      edge = EMPTY_EDGE;
      found.clear();
    }
    edge = grow(edge, leaf);
    if (wanted.get(edge.size)?.root.equals(rootOf(edge)) === true) found.add(edge.size);
  };
  return { visit, missing: () => heads.find(({ entries }) => !found.has(entries)) ?? null };
}

/** Before when the head was there at the latest: as late as the authority's clock may have been. */
function beforeOf({ timeMs, accuracyMs }: StampedHead): string {
  return new Date(timeMs + (accuracyMs ?? 0)).toISOString();
}

/** Heads that are shown to people, of those that --json has: the first ones and the last. */
const SHOWN_MOST = 10;

export function stampedText(heads: readonly StampedHead[], missing: StampedHead | null): readonly string[] {
  const shown = heads.length <= SHOWN_MOST ? heads : [...heads.slice(0, SHOWN_MOST / 2), ...heads.slice(-SHOWN_MOST / 2)];
  const rows = shown.map((head) => `${head.entries} entries existed before ${beforeOf(head)}${head.accuracyMs === null ? ', by a clock that does not say how exact it is' : ''}, by ${head.authority}`);
  const more = heads.length > shown.length ? [`and ${heads.length - shown.length} heads between`] : [];
  return [...rows, ...more, ...(missing === null ? [] : [missingText(missing)])];
}

export function missingText({ entries }: StampedHead): string {
  return `MISSING: the log does not hold the head of ${entries} entries: it was cut, rolled back or rewritten since, or the head is of another log`;
}

/** One of them for --json. */
export function stampedJson(head: StampedHead): { readonly entries: number; readonly root: string; readonly before: string; readonly accuracyMs: number | null; readonly authority: string; readonly policy: string } {
  const { entries, root, accuracyMs, authority, policy } = head;
  return { entries, root: root.toString('hex'), before: beforeOf(head), accuracyMs, authority, policy };
}
