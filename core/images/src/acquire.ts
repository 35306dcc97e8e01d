import { chmodSync, chownSync, closeSync, constants, createReadStream, existsSync, fstatSync, mkdirSync, openSync, renameSync } from 'node:fs';
import { open as openFile, rm } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import { locate, readBlob, readDocument, sha256, type BlobPath } from './blobs.ts';
import { buildBlobs } from './build.ts';
import type { ImageDefinition } from './definition.ts';
import { parseManifest } from './manifest.ts';
import { folderOf, newFolder, readRecord, syncFolder, writeRecord } from './records.ts';
import { fetchImage } from './registry.ts';
import { removeTree } from './remove-tree.ts';
import { runTool, toolAt, type Identity } from './run-tool.ts';
import type { ImageMaximum, ImageSource } from './source.ts';
import type { Unpacked } from './unpack-job.ts';
import { unpack } from './unpack.ts';

export interface Ground {
  readonly dir: string;
  readonly as?: Identity | undefined;
  readonly maximum: ImageMaximum;
  readonly certificates?: string | undefined;
  readonly arch: string;
  readonly now: () => number;
}

interface Work extends Ground {
  readonly signal: AbortSignal;
  onProgress(line: string): void;
}

export interface Acquired {
  readonly digest: string;
}

/** What gathering a source leaves in the folder of the work. */
interface Gathered {
  readonly unpacked: Unpacked | null;
  /** Of an image that is in the store already. */
  readonly digest: string;
  readonly source: string;
}

type Gather = (folder: string) => Promise<Gathered>;

const COPY_BYTES = 1_048_576;

/** Brings an image from elsewhere into the store. */
export async function acquireSource(source: ImageSource, work: Work): Promise<Acquired> {
  switch (source.kind) {
    case 'layout':
      return acquire(work, async (folder) => unpackBlobs(await copyLayout(source, folder, work), { folder, work, source: 'layout' }));
    case 'archive':
      return acquire(work, (folder) => unpackArchive(source, folder, work));
    case 'registry':
      return acquire(work, async (folder) => {
        mkdirSync(`${folder}/blobs`);
        handOver(`${folder}/blobs`, work.as);
        return unpackBlobs(await fetchImage(source.reference, { ...work, folder }), { folder, work, source: source.reference });
      });
  }
}

export async function acquireBuilt(definition: ImageDefinition, work: Work): Promise<Acquired> {
  if (process.getuid?.() !== 0) throw new CaissonError('IMAGE_UNAVAILABLE', { detail: 'building an image needs root' });
  return acquire(work, async (folder) => unpackBlobs(await buildBlobs(definition, { ...work, folder }), { folder, work, source: `built ${definition.name}` }));
}

/** A folder of its own for the work, which becomes the image in one step or is gone. */
async function acquire(work: Work, gather: Gather): Promise<Acquired> {
  work.signal.throwIfAborted();
  const folder = newFolder(work.dir);
  try {
    handOver(folder, work.as);
    const { unpacked, digest, source } = await gather(folder);
    if (unpacked !== null) await commit(folder, { unpacked, source, work });
    return { digest };
  } finally {
    await removeTree(folder);
  }
}

function handOver(path: string, as: Identity | undefined): void {
  if (as !== undefined) chownSync(path, as.uid, as.gid);
}

async function commit(folder: string, { unpacked, source, work }: { readonly unpacked: Unpacked; readonly source: string; readonly work: Work }): Promise<void> {
  const { digest, sizeBytes, env, labels, createdMs } = unpacked;
  for (const name of ['blobs', 'contents', 'members']) await rm(`${folder}/${name}`, { recursive: true, force: true });
  const tool = { cwd: folder, signal: work.signal, stdoutBytes: 0, onLine: work.onProgress };
  // No process of that user is left. From the top down and without links being followed, all of it becomes ours.
  if (work.as !== undefined) chownSync(folder, 0, 0);
  if (work.as !== undefined) await runTool({ ...tool, argv: [toolAt('chown', 'coreutils'), '-hR', '0:0', '.'] });
  checkManifest(folder, digest);
  chmodSync(folder, 0o755);
  writeRecord(folder, { digest, createdMs, importedMs: work.now(), sizeBytes, env, source, labels });
  await runTool({ ...tool, argv: [toolAt('sync', 'coreutils'), '--file-system', '.'] });
  if (existsSync(folderOf(work.dir, digest))) return; // another import of the same image came first
  renameSync(folder, folderOf(work.dir, digest));
  syncFolder(work.dir);
}

/** The process that unpacked says of what manifest its tree is: it must be the one that it left. @throws CaissonError IMAGE_INVALID */
function checkManifest(folder: string, digest: string): void {
  const found = sha256(manifestOf(folder));
  if (found !== digest) throw new CaissonError('IMAGE_INVALID', { detail: `what was unpacked as ${digest} has the manifest ${found}` });
}

function manifestOf(folder: string): Buffer {
  try {
    return readDocument(`${folder}/manifest.json`);
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    throw new CaissonError('IMAGE_INVALID', { detail: `what was unpacked has no manifest: ${(error as Error).message}` });
  }
}

async function unpackBlobs(digest: string, { folder, work, source }: { readonly folder: string; readonly work: Work; readonly source: string }): Promise<Gathered> {
  if (readRecord(work.dir, digest) !== null) return { unpacked: null, digest, source };
  const unpacked = await unpack({ from: 'blobs', digest, arch: work.arch, maximum: work.maximum }, { ...work, folder });
  if (unpacked.digest !== digest) throw new CaissonError('IMAGE_INVALID', { detail: `${unpacked.digest} was unpacked where ${digest} was asked for` });
  return { unpacked, digest, source };
}

async function unpackArchive({ path, digest }: Extract<ImageSource, { kind: 'archive' }>, folder: string, work: Work): Promise<Gathered> {
  const archiveFd = open(path);
  try {
    const unpacked = await unpack({ from: 'archive', digest, arch: work.arch, maximum: work.maximum }, { ...work, folder, archiveFd });
    const isThere = readRecord(work.dir, unpacked.digest) !== null;
    return { unpacked: isThere ? null : unpacked, digest: unpacked.digest, source: unpacked.kind };
  } finally {
    closeSync(archiveFd);
  }
}

function open(path: string): number {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
  } catch (error) {
    throw new CaissonError('IMAGE_UNAVAILABLE', { detail: (error as Error).message });
  }
  throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `${path} is not a file` });
}

/** Copies the blobs of one image of a layout, which the process that unpacks may not be able to read where they are. */
async function copyLayout({ path, digest }: Extract<ImageSource, { kind: 'layout' }>, folder: string, { arch, as, maximum, signal }: Work): Promise<string> {
  const pathOf: BlobPath = (each) => `${path}/blobs/sha256/${each.slice('sha256:'.length)}`;
  try {
    const located = locate(readDocument(`${path}/index.json`), pathOf, { arch, digest });
    const { config, layers } = parseManifest(located.bytes);
    readBlob(config, pathOf);
    const bytes = layers.reduce((sum, { size }) => sum + size, 0);
    if (bytes > maximum.bytes) throw new CaissonError('IMAGE_TOO_LARGE', { detail: `more than ${maximum.bytes} bytes` });
    mkdirSync(`${folder}/blobs`);
    const blobs = [{ digest: located.digest, size: located.bytes.length }, config, ...layers];
    // One layer may be there several times.
    for (const each of new Map(blobs.map((blob) => [blob.digest, blob])).values()) {
      signal.throwIfAborted();
      const copy = `${folder}/blobs/${each.digest.slice('sha256:'.length)}`;
      await copyBlob(pathOf(each.digest) ?? '', copy, each.size);
      handOver(copy, as);
    }
    handOver(`${folder}/blobs`, as);
    return located.digest;
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    throw new CaissonError('IMAGE_UNAVAILABLE', { detail: (error as Error).message });
  }
}

/** Only a file of the stated size is copied: a link, a device or a pipe of a layout may have no end. */
async function copyBlob(from: string, to: string, sizeBytes: number): Promise<void> {
  const fd = openSync(from, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stat = fstatSync(fd);
  if (!stat.isFile() || stat.size !== sizeBytes || sizeBytes === 0) {
    closeSync(fd);
    throw new CaissonError('IMAGE_INVALID', { detail: `a blob is not a file of the ${sizeBytes} bytes that its manifest states` });
  }
  const source = createReadStream('', { fd, end: sizeBytes - 1, highWaterMark: COPY_BYTES });
  const copy = await openFile(to, 'wx', 0o600);
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) await copy.writeFile(chunk);
  } finally {
    source.destroy();
    await copy.close();
  }
}
