import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError, type Receipt } from '@caisson/contract';
import { breakOfChain, MAX_LINE_BYTES, parseLine, type Line } from './chain.ts';
import { openToRead, readLines, startOfLast, type Piece } from './lines.ts';

const POLL_MS = 100;

export interface ReadOptions {
  /** Index of the first entry to read. Default 0. */
  readonly from?: number;
  /** Reads only the last so many of the entries that are there, whatever `from` says. */
  readonly last?: number;
  /** Whether to wait for further entries once all are read. Default false. */
  readonly follow?: boolean;
  /** Ends the reading. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The entries of the log in `dir`, each checked against itself and the one read before it; what comes before the
 * first one is not checked. A follower may see an entry whose append fails afterwards.
 *
 * @throws CaissonError STATE_DIR_INVALID when the log cannot be read; EVIDENCE_DAMAGED at an entry that is bad.
 */
export async function* readEntries(dir: string, options: ReadOptions = {}): AsyncGenerator<Line> {
  const { follow = false, signal = new AbortController().signal } = options;
  await using file = await openToRead(dir);
  let { at, toSkip } = await firstOf(file, options);
  let head: Receipt | null | undefined = at === 0 && toSkip === 0 ? null : undefined;
  while (!signal.aborted) {
    const { size } = await file.stat();
    if (size < at) throw damaged(head, 'it became shorter while it was read: a failed append was undone, or entries were cut off');
    // A tail is read again from its start: it may be undone and replaced before it becomes a line.
    for await (const piece of readLines(file, { start: at, end: size })) {
      if (signal.aborted || piece.kind === 'tail') break;
      if (piece.kind === 'line') at = piece.end;
      if (toSkip-- > 0) continue;
      const line = goodLine(piece, head);
      head = { index: line.entry.index, hash: line.hash };
      yield line;
    }
    if (!follow) return;
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function firstOf(file: FileHandle, { from = 0, last }: ReadOptions): Promise<{ at: number; toSkip: number }> {
  return last === undefined ? { at: 0, toSkip: from } : { at: await startOfLast(file, last), toSkip: 0 };
}

function goodLine(piece: Exclude<Piece, { kind: 'tail' }>, head: Receipt | null | undefined): Line {
  if (piece.kind === 'overlong') throw damaged(head, `is longer than ${MAX_LINE_BYTES} bytes`);
  const line = parseLine(piece.bytes);
  if ('bad' in line) throw damaged(head, line.bad);
  const broken = head === undefined ? undefined : breakOfChain(line, head);
  if (broken !== undefined) throw damaged(head, broken);
  return line;
}

function damaged(head: Receipt | null | undefined, detail: string): CaissonError {
  const index = head === undefined ? 'before the first one read' : head === null ? 0 : head.index + 1;
  return new CaissonError('EVIDENCE_DAMAGED', { index, detail });
}
