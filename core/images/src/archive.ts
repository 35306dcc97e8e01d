import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { CaissonError } from '@caisson/contract';
import { z } from 'zod';
import { digestOfFile, locate, readDocument, sha256, type BlobPath, type Located } from './blobs.ts';
import { decompressed, keep } from './layers.ts';
import type { ImageMaximum } from './source.ts';
import { invalid, tarEntries } from './tar.ts';

/** Members of an archive that holds images. Real ones have a few for each layer. */
const MEMBERS_MAX = 10_000;
const GZIP_MAGIC = 0x1f8b;

/** The files of an archive, each kept under a number of ours; links between them are followed once. */
interface Members {
  readonly files: ReadonlyMap<string, string>;
}

export interface Unpacked {
  readonly located: Located;
  readonly pathOf: BlobPath;
  readonly kind: 'oci-archive' | 'docker-archive';
}

export interface ArchiveOptions {
  /** An open file: the archive may be one that this process could not open itself. */
  readonly fd: number;
  /** Folder for its members. */
  readonly into: string;
  readonly maximum: ImageMaximum;
  readonly arch: string;
  readonly digest?: string | undefined;
}

/** @throws CaissonError IMAGE_INVALID, IMAGE_TOO_LARGE, IMAGE_UNAVAILABLE */
export async function openArchive(options: ArchiveOptions): Promise<Unpacked> {
  const members = await extract(options);
  const index = members.files.get('index.json');
  if (index !== undefined) {
    const pathOf: BlobPath = (digest) => members.files.get(`blobs/sha256/${digest.slice('sha256:'.length)}`) ?? null;
    return { located: locate(readDocument(index), pathOf, options), pathOf, kind: 'oci-archive' };
  }
  const docker = members.files.get('manifest.json');
  if (docker === undefined) throw invalid('the archive holds neither index.json nor manifest.json');
  return { ...(await fromDocker(readDocument(docker), members)), kind: 'docker-archive' };
}

async function extract({ fd, into, maximum }: ArchiveOptions): Promise<Members> {
  const files = new Map<string, string>();
  const links = new Map<string, string>();
  let bytes = 0;
  let count = 0;
  for await (const entry of tarEntries(await plain(fd))) {
    if (++count > MEMBERS_MAX) throw invalid(`the archive has more than ${MEMBERS_MAX} members`);
    const name = posix.normalize(entry.name).replace(/^\/+/, '');
    if (entry.kind === 'symbolic-link' || entry.kind === 'hard-link') {
      links.set(name, entry.kind === 'hard-link' ? posix.normalize(entry.target) : posix.join(posix.dirname(name), entry.target));
    }
    if (entry.kind !== 'file') continue;
    bytes += entry.sizeBytes;
    if (bytes > maximum.bytes) throw new CaissonError('IMAGE_TOO_LARGE', { detail: `more than ${maximum.bytes} bytes` });
    const path = `${into}/${count}`;
    await keep(entry, path);
    files.set(name, path);
  }
  for (const [name, target] of links) {
    const path = files.get(target);
    if (path !== undefined && !files.has(name)) files.set(name, path);
  }
  return { files };
}

async function plain(fd: number): Promise<AsyncIterable<Buffer>> {
  const stream = createReadStream('', { fd, start: 0, autoClose: false, highWaterMark: 1_048_576 });
  const iterator = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const first = await iterator.next();
  async function* whole(): AsyncGenerator<Buffer, void, undefined> {
    if (first.done === true) return;
    yield first.value;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  const isGzip = first.done !== true && first.value.length > 1 && first.value.readUInt16BE(0) === GZIP_MAGIC;
  return decompressed(whole(), isGzip ? 'gzip' : 'none');
}

const DockerManifest = z.array(z.object({ Config: z.string().max(512), Layers: z.array(z.string().max(512)).min(1).max(128) })).max(1_000);

/**
 * `docker save` keeps no manifest of the registry's kind. The one that is made here has nothing of its own: the same
 * archive gives the same digest, on every host.
 */
async function fromDocker(document: Buffer, { files }: Members): Promise<{ readonly located: Located; readonly pathOf: BlobPath }> {
  const parsed = DockerManifest.safeParse(jsonOf(document));
  if (!parsed.success) throw invalid('its manifest.json is malformed');
  const [image, another] = parsed.data;
  if (image === undefined) throw invalid('its manifest.json names no image');
  if (another !== undefined) throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `it holds ${parsed.data.length} images; save them one by one` });
  const paths = new Map<string, string>();
  const describe = async (member: string, mediaType: (path: string) => string): Promise<{ mediaType: string; digest: string; size: number }> => {
    const path = files.get(posix.normalize(member));
    if (path === undefined) throw invalid(`its manifest.json names ${member}, which is not in it`);
    const digest = await digestOfFile(path);
    paths.set(digest, path);
    return { mediaType: mediaType(path), digest, size: statSync(path).size };
  };
  const config = await describe(image.Config, () => 'application/vnd.oci.image.config.v1+json');
  const layers = [];
  for (const layer of image.Layers) layers.push(await describe(layer, (path) => `application/vnd.oci.image.layer.v1.tar${startsAsGzip(path) ? '+gzip' : ''}`));
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers }));
  return { located: { digest: sha256(bytes), bytes }, pathOf: (digest) => paths.get(digest) ?? null };
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch {
    return null;
  }
}

function startsAsGzip(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(2);
    return readSync(fd, start) === 2 && start.readUInt16BE(0) === GZIP_MAGIC;
  } finally {
    closeSync(fd);
  }
}
