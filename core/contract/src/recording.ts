/**
 * The recording of an exec: one line of JSON, then records, each of a head and bytes. The head is kind (1 byte), length of
 * the bytes (4) and milliseconds since the start (6), little-endian. The records are cut into segments; the digest of
 * segment `n` is SHA-256 over RECORDING_DOMAIN, the first line with its newline, `n` and a newline, and its records.
 */

export const RECORDING_DOMAIN = 'caisson-recording-v1\n';
export const RECORD_HEAD_BYTES = 11;
/** Longest first line. */
const MAX_HEADER_BYTES = 4_096;
/** Longest record: more than a frame between our processes can hold. */
const MAX_RECORD_BYTES = 64 * 1024 * 1024;

/** What a record is, by the number in its head. The bytes of `resize` are columns and rows, 2 bytes each, little-endian. */
export const RECORD_KINDS = { stdout: 1, stderr: 2, resize: 3 } as const;
export type RecordKind = keyof typeof RECORD_KINDS;

const KIND_OF: ReadonlyMap<number, RecordKind> = new Map(Object.entries(RECORD_KINDS).map(([kind, number]) => [number, kind as RecordKind]));

/** The first line. */
export interface RecordingHeader {
  readonly version: 1;
  /** 64 hex digits, random: who has the log and not the recording cannot try what was written. */
  readonly salt: string;
  /** In milliseconds since 1970 UTC. */
  readonly startedMs: number;
  /** Its terminal as it was started; null: pipes. */
  readonly tty: { readonly cols: number; readonly rows: number } | null;
}

/** What the log has of a segment. */
export interface RecordedSegment {
  /** Of its records, heads included. */
  readonly bytes: number;
  /** Hex; as described above. */
  readonly sha256: string;
}

export interface RecordingRecord {
  readonly kind: RecordKind;
  /** Milliseconds since the start; it never gets smaller from one record to the next. */
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

/** A recording cut into its lines and records, as far as it could be read. */
export type RecordingPiece = { readonly header: RecordingHeader; readonly line: Uint8Array } | { readonly record: RecordingRecord; readonly head: Uint8Array } | { readonly bad: string };

/** Reads a recording whose pieces may be cut anywhere. It ends after the first thing that is bad. */
export async function* readRecording(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<RecordingPiece> {
  let held: Uint8Array = new Uint8Array(0);
  let isHeaderRead = false;
  for await (const chunk of chunks) {
    held = joined(held, chunk);
    for (;;) {
      const next = isHeaderRead ? recordAt(held) : headerAt(held);
      if (next === null) break;
      yield next.piece;
      if ('bad' in next.piece) return;
      isHeaderRead = true;
      held = held.subarray(next.used);
    }
  }
  if (held.length > 0 || !isHeaderRead) yield { bad: isHeaderRead ? 'it ends within a record' : 'it ends within its first line' };
}

interface Next {
  readonly piece: RecordingPiece;
  readonly used: number;
}

function headerAt(bytes: Uint8Array): Next | null {
  const end = bytes.indexOf(0x0a);
  if (end < 0 && bytes.length <= MAX_HEADER_BYTES) return null;
  const header = end < 0 || end > MAX_HEADER_BYTES ? null : headerIn(bytes.subarray(0, end));
  return { piece: header === null ? { bad: 'its first line is not one of a recording' } : { header, line: bytes.subarray(0, end + 1) }, used: end + 1 };
}

function headerIn(line: Uint8Array): RecordingHeader | null {
  try {
    const { version, salt, startedMs, tty } = JSON.parse(String.fromCharCode(...line)) as Partial<RecordingHeader>;
    if (version !== 1 || typeof salt !== 'string' || !/^[0-9a-f]{64}$/.test(salt) || !Number.isSafeInteger(startedMs)) return null;
    if (tty === undefined || (tty !== null && !(isSize(tty.cols) && isSize(tty.rows)))) return null;
    return { version, salt, startedMs: startedMs as number, tty: tty === null ? null : { cols: tty.cols, rows: tty.rows } };
  } catch {
    return null;
  }
}

function isSize(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function recordAt(bytes: Uint8Array): Next | null {
  if (bytes.length < RECORD_HEAD_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KIND_OF.get(view.getUint8(0));
  const length = view.getUint32(1, true);
  if (kind === undefined || length > MAX_RECORD_BYTES || (kind === 'resize' && length !== 4)) return { piece: { bad: 'a record is of no kind that there is' }, used: 0 };
  if (bytes.length < RECORD_HEAD_BYTES + length) return null;
  const atMs = view.getUint32(5, true) + 2 ** 32 * view.getUint16(9, true);
  const used = RECORD_HEAD_BYTES + length;
  return { piece: { record: { kind, atMs, bytes: bytes.subarray(RECORD_HEAD_BYTES, used) }, head: bytes.subarray(0, RECORD_HEAD_BYTES) }, used };
}

/** The head of a record, into `at` of a buffer that has room for it. */
export function writeRecordHead(into: Uint8Array, at: number, { kind, bytes, atMs }: { readonly kind: RecordKind; readonly bytes: number; readonly atMs: number }): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  view.setUint8(at, RECORD_KINDS[kind]);
  view.setUint32(at + 1, bytes, true);
  view.setUint32(at + 5, atMs % 2 ** 32, true);
  view.setUint16(at + 9, Math.floor(atMs / 2 ** 32), true);
}

/** Columns and rows of a record of kind `resize`. */
export function sizeIn(bytes: Uint8Array): { readonly cols: number; readonly rows: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { cols: view.getUint16(0, true), rows: view.getUint16(2, true) };
}

export function resizeBytes({ cols, rows }: { readonly cols: number; readonly rows: number }): Uint8Array {
  const bytes = new Uint8Array(4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, cols, true);
  view.setUint16(2, rows, true);
  return bytes;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
