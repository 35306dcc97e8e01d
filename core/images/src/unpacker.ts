import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { CaissonError, problemOf } from '@caisson/contract';
import { additionsFor, writeAdditions } from './additions.ts';
import { openArchive } from './archive.ts';
import { readBlob, readDocument, sha256, type BlobPath, type Located } from './blobs.ts';
import { readLayers } from './layers.ts';
import { parseConfig, parseManifest } from './manifest.ts';
import { materialise } from './materialise.ts';
import { measure } from './tree.ts';
import type { FromUnpacker, Unpacked, UnpackJob } from './unpack-job.ts';

const ARCHIVE_FD = 3;

/**
 * The program of the process that reads images. It has a user of its own, the folder it is started in, and nothing else
 * to lose: whatever a layer does to it, the process that asked reads one line of JSON. It ends when its stdin does.
 */
async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  lines.once('close', () => process.exit(1));
  const [line] = await new Promise<[string]>((resolve) => lines.once('line', (text) => resolve([text])));
  const word = await unpack(JSON.parse(line) as UnpackJob).then((done) => ({ done }), (error: unknown) => ({ problem: problemOf(known(error)) }));
  await new Promise<void>((resolve) => process.stdout.write(`${JSON.stringify(word satisfies FromUnpacker)}\n`, () => resolve()));
  process.exit(0);
}

/** What the system says of its own limits is about the host, and not about the image. */
function known(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EACCES' || code === 'EIO') return new CaissonError('IMAGE_UNAVAILABLE', { detail: message });
  return error;
}

async function unpack(job: UnpackJob): Promise<Unpacked> {
  for (const folder of ['contents', 'members']) mkdirSync(folder, { mode: 0o700 });
  const { located, pathOf, kind } = await find(job);
  const manifest = parseManifest(located.bytes);
  const configBytes = readBlob(manifest.config, pathOf);
  const { diffIds, env, labels, createdMs } = parseConfig(configBytes, job.arch);
  const onProgress = (progress: string): void => void process.stdout.write(`${JSON.stringify({ progress } satisfies FromUnpacker)}\n`);
  const root = await readLayers(manifest, { diffIds, pathOf, contents: 'contents', maximum: job.maximum, onProgress });
  const additions = additionsFor(root, (content) => readFileSync(`contents/${content}`, 'latin1'));
  const { bytes, entries } = measure(root);
  onProgress(`writing ${entries} files and folders`);
  materialise(root, { at: 'rootfs', contents: 'contents' });
  writeAdditions('additions', additions);
  writeFileSync('manifest.json', located.bytes);
  writeFileSync('config.json', configBytes);
  return { digest: located.digest, kind, sizeBytes: bytes, env, labels, createdMs };
}

async function find({ from, digest, arch, maximum }: UnpackJob): Promise<{ located: Located; pathOf: BlobPath; kind: Unpacked['kind'] }> {
  if (from === 'archive') return openArchive({ fd: ARCHIVE_FD, into: 'members', maximum, arch, digest });
  const pathOf: BlobPath = (each) => `blobs/${each.slice('sha256:'.length)}`;
  const bytes = readDocument(pathOf(digest ?? '') ?? '');
  if (sha256(bytes) !== digest) throw new CaissonError('IMAGE_INVALID', { detail: `the content of ${digest} has another digest` });
  return { located: { digest, bytes }, pathOf, kind: 'blobs' };
}

await main();
