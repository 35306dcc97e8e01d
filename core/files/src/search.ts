import { CaissonError } from '@caisson/contract';
import type { Connection } from './connection.ts';
import { REQUEST, violation } from './frames.ts';
import { absolutePath, joined, told, type FilePath } from './paths.ts';
import { ItemStream, ReplyStream } from './stream.ts';
import { flags } from './verbs.ts';

/** What to look for: names, text, or text in files with such names. */
export interface SearchQuery {
  /** A pattern: `*`, `?`, `[a-z]`; with a `/` it is for the path below the start, where `**` is any run of directories. */
  readonly name?: string;
  /** Text of one line. */
  readonly content?: string;
  /** `content` is a POSIX extended regular expression, without back references. Default: false. */
  readonly regex?: boolean;
  readonly ignoreCase?: boolean;
  /** Most matches. Default: 1,000. */
  readonly limit?: number;
  /** Larger files are passed over. Default: 8 MiB. */
  readonly fileBytes?: number;
  /** Longest time. Default: 10 s. */
  readonly timeoutMs?: number;
}

export interface Match {
  readonly path: string;
  readonly pathBase64?: string;
  /** From 1; 0 when only names were looked for. */
  readonly line: number;
  /** In bytes, from 1; 0 when only names were looked for. */
  readonly column: number;
  /** The line, at most 512 bytes of it. */
  readonly text: string;
}

const LIMIT = 1000;
const LIMIT_MAX = 100_000;
const FILE_BYTES = 8 * 1024 * 1024;
const TIMEOUT_MS = 10_000;
const TIMEOUT_MS_MAX = 60_000;
const PATTERN_BYTES_MAX = 1024;
const FIXED_BYTES = 20;

/**
 * Looks through a tree as it is being read; links are not followed and files that hold a NUL byte are not searched. Lines
 * longer than 16 KiB are looked at in pieces. The iteration fails with FILE_TOO_LARGE when its time is over: what came
 * before is right, and there may be more.
 */
export function searchFiles(connection: Connection, path: FilePath, query: SearchQuery): ItemStream<Match> {
  const { name = '', content = '', limit = LIMIT, fileBytes = FILE_BYTES, timeoutMs = TIMEOUT_MS } = query;
  const patterns = [name, content].map((text) => Buffer.from(text));
  const isPossible = patterns.every((text) => text.length <= PATTERN_BYTES_MAX && !text.includes(0) && !text.includes(0x0a)) && `${name}${content}` !== '';
  if (!isPossible) throw invalid(`name, content: one of them, each of at most ${PATTERN_BYTES_MAX} bytes on one line`);
  if (!isWithin(limit, LIMIT_MAX)) throw invalid(`limit: not within 1 to ${LIMIT_MAX}`);
  if (!isWithin(timeoutMs, TIMEOUT_MS_MAX)) throw invalid(`timeoutMs: not within 1 to ${TIMEOUT_MS_MAX}`);
  if (!isWithin(fileBytes, Number.MAX_SAFE_INTEGER)) throw invalid('fileBytes: not a count of bytes');
  const bytes = absolutePath(path);
  const fields = {
    path: bytes,
    other: Buffer.concat([patterns[0] ?? Buffer.alloc(0), Buffer.from('\n'), patterns[1] ?? Buffer.alloc(0)]),
    flags: flags({ regex: query.regex, ignoreCase: query.ignoreCase }),
    number: limit,
    first: fileBytes,
    second: timeoutMs,
  };
  return new ItemStream(() => ReplyStream.open(connection, REQUEST.search, fields), (payload) => decodeMatches(payload, bytes));
}

const invalid = (detail: string): CaissonError => new CaissonError('REQUEST_INVALID', { detail });
const isWithin = (value: number, most: number): boolean => Number.isSafeInteger(value) && value >= 1 && value <= most;

/** @throws CaissonError FRAME_INVALID */
function* decodeMatches(payload: Buffer, folder: Buffer): Generator<Match> {
  for (let at = 0; at < payload.length; ) {
    if (payload.length - at < FIXED_BYTES) throw violation('a match that is cut off');
    const textAt = at + FIXED_BYTES + payload.readUInt32LE(at + 8);
    const end = textAt + payload.readUInt32LE(at + 12);
    if (end > payload.length) throw violation('a match of the wrong size');
    yield {
      ...told(joined(folder, payload.subarray(at + FIXED_BYTES, textAt))),
      line: payload.readUInt32LE(at),
      column: payload.readUInt32LE(at + 4),
      text: payload.toString('utf8', textAt, end),
    };
    at = end;
  }
}
