import { createHash, randomBytes, type Hash } from 'node:crypto';
import { MIB, RECORD_HEAD_BYTES, RECORDING_DOMAIN, writeRecordHead, type RecordedSegment, type RecordingHeader, type RecordKind } from '@caisson/contract';

/** So many segments are of at most 1 MiB and a record, as many of twice that, and so on; the last takes all that is left. */
const SEGMENTS_OF_A_SIZE = 16;
const SEGMENTS_MOST = 128;

/** Digests of what an exec writes, taken as it comes: what is changed in the file later does not match them. */
export class Recorder {
  /** The first line of the recording, with its newline; as text, because a small buffer holds all of the larger one that it is a slice of. */
  readonly line: string;
  readonly #now: () => number;
  readonly #startedMs: number;
  readonly #segments: RecordedSegment[] = [];
  #hash: Hash | undefined;
  #bytes = 0;
  #lastMs = 0;

  /** @param now milliseconds since 1970 UTC; where that clock goes back, the time of the recording stands still */
  constructor({ now, tty }: { readonly now: () => number; readonly tty: RecordingHeader['tty'] }) {
    this.#now = now;
    this.#startedMs = now();
    const header: RecordingHeader = { version: 1, salt: randomBytes(32).toString('hex'), startedMs: Math.trunc(this.#startedMs), tty };
    this.line = `${JSON.stringify(header)}\n`;
  }

  /** Takes a record, and gives its head. */
  take(kind: RecordKind, bytes: Uint8Array): Buffer {
    this.#lastMs = Math.max(this.#lastMs, Math.trunc(this.#now() - this.#startedMs));
    const head = Buffer.allocUnsafe(RECORD_HEAD_BYTES);
    writeRecordHead(head, 0, { kind, bytes: bytes.length, atMs: this.#lastMs });
    this.#hash ??= createHash('sha256').update(RECORDING_DOMAIN).update(this.line).update(`${this.#segments.length}\n`);
    this.#hash.update(head).update(bytes);
    this.#bytes += head.length + bytes.length;
    if (this.#bytes >= mostBytes(this.#segments.length)) this.#cut();
    return head;
  }

  #cut(): void {
    if (this.#hash === undefined) return;
    this.#segments.push({ bytes: this.#bytes, sha256: this.#hash.digest('hex') });
    this.#hash = undefined;
    this.#bytes = 0;
  }

  /** All segments. Nothing is taken afterwards. */
  end(): readonly RecordedSegment[] {
    this.#cut();
    return this.#segments;
  }
}

function mostBytes(segment: number): number {
  return segment === SEGMENTS_MOST - 1 ? Infinity : MIB * 2 ** Math.floor(segment / SEGMENTS_OF_A_SIZE);
}
