import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { CaissonError, IsolationSpec } from '@caisson/contract';
import type { LaneExecState } from './lanes.ts';

/** What memory depends on beyond the spec: code is in the files it was mapped from, and not in the checkpoint. */
export interface CheckpointMaker {
  readonly runtime: string;
  readonly version: string;
  /** Of the program that pid 1 is. */
  readonly initSha256: string;
  /** Changes when packages of the host do; null for an image with a digest, which the spec names. */
  readonly hostPackages: string | null;
}

/** An exec that ran when the memory was saved. */
export interface SavedExec {
  readonly lane: LaneExecState;
  readonly memo: string;
  /** Whether its limits are its own, as in `ProcessSpec.ownLimits`. */
  readonly hasOwnLimits: boolean;
  readonly wallLeftMs: number;
  /** Null where the kernel does not count it. */
  readonly cpuLeftMs: number | null;
}

/** Everything that is known of a saved sandbox besides the runtime's own files. */
export interface CheckpointContent {
  readonly maker: CheckpointMaker;
  readonly spec: IsolationSpec;
  readonly nextExec: number;
  readonly execs: readonly SavedExec[];
}

/** The runtime's files of a checkpoint: kernel and processes, where pages lie, pages. */
const FILES = ['checkpoint.img', 'pages_meta.img', 'pages.img'] as const;
const MANIFEST = 'manifest';
const MANIFEST_BYTES = 64 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const PARTIAL = '.partial';

const Count = z.int().min(0);
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const Lane: z.ZodType<LaneExecState> = z.strictObject({
  id: z.int().min(1), isDial: z.boolean(), hasTty: z.boolean(), outputBytes: Count,
  received: z.strictObject({ stdout: Count, stderr: Count }), window: Count, stdinRoom: Count, stdinEnded: z.boolean(),
});

interface Manifest extends CheckpointContent {
  readonly format: 1;
  readonly files: readonly { readonly name: (typeof FILES)[number]; readonly sizeBytes: number; readonly sha256: string }[];
}

const Manifest: z.ZodType<Manifest> = z.strictObject({
  format: z.literal(1),
  maker: z.strictObject({ runtime: z.string(), version: z.string(), initSha256: Sha256, hostPackages: z.string().nullable() }),
  spec: IsolationSpec,
  nextExec: z.int().min(1),
  execs: z.array(z.strictObject({ lane: Lane, memo: z.string(), hasOwnLimits: z.boolean(), wallLeftMs: Count, cpuLeftMs: Count.nullable() })).max(256),
  files: z.array(z.strictObject({ name: z.enum(FILES), sizeBytes: Count, sha256: Sha256 })).length(FILES.length),
});

/**
 * Makes the folder of a checkpoint. It has its name only when everything in it is on the disk; what a killed process has
 * begun is called `….partial`, and `removePartialCheckpoints` removes it.
 *
 * @param take has the runtime write its files into the folder it is given
 * @throws CaissonError CHECKPOINT_FAILED; nothing is left then
 */
export async function saveCheckpoint(folder: string, take: (partial: string) => Promise<CheckpointContent>): Promise<void> {
  const partial = `${folder}${PARTIAL}`;
  if (await stat(folder).catch(() => null) !== null) throw new CaissonError('CHECKPOINT_FAILED', { detail: 'there is a checkpoint of that name' });
  await mkdir(partial, { mode: 0o700 }).catch(failed);
  try {
    const content = await take(partial);
    const files: Manifest['files'][number][] = [];
    for (const name of FILES) files.push({ name, ...(await settle(`${partial}/${name}`)) });
    const text = JSON.stringify({ format: 1, ...content, files } satisfies Manifest);
    if (text.length > MANIFEST_BYTES / 4) throw new CaissonError('CHECKPOINT_FAILED', { detail: 'what is noted of its execs is too much' });
    await writeFile(`${partial}/${MANIFEST}`, `${sha256(text)}\n${text}`, { mode: 0o600, flush: true });
    await flushFolder(partial);
    await rename(partial, folder);
    await flushFolder(dirname(folder));
  } catch (error) {
    await removePartial(partial);
    failed(error);
  }
}

/** gVisor keeps the files of a save that failed open as long as the sandbox runs: empty ones take no room. */
async function removePartial(partial: string): Promise<void> {
  for (const name of FILES) await truncate(`${partial}/${name}`).catch(() => undefined);
  await rm(partial, { recursive: true, force: true });
}

function failed(error: unknown): never {
  if (error instanceof CaissonError) throw error;
  throw new CaissonError('CHECKPOINT_FAILED', { detail: error instanceof Error ? error.message : String(error) }, { cause: error });
}

/** Makes a file of the runtime root's alone, brings it to the disk and measures it. */
async function settle(path: string): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  await using file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  await file.chmod(0o600);
  await file.sync();
  return await measure(file);
}

async function flushFolder(path: string): Promise<void> {
  await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await folder.sync();
}

async function measure(file: FileHandle): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let sizeBytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, READ_BYTES, sizeBytes);
    if (bytesRead === 0) return { sizeBytes, sha256: hash.digest('hex') };
    hash.update(buffer.subarray(0, bytesRead));
    sizeBytes += bytesRead;
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

const invalid = (detail: string): CaissonError => new CaissonError('CHECKPOINT_INVALID', { detail });

/**
 * Reads a checkpoint and verifies every byte of it, and that it is of this maker and of a sandbox with this spec: equal
 * but for id, host name, workspace and the certificate that it trusts. What a process may do is in its memory, so nothing else may differ.
 *
 * @throws CaissonError CHECKPOINT_INVALID
 */
export async function readCheckpoint(folder: string, now: { readonly maker: CheckpointMaker; readonly spec: IsolationSpec }): Promise<CheckpointContent & { readonly sizeBytes: number }> {
  const manifest = await readManifest(folder);
  const names = await readdir(folder);
  if (names.toSorted().join() !== [...FILES, MANIFEST].toSorted().join()) throw invalid(`its files are ${names.join(', ')}`);
  if (!isDeepStrictEqual(comparable(manifest.spec), comparable(now.spec))) throw invalid(`its sandbox had another spec: ${differing(manifest.spec, now.spec).join(', ')}`);
  if (!isDeepStrictEqual(manifest.maker, now.maker)) throw invalid(`it was made with ${describe(manifest.maker)}, and here is ${describe(now.maker)}`);
  await Promise.all(manifest.files.map(async ({ name, sizeBytes, sha256: expected }) => {
    await using file = await openOwn(`${folder}/${name}`);
    const found = await measure(file);
    if (found.sizeBytes !== sizeBytes || found.sha256 !== expected) throw invalid(`${name} is not what was written`);
  }));
  return { ...manifest, sizeBytes: manifest.files.reduce((sum, file) => sum + file.sizeBytes, 0) };
}

async function readManifest(folder: string): Promise<Manifest> {
  const text = await readText(`${folder}/${MANIFEST}`);
  const body = text.slice(65);
  if (text[64] !== '\n' || text.slice(0, 64) !== sha256(body)) throw invalid('its manifest is not what was written');
  const parsed = Manifest.safeParse(fromJson(body));
  if (!parsed.success) throw invalid('its manifest is of another format');
  const { files } = parsed.data;
  if (new Set(files.map(({ name }) => name)).size !== FILES.length) throw invalid('its manifest names a file twice');
  return parsed.data;
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readText(path: string): Promise<string> {
  await using file = await openOwn(path);
  const { size } = await file.stat();
  if (size > MANIFEST_BYTES) throw invalid('its manifest is too large');
  return await file.readFile('utf8');
}

/** Opens a file that nobody else can have written or can read. */
async function openOwn(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    throw invalid(`a file of it cannot be read (${error.code ?? error.message})`);
  });
  const { uid, mode } = await file.stat();
  if (uid === process.getuid?.() && (mode & 0o177) === 0 && (mode & constants.S_IFMT) === constants.S_IFREG) return file;
  await file.close();
  throw invalid('a file of it is not the launcher\'s alone');
}

function describe({ runtime, version, initSha256, hostPackages }: CheckpointMaker): string {
  return `${runtime} ${version}, pid 1 ${initSha256.slice(0, 12)} and ${hostPackages === null ? 'an image of its own' : `the host's packages of ${hostPackages}`}`;
}

function comparable(spec: IsolationSpec): IsolationSpec {
  return { ...spec, id: '', hostname: '', mounts: spec.mounts.map(alike) };
}

function alike(mount: IsolationSpec['mounts'][number]): IsolationSpec['mounts'][number] {
  if (mount.kind === 'workspace') return { ...mount, workspace: '' };
  if (mount.kind === 'mirror') return { ...mount, sandbox: '', from: 0 };
  return mount.kind === 'trust' ? { ...mount, certificate: '' } : mount;
}

function differing(saved: IsolationSpec, now: IsolationSpec): readonly string[] {
  const [before, after] = [comparable(saved), comparable(now)];
  return (Object.keys(after) as (keyof IsolationSpec)[]).filter((name) => !isDeepStrictEqual(before[name], after[name]));
}

/** Removes what was begun under `parent` by a process that is no more. */
export async function removePartialCheckpoints(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names.filter((each) => each.endsWith(PARTIAL))) await rm(`${parent}/${name}`, { recursive: true, force: true });
}

/** What is here now of all that memory depends on. */
export async function checkpointMaker(of: { readonly runtime: string; readonly version: string; readonly initPath: string; readonly image: IsolationSpec['image'] }): Promise<CheckpointMaker> {
  await using init = await open(of.initPath, constants.O_RDONLY);
  const { sha256: initSha256 } = await measure(init);
  return { runtime: of.runtime, version: of.version, initSha256, hostPackages: of.image === 'host' ? await packagesOfHost() : null };
}

/** dpkg writes its status anew with every package that it installs or removes. */
async function packagesOfHost(): Promise<string> {
  const { mtimeMs, size } = await stat('/var/lib/dpkg/status').catch(() => ({ mtimeMs: 0, size: 0 }));
  return `${Math.round(mtimeMs)}-${size}`;
}
