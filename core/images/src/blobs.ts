import { createHash } from 'node:crypto';
import { closeSync, constants, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { CaissonError } from '@caisson/contract';
import { chooseFrom, DOCUMENT_BYTES_MAX, isIndex, type Descriptor } from './manifest.ts';

/** Where the file of a digest lies; null where there is none. */
export type BlobPath = (digest: string) => string | null;

/** A manifest whose bytes have the digest. */
export interface Located {
  readonly digest: string;
  readonly bytes: Buffer;
}

const READ_BYTES = 1_048_576;
/** Indexes within indexes: the image layout has one, a multi-platform image another. */
const INDEX_DEPTH_MAX = 3;

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** A document of an untrusted place, by path. A link or anything else that is no file is refused. */
export function readDocument(path: string): Buffer {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new CaissonError('IMAGE_INVALID', { detail: 'one of its documents is not a file' });
    if (stat.size > DOCUMENT_BYTES_MAX) throw new CaissonError('IMAGE_INVALID', { detail: `a document of ${stat.size} bytes` });
    const bytes = Buffer.alloc(stat.size);
    let at = 0;
    for (let read = -1; at < bytes.length && read !== 0; at += read) read = readSync(fd, bytes, at, bytes.length - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}

/** The document that a descriptor names. @throws CaissonError IMAGE_INVALID when it is absent or not what was named. */
export function readBlob({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, pathOf: BlobPath): Buffer {
  const path = pathOf(digest);
  if (path === null) throw new CaissonError('IMAGE_INVALID', { detail: `${digest} is not in it` });
  const bytes = readDocument(path);
  if (bytes.length !== size) throw new CaissonError('IMAGE_INVALID', { detail: `${digest} has ${bytes.length} bytes and should have ${size}` });
  if (sha256(bytes) !== digest) throw new CaissonError('IMAGE_INVALID', { detail: `the content of ${digest} has another digest` });
  return bytes;
}

/** From an index to the manifest for this platform, each step by digest. */
export function locate(index: Uint8Array, pathOf: BlobPath, which: { readonly arch: string; readonly digest?: string | undefined }): Located {
  let document = index;
  for (let depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
    const chosen = chooseFrom(document, depth === 0 ? which : { arch: which.arch });
    const bytes = readBlob(chosen, pathOf);
    if (!isIndex(bytes)) return { digest: chosen.digest, bytes };
    document = bytes;
  }
  throw new CaissonError('IMAGE_INVALID', { detail: 'indexes within indexes without end' });
}

/** The bytes of a layer as they are stored. @throws CaissonError IMAGE_INVALID at the end when they are not what was named. */
export async function* verified({ digest, size }: Descriptor, pathOf: BlobPath): AsyncGenerator<Buffer, void, undefined> {
  const path = pathOf(digest);
  if (path === null) throw new CaissonError('IMAGE_INVALID', { detail: `${digest} is not in it` });
  const hash = createHash('sha256');
  let read = 0;
  for await (const chunk of createReadStream('', { fd: openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK), highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>) {
    read += chunk.length;
    if (read > size) break;
    hash.update(chunk);
    yield chunk;
  }
  if (read !== size) throw new CaissonError('IMAGE_INVALID', { detail: `${digest} does not have the ${size} bytes that its manifest states` });
  if (`sha256:${hash.digest('hex')}` !== digest) throw new CaissonError('IMAGE_INVALID', { detail: `the content of ${digest} has another digest` });
}
