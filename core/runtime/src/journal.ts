import { createHash, type Hash } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { RECORD_HEAD_BYTES, resizeBytes, type RecordedSegment } from '@caisson/contract';
import type { OutputStream } from './driver.ts';
import type { Recorder } from './recorder.ts';

/** Bytes that a journal holds in memory, those of keeping each chunk included, before they go to its file. */
const MEMORY_BYTES = 64 * 1024;
/** A place in the file is noted at least this often. */
const INDEX_BYTES = 64 * 1024;
/** Bytes read from the file at once. */
const READ_BYTES = 256 * 1024;
/** What a chunk takes in memory besides its bytes: output that comes byte by byte must not take many times its size. */
const CHUNK_BYTES = 256;
/** Bytes of output that the journal of an ended sandbox leaves in memory; what is more goes to its file. */
const SETTLED_BYTES = 1024;
/** A record in the file is one of the recording (core/contract/src/recording.ts): kind, length, time, bytes. */
const HEAD_BYTES = RECORD_HEAD_BYTES;
/** Changes of the terminal's size that are kept: whoever makes more takes no room by it. */
const RESIZES_MOST = 1_000;
const NOTHING_SHA256 = createHash('sha256').digest('hex');

/** Output bytes of one stream. `offset` counts both streams together, in the order they came. */
export interface JournalChunk {
  readonly stream: OutputStream;
  readonly offset: number;
  readonly bytes: Buffer;
}

/** A record in memory. The size of a terminal is one that has no place among the output: its offset is that of what comes next. */
interface Kept {
  readonly stream: OutputStream | 'resize';
  readonly offset: number;
  readonly head: Buffer;
  readonly bytes: Buffer;
}

interface Place {
  readonly offset: number;
  readonly position: number;
}

/**
 * The output of one exec, kept in the order it came, for any number of readers at any place. Small output stays in memory;
 * what is more goes to a file. It takes whatever the exec writes at once, so that no exec waits for a reader.
 */
export class Journal implements AsyncDisposable {
  readonly #path: string;
  /** Null once it has ended: what was counted is all there is. */
  #digests: { [stream in OutputStream]?: Hash } | null = {};
  #sums: Readonly<Record<OutputStream, string>> = { stdout: NOTHING_SHA256, stderr: NOTHING_SHA256 };
  readonly #counts: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  #memory: Kept[] = [];
  readonly #recorder: Recorder;
  #segments: readonly RecordedSegment[] = [];
  #resizes = 0;
  #memoryBytes = 0;
  #total = 0;
  #recordBytes = 0;
  /** What lies before this offset is in the file. */
  #inFile = 0;
  #position = 0;
  #places: Place[] = [];
  #file: FileHandle | undefined;
  #flushing: Promise<void> | undefined;
  #ended = false;
  #isPacked = false;
  #closed = false;
  /** Appends and reads that are using the file. */
  #using = 0;
  #failure: Error | undefined;
  #changed = Promise.withResolvers<void>();

  /** @param path of the file, which is made when it is needed. */
  constructor(path: string, recorder: Recorder) {
    this.#path = path;
    this.#recorder = recorder;
  }

  /** Bytes of both streams so far. */
  get total(): number {
    return this.#total;
  }

  /** Bytes that all of it takes as records of a file, where it is in one: output that comes byte by byte takes many times its size. */
  get recordBytes(): number {
    return this.#recordBytes;
  }

  /** Resolves when there is room for more, which bounds what is held in memory. Rejects when the file cannot take it. */
  async append(stream: OutputStream, bytes: Buffer): Promise<void> {
    if (this.#ended || this.#digests === null) return;
    (this.#digests[stream] ??= createHash('sha256')).update(bytes);
    this.#counts[stream] += bytes.length;
    this.#memory.push({ stream, offset: this.#total, head: this.#recorder.take(stream, bytes), bytes: Buffer.from(bytes) }); // a slice of a larger buffer would hold all of it
    this.#total += bytes.length;
    this.#recordBytes += HEAD_BYTES + bytes.length;
    this.#memoryBytes += bytes.length + CHUNK_BYTES;
    this.#tell();
    this.#using += 1;
    while (this.#memoryBytes > MEMORY_BYTES && this.#failure === undefined && !this.#closed) await (this.#flushing ??= this.#flush());
    this.#using -= 1;
    this.#rest();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Records that the terminal has another size. */
  resize(size: { readonly cols: number; readonly rows: number }): void {
    if (this.#ended || this.#resizes >= RESIZES_MOST) return;
    this.#resizes += 1;
    const bytes = Buffer.from(resizeBytes(size));
    this.#memory.push({ stream: 'resize', offset: this.#total, head: this.#recorder.take('resize', bytes), bytes });
    this.#recordBytes += HEAD_BYTES + bytes.length;
    this.#memoryBytes += bytes.length + CHUNK_BYTES;
  }

  /** Why the file takes no more, such as ENOSPC; null: it has taken all that it was given. */
  get failure(): string | null {
    if (this.#failure === undefined) return null;
    return (this.#failure as NodeJS.ErrnoException).code ?? this.#failure.message;
  }

  /** Of an exec that has ended. */
  get segments(): readonly RecordedSegment[] {
    return this.#segments;
  }

  async #flush(): Promise<void> {
    const chunks = [...this.#memory]; // what comes while it is written is not written yet
    try {
      this.#file ??= await open(this.#path, this.#position === 0 ? 'wx+' : 'r+', 0o600);
      const parts: Buffer[] = [];
      let position = this.#position;
      for (const { offset, head, bytes } of chunks) {
        const last = this.#places.at(-1);
        if (last === undefined || position - last.position >= INDEX_BYTES) this.#places.push({ offset, position });
        parts.push(head, bytes);
        position += HEAD_BYTES + bytes.length;
      }
      const all = Buffer.concat(parts);
      for (let at = 0; at < all.length; ) at += (await this.#file.write(all, at, all.length - at, this.#position + at)).bytesWritten;
      this.#position = position;
      const last = chunks.at(-1);
      this.#inFile = last === undefined ? this.#inFile : endOf(last);
      this.#memory = this.#memory.slice(chunks.length);
      this.#memoryBytes -= all.length + chunks.length * (CHUNK_BYTES - HEAD_BYTES);
    } catch (error) {
      this.#failure = error as Error; // what is in memory can still be read
    } finally {
      this.#flushing = undefined;
    }
  }

  /** Nothing more will come. Readers end when they have read everything. */
  end(): void {
    if (this.#digests !== null) this.#sums = sumsOf(this.#digests);
    this.#digests = null;
    if (!this.#ended) this.#segments = this.#recorder.end();
    this.#ended = true;
    this.#tell();
    this.#rest();
  }

  /** Leaves little of a journal that has ended in memory. Where the file cannot take it, all stays there. */
  async settle(): Promise<void> {
    this.#using += 1;
    while (this.#total - this.#inFile > SETTLED_BYTES && this.#failure === undefined && !this.#closed) await (this.#flushing ??= this.#flush());
    this.#using -= 1;
    this.#rest();
  }

  /** The journal of an exec that has ended is kept without a descriptor and as small as it can be: there are as many as execs that are remembered. */
  #rest(): void {
    if (!this.#ended || this.#using > 0) return;
    if (!this.#isPacked) this.#memory = packed(this.#memory);
    this.#isPacked = true;
    const file = this.#file;
    this.#file = undefined;
    void file?.close().catch(() => undefined);
  }

  /** Bytes and digests of what was kept. */
  counts(): Readonly<Record<OutputStream, { readonly bytes: number; readonly sha256: string }>> {
    const sums = this.#digests === null ? this.#sums : sumsOf(this.#digests);
    const count = (stream: OutputStream): { bytes: number; sha256: string } => ({ bytes: this.#counts[stream], sha256: sums[stream] });
    return { stdout: count('stdout'), stderr: count('stderr') };
  }

  /** Everything, where it is little and never went to the file; null otherwise. */
  whole(mostBytes: number): readonly JournalChunk[] | null {
    return this.#inFile === 0 && this.#file === undefined && this.#total <= mostBytes ? this.#memory.filter(isOutput) : null;
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Every chunk from `from` on, once and in order, up to the end of the exec. Ends early when the signal is aborted. */
  async *read(from: number, signal: AbortSignal): AsyncGenerator<JournalChunk> {
    const wake = (): void => this.#tell(); // a promise of the abort itself would keep whoever waited on it, once for each wait
    signal.addEventListener('abort', wake, { once: true });
    try {
      for (let at = from; !signal.aborted && !this.#closed && !(this.#ended && at >= this.#total); ) {
        const chunks = await this.#next(at);
        for (const chunk of chunks) yield chunk;
        const last = chunks.at(-1);
        at = last === undefined ? at : last.offset + last.bytes.length;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /** What there is from here on; nothing after a wait for more. */
  async #next(at: number): Promise<readonly JournalChunk[]> {
    if (at < this.#inFile) return this.#readFile(at);
    if (at < this.#total) return [fromOffset(this.#memory.filter(isOutput), at)];
    await this.#changed.promise;
    return [];
  }

  async #readFile(at: number): Promise<readonly JournalChunk[]> {
    const shared = this.#file;
    if (shared === undefined) {
      await using own = await open(this.#path, 'r');
      return await this.#readFrom(own, at);
    }
    this.#using += 1;
    try {
      return await this.#readFrom(shared, at);
    } finally {
      this.#using -= 1;
      this.#rest();
    }
  }

  /** At least one chunk. The place noted last before `at` is at most INDEX_BYTES and one record away. */
  async #readFrom(file: FileHandle, at: number): Promise<readonly JournalChunk[]> {
    const place = this.#places.findLast(({ offset }) => offset <= at) ?? { offset: 0, position: 0 };
    const chunks: JournalChunk[] = [];
    let { offset, position } = place;
    const limit = this.#inFile;
    while (offset < limit && chunks.length === 0) {
      const window = Buffer.alloc(Math.min(READ_BYTES + HEAD_BYTES, this.#position - position));
      const { bytesRead } = await file.read(window, 0, window.length, position);
      if (bytesRead < HEAD_BYTES) throw new Error('the journal is shorter than it was');
      let used = 0;
      while (used + HEAD_BYTES <= bytesRead) {
        const kind = window.readUInt8(used);
        const length = window.readUInt32LE(used + 1);
        if (used + HEAD_BYTES + length > bytesRead) break;
        const bytes = window.subarray(used + HEAD_BYTES, used + HEAD_BYTES + length);
        used += HEAD_BYTES + length;
        const stream = STREAMS[kind - 1];
        if (stream === undefined) continue;
        const skipped = Math.max(0, at - offset);
        if (skipped < length) chunks.push({ stream, offset: offset + skipped, bytes: bytes.subarray(skipped) });
        offset += length;
      }
      position += used;
    }
    return chunks;
  }

  /** The recording as it is now: what is in the file as the file has it, and then what is in memory. */
  async *recording(): AsyncGenerator<Buffer> {
    yield Buffer.from(this.#recorder.line);
    const [end, memory] = [this.#position, [...this.#memory]];
    if (end > 0) {
      await using file = await open(this.#path, 'r');
      for (let at = 0; at < end; ) {
        const window = Buffer.alloc(Math.min(READ_BYTES, end - at));
        const { bytesRead } = await file.read(window, 0, window.length, at);
        if (bytesRead === 0) return; // which shows: the digests are over more than this
        at += bytesRead;
        yield window.subarray(0, bytesRead);
      }
    }
    for (const { head, bytes } of memory) yield Buffer.concat([head, bytes]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.end();
    await this.#flushing;
    await this.#file?.close();
    if (this.#position > 0 || this.#failure !== undefined) await rm(this.#path, { force: true }); // the output of most execs never goes to a file
  }
}

function sumsOf({ stdout, stderr }: { readonly [stream in OutputStream]?: Hash }): Readonly<Record<OutputStream, string>> {
  return { stdout: stdout?.copy().digest('hex') ?? NOTHING_SHA256, stderr: stderr?.copy().digest('hex') ?? NOTHING_SHA256 };
}

const STREAMS: readonly (OutputStream | undefined)[] = ['stdout', 'stderr'];

function isOutput(chunk: Kept): chunk is Kept & JournalChunk {
  return chunk.stream !== 'resize';
}

function endOf(chunk: Kept): number {
  return isOutput(chunk) ? chunk.offset + chunk.bytes.length : chunk.offset;
}

/** The same chunks in memory of their own: a small buffer is a slice of a larger one, all of which it holds. */
function packed(chunks: readonly Kept[]): Kept[] {
  const own = Buffer.allocUnsafeSlow(chunks.reduce((sum, { head, bytes }) => sum + head.length + bytes.length, 0));
  let at = 0;
  const moved = (bytes: Buffer): Buffer => {
    at += bytes.copy(own, at);
    return own.subarray(at - bytes.length, at);
  };
  return chunks.map(({ stream, offset, head, bytes }) => ({ stream, offset, head: moved(head), bytes: moved(bytes) }));
}

function fromOffset(chunks: readonly JournalChunk[], at: number): JournalChunk {
  const chunk = chunks.findLast(({ offset }) => offset <= at);
  if (chunk === undefined) throw new Error('a journal without its own bytes');
  return { ...chunk, offset: at, bytes: chunk.bytes.subarray(at - chunk.offset) };
}
