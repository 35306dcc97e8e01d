import { Readable } from 'node:stream';
import type { Connection } from './connection.ts';
import { CaissonError } from './errors.ts';
import { eventData, openEvents } from './events.ts';
import type { FileInfo } from './generated.ts';
import { askJson, type Ask } from './http.ts';
import { named, type FilePath } from './path.ts';
import { problemOf } from './problem.ts';
import { openFile, readFile, type FileAt, type ReadOptions } from './read.ts';
import { downloadFolder, uploadFolder, type FolderAt, type OnProgress } from './transfer.ts';
import type { Copied, UnpackLimits } from './unpack.ts';

export interface Aborting {
  readonly signal?: AbortSignal | undefined;
}

export type Content = string | Uint8Array | AsyncIterable<string | Uint8Array>;

export interface WriteOptions extends Aborting {
  /** Permission bits, such as 0o755. Default 0o644, or what the file has. */
  readonly mode?: number;
  /** Whether missing folders are made. Default false. */
  readonly parents?: boolean;
  /** Whether it is an error when the file exists. Default false. */
  readonly exclusive?: boolean;
  /** What the file must be before it is replaced; FILE_CHANGED when it is not. */
  readonly expected?: FileInfo;
}

export interface Match {
  readonly path: string;
  /** The bytes of a path that is not UTF-8. */
  readonly pathBase64?: string;
  /** From 1 on; 0 where a name was looked for. */
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

export interface SearchOptions extends Aborting {
  /** Pattern of file names, such as `*.py`. */
  readonly name?: string;
  /** What a line holds. */
  readonly content?: string;
  /** Whether `content` is a regular expression. Default false. */
  readonly regex?: boolean;
  /** Most matches. Default 1 000. */
  readonly limit?: number;
}

export interface FileChange {
  readonly kind: string;
  readonly path: string;
  readonly pathBase64?: string;
}

/** The files of a sandbox's workspace. A path is below /workspace, or relative to it; bytes where it is not UTF-8. Works while the sandbox is paused too. */
export interface Files {
  /** The whole file as UTF-8 text. */
  read(path: FilePath, options?: ReadOptions): Promise<string>;
  readBytes(path: FilePath, options?: ReadOptions): Promise<Uint8Array>;
  /** The file as it is read: nothing is held but what the reader has not taken. */
  readStream(path: FilePath, options?: Omit<ReadOptions, 'maxBufferBytes'>): Promise<Readable>;
  /** Writes a file whole or not at all. */
  write(path: FilePath, content: Content, options?: WriteOptions): Promise<FileInfo>;
  append(path: FilePath, content: Content, options?: Aborting): Promise<FileInfo>;
  /** What is in a folder. @throws CaissonError FILE_NOT_FOUND at the first step */
  list(path?: FilePath, options?: Aborting & { readonly recursive?: boolean }): AsyncGenerator<FileInfo, void>;
  stat(path: FilePath, options?: Aborting): Promise<FileInfo>;
  exists(path: FilePath, options?: Aborting): Promise<boolean>;
  mkdir(path: FilePath, options?: Aborting & { readonly parents?: boolean; readonly mode?: number }): Promise<FileInfo>;
  move(from: FilePath, to: FilePath, options?: Aborting & { readonly replace?: boolean }): Promise<FileInfo>;
  remove(path: FilePath, options?: Aborting & { readonly recursive?: boolean }): Promise<void>;
  chmod(path: FilePath, mode: number, options?: Aborting): Promise<FileInfo>;
  search(path: FilePath, options: SearchOptions): Promise<{ readonly matches: readonly Match[]; readonly truncated: boolean }>;
  /** Applies a unified diff, all of it or nothing. */
  patch(diff: string, options?: Aborting & { readonly path?: FilePath }): Promise<unknown>;
  /** Changes below a path from now on, until the iteration is left. A connection that breaks ends it: changes may be missing then. */
  watch(path?: FilePath, options?: Aborting & { readonly recursive?: boolean }): AsyncGenerator<FileChange, void>;
  /** Copies what is in a folder of this machine into a folder of the workspace; links stay links. */
  upload(localDir: string, path?: FilePath, options?: Aborting & { readonly onProgress?: OnProgress }): Promise<Copied>;
  /**
   * Copies a folder of the workspace to this machine, as a new folder or into an empty one, whole or not at all. Nothing is
   * written outside it, and no link in it leads outside: such links are left out and said.
   *
   * @throws CaissonError ARCHIVE_REFUSED, FILE_EXISTS, FILE_TOO_LARGE
   */
  download(path: FilePath, localDir: string, options?: Aborting & UnpackLimits & { readonly onProgress?: OnProgress }): Promise<Copied>;
}

const PAGE = 1_000;

export function filesOf(connection: Connection, sandbox: string): Files {
  const at = (verb: string): string => `/v1/sandboxes/${encodeURIComponent(sandbox)}/files/${verb}`;
  const ask = <T>(rest: Omit<Ask, 'path'>, verb: string): Promise<T> => askJson<T>(connection, { ...rest, path: at(verb) });
  const file = (path: FilePath): FileAt => ({ connection, route: at('content'), path });
  const folder = (path: FilePath, rest: Pick<FolderAt, 'signal' | 'onProgress'>): FolderAt => ({ connection, route: at('archive'), path, ...rest });
  const stat = (path: FilePath, { signal }: Aborting = {}): Promise<FileInfo> => ask({ method: 'GET', query: named(path), repeatable: true, signal }, 'stat');

  return {
    stat,
    async read(path, options) {
      return (await readFile(file(path), options)).toString('utf8');
    },
    readBytes: (path, options) => readFile(file(path), options),
    readStream: (path, options) => openFile(file(path), options),
    write(path, content, { signal, mode, parents, exclusive, expected } = {}) {
      const query = { ...named(path), mode: mode?.toString(8).padStart(3, '0'), parents, exclusive };
      const headers = expected === undefined ? {} : { 'if-match': `"${expected.version}"` };
      return ask({ method: 'PUT', query, headers, bytes: bodyOf(content), repeatable: exclusive !== true && expected === undefined, signal }, 'content');
    },
    append: (path, content, { signal } = {}) => ask({ method: 'POST', query: named(path), bytes: bodyOf(content), repeatable: false, signal }, 'append'),
    async *list(path = '/workspace', { signal, recursive } = {}) {
      for (let cursor: string | undefined; ; ) {
        const page = await ask<{ readonly files: readonly FileInfo[]; readonly next: string | null }>({ method: 'GET', query: { ...named(path), recursive, limit: PAGE, cursor }, repeatable: true, signal }, 'list');
        yield* page.files;
        if (page.next === null) return;
        cursor = page.next;
      }
    },
    exists: (path, options) => stat(path, options).then(() => true, falseWhenMissing),
    mkdir: (path, { signal, ...options } = {}) => ask({ method: 'POST', json: { ...named(path), ...options }, repeatable: options.parents === true, signal }, 'mkdir'),
    move: (from, to, { signal, ...options } = {}) => ask({ method: 'POST', json: { ...named(from, 'from'), ...named(to, 'to'), ...options }, repeatable: false, signal }, 'move'),
    remove: (path, { signal, ...options } = {}) => ask({ method: 'POST', json: { ...named(path), ...options }, repeatable: false, signal }, 'remove'),
    chmod: (path, mode, { signal } = {}) => ask({ method: 'POST', json: { ...named(path), mode }, repeatable: true, signal }, 'chmod'),
    search: (path, { signal, ...options }) => ask({ method: 'POST', json: { ...named(path), ...options }, repeatable: true, signal }, 'search'),
    patch: (diff, { signal, path } = {}) => ask({ method: 'POST', json: { diff, ...(path === undefined ? {} : named(path)) }, repeatable: false, signal }, 'patch'),
    watch: (path = '/workspace', { signal, recursive } = {}) => changes(connection, { method: 'GET', path: at('watch'), query: { ...named(path), recursive }, repeatable: true, signal }),
    upload: (localDir, path = '/workspace', options = {}) => uploadFolder(folder(path, options), localDir),
    download: (path, localDir, { signal, onProgress, ...limits } = {}) => downloadFolder(folder(path, { signal, onProgress }), localDir, limits),
  };
}

function falseWhenMissing(error: unknown): false {
  if (error instanceof CaissonError && error.code === 'FILE_NOT_FOUND') return false;
  throw error;
}

function bodyOf(content: Content): Uint8Array | AsyncIterable<Uint8Array> {
  if (typeof content === 'string') return Buffer.from(content);
  return content instanceof Uint8Array ? content : Readable.from(content, { objectMode: false });
}

async function* changes(connection: Connection, ask: Ask): AsyncGenerator<FileChange, void> {
  using events = await openEvents(connection, ask);
  for (let event = await events.next(); event !== null; event = await events.next()) {
    if (event.event === 'problem') throw problemOf(eventData(event), 500);
    if (event.event === 'change') yield eventData(event) as FileChange;
  }
}
