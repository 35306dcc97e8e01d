import { closeSync, fsyncSync, mkdtempSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { z } from 'zod';
import { Digest } from './manifest.ts';
import type { ImageInfo } from './source.ts';

/** What is kept of an image beside its files. Its names are kept apart, because they can be given to another. */
export type ImageRecord = Omit<ImageInfo, 'name' | 'names'>;

const ImageRecord: z.ZodType<ImageRecord> = z.strictObject({
  digest: Digest,
  createdMs: z.number(),
  importedMs: z.number(),
  sizeBytes: z.int().min(0),
  env: z.array(z.string()),
  source: z.string(),
  labels: z.record(z.string(), z.string()),
});
const Names = z.record(z.string(), Digest);

/** Folders that are not images yet, or no longer; a start removes them. */
const NEW = 'new-';
const OLD = 'old-';

export function folderOf(dir: string, digest: string): string {
  return `${dir}/${digest.replace(':', '-')}`;
}

/** An image that is there as a whole, or null: its folder gets its name when everything is in it. */
export function readRecord(dir: string, digest: string): ImageRecord | null {
  const text = readOrNull(`${folderOf(dir, digest)}/image.json`);
  return text === null ? null : ImageRecord.parse(JSON.parse(text));
}

export function readRecords(dir: string): readonly ImageRecord[] {
  return readdirSync(dir)
    .filter((name) => /^sha256-[0-9a-f]{64}$/.test(name))
    .map((name) => readRecord(dir, name.replace('-', ':')))
    .filter((record) => record !== null);
}

/** Local names, the last one given first, and the digests that they stand for. */
export function readNames(dir: string): Readonly<Record<string, string>> {
  return Names.parse(JSON.parse(readOrNull(`${dir}/names.json`) ?? '{}'));
}

export function writeNames(dir: string, names: Readonly<Record<string, string>>): void {
  writeDurably(`${dir}/names.json.new`, JSON.stringify(names));
  renameSync(`${dir}/names.json.new`, `${dir}/names.json`);
  syncFolder(dir);
}

export function writeRecord(folder: string, record: ImageRecord): void {
  writeDurably(`${folder}/image.json`, JSON.stringify(record));
}

export function newFolder(dir: string): string {
  return mkdtempSync(`${dir}/${NEW}`);
}

/** Takes an image out of sight in one step; removing its files may take a while. Resolves to where they are. */
export function retire(dir: string, digest: string): string {
  const retired = `${mkdtempSync(`${dir}/${OLD}`)}/image`;
  renameSync(folderOf(dir, digest), retired);
  syncFolder(dir);
  return retired;
}

/** Folders that a process which ended in the middle of its work left behind. */
export function leftovers(dir: string): readonly string[] {
  return readdirSync(dir).filter((name) => name.startsWith(NEW) || name.startsWith(OLD)).map((name) => `${dir}/${name}`);
}

export function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeDurably(path: string, text: string): void {
  rmSync(path, { force: true });
  const fd = openSync(path, 'wx', 0o644);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
