import type { FileHandle } from 'node:fs/promises';
import type { Receipt } from '@caisson/contract';
import { breakOfChain, MAX_LINE_BYTES, parseLine, type Line } from './chain.ts';
import { emptyLedger, enter, objection, type Ledger } from './ledger.ts';
import { readLines, type Piece } from './lines.ts';

export interface BadEntry {
  readonly index: number;
  readonly reason: string;
}

/** A log read from its first byte: all of it, or all before the first bad entry. */
export interface Scan {
  /** The last good entry. */
  readonly head: Receipt | null;
  readonly ledger: Ledger;
  /** Bytes of the good entries. */
  readonly wholeBytes: number;
  /** What follows the last newline: an append that was never acknowledged, or what is left of a cut. */
  readonly tail: Buffer;
  readonly bad: BadEntry | null;
}

/** Reads and checks a whole log; memory does not grow with it. */
export async function scanLog(file: FileHandle, onLine?: (line: Line) => void): Promise<Scan> {
  const ledger = emptyLedger();
  let head: Receipt | null = null;
  let wholeBytes = 0;
  const { size } = await file.stat();
  for await (const piece of readLines(file, { start: 0, end: size })) {
    if (piece.kind === 'tail') return { head, ledger, wholeBytes, tail: piece.bytes, bad: null };
    const line = nextLine(piece, head, ledger);
    if (typeof line === 'string') {
      return { head, ledger, wholeBytes, tail: Buffer.alloc(0), bad: { index: head === null ? 0 : head.index + 1, reason: line } };
    }
    const { entry, hash } = line;
    head = { index: entry.index, hash };
    enter(ledger, entry.kind, entry.subject, head);
    if (piece.kind === 'line') wholeBytes = piece.end;
    onLine?.(line);
  }
  return { head, ledger, wholeBytes, tail: Buffer.alloc(0), bad: null };
}

/** The line in a piece, or why it cannot come next. */
function nextLine(piece: Exclude<Piece, { kind: 'tail' }>, head: Receipt | null, ledger: Ledger): Line | string {
  if (piece.kind === 'overlong') return `is longer than ${MAX_LINE_BYTES} bytes`;
  const line = parseLine(piece.bytes);
  if ('bad' in line) return line.bad;
  return breakOfChain(line, head) ?? objection(ledger, line.entry.kind, line.entry.subject) ?? line;
}
