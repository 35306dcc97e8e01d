import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import { MAX_LINE_BYTES } from './chain.ts';

export const LOG_FILE = 'log.jsonl';
const NEWLINE = 0x0a;
const CHUNK_BYTES = 256 * 1024;

export type Piece =
  /** A whole line without its newline; the next one starts at `end`. */
  | { readonly kind: 'line'; readonly bytes: Buffer; readonly end: number }
  /** What follows the last newline. */
  | { readonly kind: 'tail'; readonly bytes: Buffer }
  /** More bytes without a newline than a line can have; nothing comes after it. */
  | { readonly kind: 'overlong' };

/** Cuts a part of a file into lines, holding at most one line and one chunk. */
export async function* readLines(file: FileHandle, { start, end }: { readonly start: number; readonly end: number }): AsyncGenerator<Piece> {
  let pending: Buffer = Buffer.alloc(0);
  let read = start;
  while (read < end) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - read));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, read);
    if (bytesRead === 0) break;
    const first = read - pending.length;
    read += bytesRead;
    pending = Buffer.concat([pending, chunk.subarray(0, bytesRead)]);
    let at = 0;
    for (let to = pending.indexOf(NEWLINE); to !== -1; to = pending.indexOf(NEWLINE, at)) {
      if (to - at > MAX_LINE_BYTES) break;
      yield { kind: 'line', bytes: pending.subarray(at, to), end: first + to + 1 };
      at = to + 1;
    }
    pending = pending.subarray(at);
    if (pending.length > MAX_LINE_BYTES) return yield { kind: 'overlong' };
  }
  if (pending.length > 0) yield { kind: 'tail', bytes: pending };
}

/** Where the last `count` whole lines start. */
export async function startOfLast(file: FileHandle, count: number): Promise<number> {
  let newlines = 0;
  let to = (await file.stat()).size;
  while (to > 0) {
    const from = Math.max(0, to - CHUNK_BYTES);
    const chunk = Buffer.alloc(to - from);
    await file.read(chunk, 0, chunk.length, from);
    for (let at = chunk.lastIndexOf(NEWLINE); at !== -1; at = at === 0 ? -1 : chunk.lastIndexOf(NEWLINE, at - 1)) {
      newlines += 1;
      if (newlines > count) return from + at + 1;
    }
    to = from;
  }
  return 0;
}

/** Opens the log of a directory to read it. @throws CaissonError STATE_DIR_INVALID */
export async function openToRead(dir: string): Promise<FileHandle> {
  try {
    return await open(`${dir}/${LOG_FILE}`, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (cause) {
    throw new CaissonError('STATE_DIR_INVALID', { dir, detail: whyUnreadable(cause as NodeJS.ErrnoException) }, { cause });
  }
}

function whyUnreadable(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return `it holds no evidence log (${LOG_FILE})`;
  if (error.code === 'EACCES') return 'only the user of the scribe and root may read the evidence; run this as root';
  return error.message;
}
