import { constants } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import type { Entry } from '@caisson/contract';
import { parseEntry } from './entry.ts';

/**
 * What is durable and not yet in tiles: files `journal-FIRST`, where FIRST is how many entries come before. A line is an entry,
 * or, as a JSON string, the signed checkpoint of all entries before it: an append writes its entries and one checkpoint.
 */
const NAME = /^journal-(0|[1-9][0-9]{0,15})$/;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
/** More than one write is never torn: what follows the last checkpoint is shorter than this. */
const MAX_JOURNAL_BYTES = 512 * 1024 * 1024;

export const journalName = (first: number): string => `journal-${first}`;

/** The numbers of the journals in a folder, the smallest first. */
export async function journalsIn(dir: string): Promise<readonly number[]> {
  const names = await readdir(dir);
  return names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number).sort((a, b) => a - b);
}

export interface JournalEntry {
  readonly entry: Entry;
  readonly bytes: Buffer;
}

/** One append: its entries, and the checkpoint after them. */
export interface Batch {
  readonly entries: readonly JournalEntry[];
  readonly checkpoint: string;
  /** Where it ends in the file. */
  readonly end: number;
}

export interface BadLine {
  /** Entries of the journal that are before it. */
  readonly before: number;
  readonly reason: string;
}

export interface JournalRead {
  readonly batches: readonly Batch[];
  /** What follows the last checkpoint: an append that was never acknowledged, or is being written. */
  readonly tail: Buffer;
  /** The first line that is neither an entry nor a checkpoint. */
  readonly bad: BadLine | null;
}

/** Reads a journal from a byte on; null: it is not there. */
export async function readJournal(path: string, from = 0): Promise<JournalRead | null> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size - from > MAX_JOURNAL_BYTES) return { batches: [], tail: Buffer.alloc(0), bad: { before: 0, reason: `is in a journal of more than ${MAX_JOURNAL_BYTES} bytes` } };
    if (size <= from) return { batches: [], tail: Buffer.alloc(0), bad: null };
    const bytes = Buffer.alloc(size - from);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
    return parseJournal(bytes.subarray(0, bytesRead), from);
  } finally {
    await file.close();
  }
}

/** @param from where `bytes` stand in the file */
function parseJournal(bytes: Buffer, from: number): JournalRead {
  const batches: Batch[] = [];
  let entries: JournalEntry[] = [];
  let whole = 0;
  let count = 0;
  let bad: BadLine | null = null;
  for (let at = 0, to = bytes.indexOf(NEWLINE); to !== -1; at = to + 1, to = bytes.indexOf(NEWLINE, at)) {
    const line = bytes.subarray(at, to);
    if (line[0] === QUOTE) {
      const checkpoint = parseString(line);
      if (checkpoint === null) return { batches, tail: Buffer.alloc(0), bad: bad ?? { before: count, reason: 'comes before a line that is no checkpoint' } };
      // What is bad before a checkpoint was acknowledged once: it is no torn write.
      if (bad !== null) return { batches, tail: Buffer.alloc(0), bad };
      whole = to + 1;
      batches.push({ entries, checkpoint, end: from + whole });
      entries = [];
      continue;
    }
    const entry = parseEntry(line);
    if ('bad' in entry) bad ??= { before: count, reason: entry.bad };
    else entries.push({ entry, bytes: line });
    count += 1;
  }
  return { batches, tail: bytes.subarray(whole), bad: null };
}

function parseString(line: Buffer): string | null {
  try {
    const text: unknown = JSON.parse(line.toString('utf8'));
    return typeof text === 'string' && JSON.stringify(text) === line.toString('utf8') ? text : null;
  } catch {
    return null;
  }
}
