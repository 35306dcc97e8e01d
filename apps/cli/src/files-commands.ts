import { lstat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { CaissonError, printable } from '@caisson/contract/errors';
import type { FileInfo, Sandbox } from '@caisson/sdk';
import { ask, askStream, openApi, type Api } from './api.ts';
import { counted, startProgress } from './progress.ts';
import { parseCount, showBytes } from './quantity.ts';
import { defined, type Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable } from './say.ts';

/** The options of `files` as commander gives them. */
export interface FilesFlags extends Json {
  readonly recursive?: boolean;
  readonly parents?: boolean;
  readonly replace?: boolean;
  readonly regex?: boolean;
  readonly limit?: string;
}

type Verb = (box: Sandbox, words: readonly string[], flags: FilesFlags, api: Api) => Promise<number>;

const VERBS: Readonly<Record<string, { readonly words: string; readonly least: number; readonly most: number; readonly act: Verb }>> = {
  ls: { words: '[PATH]', least: 0, most: 1, act: list },
  cat: { words: 'PATH', least: 1, most: 1, act: cat },
  write: { words: 'PATH < CONTENT', least: 1, most: 1, act: async (box, [path = ''], flags) => shown(await box.files.write(path, process.stdin as AsyncIterable<Uint8Array>, defined({ parents: flags.parents })), flags) },
  stat: { words: 'PATH', least: 1, most: 1, act: async (box, [path = ''], flags) => shown(await box.files.stat(path), flags) },
  rm: { words: 'PATH', least: 1, most: 1, act: async (box, [path = ''], { recursive, json }) => done(await box.files.remove(path, defined({ recursive })), { removed: path }, json) },
  mv: { words: 'FROM TO', least: 2, most: 2, act: async (box, [from = '', to = ''], flags) => shown(await box.files.move(from, to, defined({ replace: flags.replace })), flags) },
  mkdir: { words: 'PATH', least: 1, most: 1, act: async (box, [path = ''], flags) => shown(await box.files.mkdir(path, defined({ parents: flags.parents })), flags) },
  find: { words: 'GLOB [PATH]', least: 1, most: 2, act: (box, [name = '', path = '/workspace'], flags) => search(box, path, { name }, flags) },
  grep: { words: 'TEXT [PATH]', least: 1, most: 2, act: (box, [content = '', path = '/workspace'], flags) => search(box, path, { content, ...defined({ regex: flags.regex }) }, flags) },
  watch: { words: '[PATH]', least: 0, most: 1, act: watch },
  append: { words: 'PATH < CONTENT', least: 1, most: 1, act: async (box, [path = ''], flags) => shown(await box.files.append(path, process.stdin as AsyncIterable<Uint8Array>), flags) },
  chmod: { words: 'MODE PATH', least: 2, most: 2, act: async (box, [mode = '', path = ''], flags) => shown(await box.files.chmod(path, modeOf(mode)), flags) },
  patch: { words: '[PATH] < DIFF', least: 0, most: 1, act: patch },
  archive: { words: '[PATH] > TAR', least: 0, most: 1, act: archive },
  unpack: { words: '[PATH] < TAR', least: 0, most: 1, act: unpack },
};

/** Works on the files of a sandbox from outside. */
export async function files(id: string, verb: string, words: readonly string[], flags: FilesFlags): Promise<number> {
  const found = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  if (found === undefined) throw new CaissonError('USAGE', { detail: `files: ${verb} is none of ${Object.keys(VERBS).join(', ')}` });
  if (words.length < found.least || words.length > found.most) throw new CaissonError('USAGE', { detail: `files: it is files ID ${verb} ${found.words}` });
  const api = await openApi();
  return found.act(await api.box(id), words, flags, api);
}

/** @throws CaissonError USAGE */
function modeOf(text: string): number {
  if (!/^[0-7]{3,4}$/.test(text)) throw new CaissonError('USAGE', { detail: `files: ${text} is not a mode such as 644` });
  return Number.parseInt(text, 8);
}

/** Applies a unified diff from the standard input, all of it or nothing. */
async function patch(box: Sandbox, [path]: readonly string[], { json }: FilesFlags): Promise<number> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) chunks.push(chunk);
  const made = await box.files.patch(Buffer.concat(chunks).toString('utf8'), defined({ path }));
  return done(undefined, made as object, json);
}

const archiveRoute = (box: Sandbox, path: string): string => `/v1/sandboxes/${box.id}/files/archive?path=${encodeURIComponent(path)}`;

/** Writes a folder to the standard output, as a tar archive. */
async function archive(box: Sandbox, [path = '/workspace']: readonly string[], _flags: FilesFlags, { connection }: Api): Promise<number> {
  if (process.stdout.isTTY) throw new CaissonError('USAGE', { detail: 'files: archive writes a tar archive, and the standard output is a terminal' });
  const response = await askStream(connection, { method: 'GET', path: archiveRoute(box, path), headers: { accept: 'application/x-tar' } });
  await pipeline(response, process.stdout, { end: false });
  return 0;
}

/** Unpacks a tar archive from the standard input, gzip or not. */
async function unpack(box: Sandbox, [path = '/workspace']: readonly string[], { json }: FilesFlags, { connection }: Api): Promise<number> {
  const made = await ask(connection, { method: 'PUT', path: archiveRoute(box, path), bytes: process.stdin as AsyncIterable<Uint8Array>, headers: { 'content-type': 'application/x-tar' } });
  return done(undefined, made as object, json);
}

function shown(info: FileInfo, { json }: Json): number {
  if (json === true) printJson(info);
  else printTable(HEADING, [rowOf(info)]);
  return 0;
}

function done(_nothing: unknown, what: object, json: boolean | undefined): number {
  if (json === true) printJson(what);
  return 0;
}

const HEADING = ['TYPE', 'MODE', 'SIZE', 'CHANGED', 'PATH'] as const;

function rowOf({ type, mode, sizeBytes, mtimeMs, path, target }: FileInfo): readonly string[] {
  return [type, mode.toString(8).padStart(3, '0'), type === 'file' ? showBytes(sizeBytes) : '-', new Date(mtimeMs).toISOString().slice(0, 19), target === undefined ? path : `${path} -> ${target}`];
}

async function list(box: Sandbox, [path = '/workspace']: readonly string[], { recursive, json }: FilesFlags): Promise<number> {
  const found: FileInfo[] = [];
  for await (const info of box.files.list(path, defined({ recursive }))) found.push(info);
  if (json === true) printJson({ files: found });
  else printTable(HEADING, found.map(rowOf));
  return 0;
}

async function cat(box: Sandbox, [path = '']: readonly string[]): Promise<number> {
  await pipeline(await box.files.readStream(path), process.stdout, { end: false });
  return 0;
}

async function search(box: Sandbox, path: string, what: { readonly name?: string; readonly content?: string; readonly regex?: boolean }, { json, limit }: FilesFlags): Promise<number> {
  const found = await box.files.search(path, { ...what, ...defined({ limit: limit === undefined ? undefined : parseCount('--limit', limit) }) });
  if (json === true) printJson(found);
  else {
    for (const match of found.matches) print(`${printable(match.line === 0 ? match.path : `${match.path}:${match.line}:${match.text}`)}\n`);
    if (found.truncated) note('there are more; see --limit');
  }
  return found.matches.length === 0 ? 1 : 0;
}

/** Until SIGINT or SIGTERM. */
async function watch(box: Sandbox, [path = '/workspace']: readonly string[], { recursive, json }: FilesFlags): Promise<number> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  try {
    for await (const change of box.files.watch(path, defined({ recursive, signal: stop.signal }))) {
      if (json === true) printJson(change);
      else print(`${change.kind} ${printable(change.path)}\n`);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  return 0;
}

interface Side {
  /** Null for this machine. */
  readonly id: string | null;
  readonly path: string;
}

/** `ID:path` is of a sandbox; a path with a slash before its first colon is of this machine. */
function sideOf(text: string): Side {
  const [, id, path] = /^([^/:]+):(.*)$/s.exec(text) ?? [];
  return id === undefined ? { id: null, path: text } : { id, path: path === undefined || path === '' ? '/workspace' : path };
}

/** Copies a file or a folder into a sandbox or out of it. */
export async function cp(from: string, to: string, { json }: Json): Promise<number> {
  const [source, target] = [sideOf(from), sideOf(to)];
  if ((source.id === null) === (target.id === null)) throw new CaissonError('USAGE', { detail: 'cp: one side is ID:PATH, the other a path here' });
  const box = await (await openApi()).box(source.id ?? target.id ?? '');
  using progress = startProgress();
  const tell = (bytes: number): void => progress.tell(`copied ${showBytes(bytes)}`);
  const copied = source.id === null ? await upload(box, source.path, target.path, tell) : await download(box, source.path, target.path, tell);
  for (const { path, why } of copied.skipped) note(`left out ${printable(path)}: ${printable(why)}`);
  if (json === true) printJson(copied);
  return 0;
}

interface Done {
  readonly files: number;
  readonly bytes: number;
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

async function upload(box: Sandbox, from: string, to: string, tell: (bytes: number) => void): Promise<Done> {
  const stats = await lstat(from).catch((cause: NodeJS.ErrnoException) => Promise.reject(new CaissonError('USAGE', { detail: `${from}: ${cause.code}` }, { cause })));
  if (stats.isDirectory()) return box.files.upload(from, to, { onProgress: tell });
  if (!stats.isFile()) throw new CaissonError('USAGE', { detail: `${from}: it is neither a file nor a folder` });
  const info = await box.files.stat(to).catch(() => null);
  const path = info?.type === 'directory' ? join(to, basename(from)) : to;
  const { sizeBytes } = await box.files.write(path, counted(createReadStream(from), tell), { mode: stats.mode & 0o777, parents: true });
  return { files: 1, bytes: sizeBytes, skipped: [] };
}

async function download(box: Sandbox, from: string, to: string, tell: (bytes: number) => void): Promise<Done> {
  const info = await box.files.stat(from);
  if (info.type === 'directory') return box.files.download(from, to, { onProgress: tell });
  const here = await lstat(to).catch(() => null);
  const path = here?.isDirectory() === true ? join(to, basename(from)) : to;
  if (to === '-') await pipeline(await box.files.readStream(from), process.stdout, { end: false });
  else await pipeline(counted(await box.files.readStream(from) as AsyncIterable<Uint8Array>, tell), createWriteStream(path, { mode: info.mode & 0o777 }));
  return { files: 1, bytes: info.sizeBytes, skipped: [] };
}
