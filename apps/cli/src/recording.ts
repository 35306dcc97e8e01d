import { createHash, type Hash } from 'node:crypto';
import { readRecording, RECORDING_DOMAIN, sizeIn, type RecordedSegment, type RecordingHeader, type RecordingRecord } from '@caisson/contract';

/** Size of the terminal that players show a command without one in. */
const NO_TERMINAL = { cols: 80, rows: 24 } as const;

/**
 * A recording as asciicast v2, a line at a time: players show stdout and stderr alike, and a marker says where one gives
 * way to the other. What is not UTF-8 is U+FFFD there: the recording itself is the truth, this is to be looked at. It says
 * nothing of the command but what that wrote.
 *
 * @throws Error where the recording cannot be read
 */
export async function* asciicast(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const text = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  let stream: 'stdout' | 'stderr' = 'stdout';
  let lastMs = 0;
  for await (const piece of records(chunks)) {
    if ('header' in piece) {
      const { cols, rows } = piece.header.tty ?? NO_TERMINAL;
      yield line({ version: 2, width: cols, height: rows, timestamp: Math.floor(piece.header.startedMs / 1_000) });
      continue;
    }
    const { kind, atMs, bytes } = piece.record;
    lastMs = atMs;
    if (kind === 'resize') {
      const { cols, rows } = sizeIn(bytes);
      yield line([atMs / 1_000, 'r', `${cols}x${rows}`]);
      continue;
    }
    if (kind !== stream) yield line([atMs / 1_000, 'm', kind]);
    stream = kind;
    const shown = text[kind].decode(bytes, { stream: true });
    if (shown !== '') yield line([atMs / 1_000, 'o', shown]);
  }
  const rest = text.stdout.decode() + text.stderr.decode(); // characters that were cut by the end
  if (rest !== '') yield line([lastMs / 1_000, 'o', rest]);
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

type Read = { readonly header: RecordingHeader } | { readonly record: RecordingRecord };

/** @throws Error where the recording cannot be read */
export async function* records(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Read> {
  for await (const piece of readRecording(chunks)) {
    if ('bad' in piece) throw new Error(`the recording cannot be read: ${piece.bad}`);
    yield piece;
  }
}

/** What comparing a recording with the log came to. */
export interface Verified {
  /** Segments that are as the log has them, from the first on. */
  readonly good: number;
  /** The first that is not, from 0, and why; nothing after it was looked at. */
  readonly bad: { readonly segment: number; readonly reason: string } | null;
}

/** Compares a recording with the digests that the log has of it. It throws for nothing that a recording can hold. */
export async function verifyRecording(chunks: AsyncIterable<Uint8Array>, segments: readonly RecordedSegment[]): Promise<Verified> {
  let first: Uint8Array = new Uint8Array(0);
  let at = 0;
  let bytes = 0;
  let hash: Hash | undefined;
  const bad = (reason: string): Verified => ({ good: at, bad: { segment: at, reason } });
  for await (const piece of readRecording(chunks)) {
    if ('bad' in piece) return bad(piece.bad);
    if ('header' in piece) {
      first = piece.line;
      continue;
    }
    const segment = segments[at];
    if (segment === undefined) return bad('it is not on record: something was added');
    hash ??= createHash('sha256').update(RECORDING_DOMAIN).update(first).update(`${at}\n`);
    hash.update(piece.head).update(piece.record.bytes);
    bytes += piece.head.length + piece.record.bytes.length;
    if (bytes < segment.bytes) continue;
    if (bytes > segment.bytes) return bad('its records are of other sizes than those on record');
    if (hash.digest('hex') !== segment.sha256) return bad('it is not what was written');
    at += 1;
    bytes = 0;
    hash = undefined;
  }
  return at === segments.length ? { good: at, bad: null } : bad(bytes === 0 ? 'it is missing' : 'its end is missing');
}
