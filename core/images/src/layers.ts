import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { CaissonError } from '@caisson/contract';
import { verified, type BlobPath } from './blobs.ts';
import { compressionOf, type Compression, type Manifest } from './manifest.ts';
import type { ImageMaximum } from './source.ts';
import { invalid, tarEntries, type TarEntry } from './tar.ts';
import { applyLayer, emptyTree, measure, type Folder, type LayerEntry } from './tree.ts';

/** Memory that a zstd stream may ask for: 2^27, the window that its specification says every reader should take. */
const ZSTD_WINDOW_LOG = 27;

interface Reading {
  /** Folder for the contents of files, each under its number. */
  readonly contents: string;
  readonly maximum: ImageMaximum;
  /** Of the archives so far, and folders that their paths only imply. */
  entries: number;
  bytes: number;
}

/**
 * Reads every layer, checks its two digests and applies it; the contents of files are kept by number under `contents`.
 * @throws CaissonError IMAGE_INVALID, IMAGE_TOO_LARGE
 */
export async function readLayers(
  { layers }: Manifest,
  { diffIds, pathOf, contents, maximum, onProgress }: { readonly diffIds: readonly string[]; readonly pathOf: BlobPath; readonly contents: string; readonly maximum: ImageMaximum; onProgress(line: string): void },
): Promise<Folder> {
  if (layers.length !== diffIds.length) throw invalid(`${layers.length} layers and ${diffIds.length} digests for them`);
  const kinds = layers.map(compressionOf); // all of them before the first is read
  const root = emptyTree();
  const reading: Reading = { contents, maximum, entries: 0, bytes: 0 };
  for (const [index, layer] of layers.entries()) {
    onProgress(`layer ${index + 1} of ${layers.length}: ${layer.digest}`);
    const plain = bounded(decompressed(verified(layer, pathOf), kinds[index] ?? 'none'), reading);
    const hash = createHash('sha256');
    const entries = await readEntries(hashed(plain, hash), reading);
    if (`sha256:${hash.digest('hex')}` !== diffIds[index]) throw invalid(`layer ${index + 1} is not the one that the config names`);
    applyLayer(root, entries, () => {
      countEntry(reading);
      return emptyTree();
    });
  }
  admitEntries(measure(root).entries, maximum); // whatever makes a name, none is written beyond the limit
  return root;
}

/** @returns how many there are with this one, a number that no other entry has */
function countEntry(reading: Reading): number {
  reading.entries++;
  admitEntries(reading.entries, reading.maximum);
  return reading.entries;
}

function admitEntries(entries: number, maximum: ImageMaximum): void {
  if (entries > maximum.entries) throw new CaissonError('IMAGE_TOO_LARGE', { detail: `more than ${maximum.entries} entries` });
}

export function decompressed(bytes: AsyncIterable<Buffer>, compression: Compression): AsyncIterable<Buffer> {
  if (compression === 'none') return bytes;
  const stream = compression === 'gzip' ? createGunzip() : createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } });
  return piped(bytes, stream);
}

async function* piped(bytes: AsyncIterable<Buffer>, stream: ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>): AsyncGenerator<Buffer, void, undefined> {
  const source = Readable.from(bytes, { objectMode: false, highWaterMark: 1_048_576 });
  source.on('error', (error) => stream.destroy(error));
  source.pipe(stream);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    throw invalid(`a layer cannot be decompressed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    source.destroy();
    stream.destroy();
  }
}

/** Counts what comes out of a decompressor before anything looks at it: a bomb ends here, a chunk after its limit. */
async function* bounded(bytes: AsyncIterable<Buffer>, reading: Reading): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of bytes) {
    reading.bytes += chunk.length;
    if (reading.bytes > reading.maximum.bytes) throw new CaissonError('IMAGE_TOO_LARGE', { detail: `more than ${reading.maximum.bytes} bytes` });
    yield chunk;
  }
}

async function* hashed(bytes: AsyncIterable<Buffer>, hash: ReturnType<typeof createHash>): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of bytes) {
    hash.update(chunk);
    yield chunk;
  }
}

async function readEntries(bytes: AsyncIterable<Buffer>, reading: Reading): Promise<readonly LayerEntry[]> {
  const entries: LayerEntry[] = [];
  for await (const entry of tarEntries(bytes)) {
    const content = countEntry(reading);
    const { name, kind, mode, mtimeS, sizeBytes, target } = entry;
    if (kind === 'device' || kind === 'fifo') {
      // A sandbox has a /dev of its own over whatever an image holds there. Anywhere else a device is an attack.
      if (!/^(\.?\/)*dev\//.test(name)) throw invalid(`${name} is a ${kind}`);
      continue;
    }
    if (kind === 'file') await keep(entry, `${reading.contents}/${content}`);
    entries.push({ name, kind, mode, mtimeS, sizeBytes, target, content });
  }
  return entries;
}

export async function keep(entry: TarEntry, path: string): Promise<void> {
  const fd = openSync(path, 'wx', 0o600);
  try {
    for await (const chunk of entry.content) for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
  } finally {
    closeSync(fd);
  }
}
