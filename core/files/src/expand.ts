import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { CaissonError } from '@caisson/contract';

/** What small archives expand to is never held against them. */
const GRACE_BYTES = 16 * 1024 * 1024;
/** Of the archive itself: headers and padding come on top of the content. */
const OVERHEAD = 2;
const GZIP = [0x1f, 0x8b];

interface Limits {
  readonly totalBytes: number;
  readonly entries: number;
  readonly ratio: number;
}

/**
 * The bytes of a tar archive that may be compressed with gzip. Ends with FILE_TOO_LARGE as soon as more comes out than the
 * limits could ever need, or far more than goes in: a bomb is never expanded. @throws CaissonError
 */
export async function* expanded(chunks: AsyncIterable<Buffer>, limits: Limits, path: string): AsyncGenerator<Buffer, void, undefined> {
  let [inBytes, outBytes] = [0, 0];
  const most = limits.totalBytes * OVERHEAD + limits.entries * 8192;
  async function* counted(): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of chunks) {
      inBytes += chunk.length;
      yield chunk;
    }
  }
  const source = counted();
  const first = await atLeast(source, GZIP.length);
  const whole = joinedTo(first, source);
  const isGzip = GZIP.every((byte, index) => first[index] === byte);
  for await (const chunk of isGzip ? gunzipped(whole) : whole) {
    outBytes += chunk.length;
    const isBomb = isGzip && outBytes > GRACE_BYTES && outBytes > inBytes * limits.ratio;
    if (isBomb) throw new CaissonError('FILE_TOO_LARGE', { path, detail: `the archive expands to more than ${limits.ratio} times its size` });
    if (outBytes > most) throw new CaissonError('FILE_TOO_LARGE', { path, detail: `the archive has more than ${most} bytes` });
    yield chunk;
  }
}

async function* gunzipped(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  const gunzip = createGunzip();
  const source = Readable.from(chunks, { objectMode: false });
  const done = pipeline(source, gunzip).then(() => null, (error: unknown) => error as Error);
  try {
    yield* gunzip as AsyncIterable<Buffer>;
  } catch (error) {
    throw fault((await done) ?? (error as Error));
  } finally {
    source.destroy();
    gunzip.destroy();
    await done;
  }
}

function fault(error: Error): Error {
  const isOurs = error instanceof CaissonError || !('code' in error && String(error.code).startsWith('Z_'));
  return isOurs ? error : new CaissonError('ARCHIVE_INVALID', { detail: `it is damaged gzip: ${error.message}` });
}

async function atLeast(chunks: AsyncIterator<Buffer>, bytes: number): Promise<Buffer> {
  let have = Buffer.alloc(0);
  while (have.length < bytes) {
    const next = await chunks.next();
    if (next.done === true) break;
    have = Buffer.concat([have, next.value]);
  }
  return have;
}

async function* joinedTo(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  if (first.length > 0) yield first;
  yield* rest;
}
