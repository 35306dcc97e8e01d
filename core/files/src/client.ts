import type { Duplex, Readable } from 'node:stream';
import { CaissonError } from '@caisson/contract';
import { Connection } from './connection.ts';
import type { UnpackResult } from './entries.ts';
import { FLAG, NO_MODE, PATH_BYTES_MAX, REQUEST } from './frames.ts';
import type { FileInfo } from './info.ts';
import { leadsOutside } from './outside.ts';
import { packFiles } from './pack.ts';
import { applyPatch, type PatchResult } from './patch.ts';
import { absolutePath, shown, type FilePath } from './paths.ts';
import { searchFiles, type Match, type SearchQuery } from './search.ts';
import { unpackFiles, type UnpackLimits } from './unpack.ts';
import { checkedMode, flags, infoOf, listFiles, readFile, statFile, statOrNull, writeFile, type Body, type ReadOptions, type WriteOptions } from './verbs.ts';
import { watchFiles, type FileEvent, type WatchOptions } from './watch.ts';

export interface ListOptions {
  /** Also what is in the directories below; a link is an entry and is not followed. Default: false. */
  readonly recursive?: boolean;
  /** Most entries. Default: all. */
  readonly limit?: number;
}

export interface MoveOptions {
  /** Fails with FILE_EXISTS when something has the new name. Default: false, and a file takes the place of a file. */
  readonly noReplace?: boolean;
  readonly createParents?: boolean;
}

/**
 * The files of one workspace, over the socket of its helper. Paths are absolute below /workspace or relative to it; the
 * last component is never followed when it is a link, except by `read` and `list`. Every method rejects with a
 * CaissonError: FILE_NOT_FOUND, FILE_EXISTS, FILE_NOT_REGULAR, FILE_OUTSIDE, FILE_DENIED, FILE_NO_SPACE, FILE_CHANGED,
 * FILE_TOO_LARGE, REQUEST_INVALID, and FILES_UNAVAILABLE once the helper is gone.
 */
export class FilesClient implements AsyncDisposable {
  readonly #connection: Connection;

  constructor(socket: Duplex) {
    this.#connection = new Connection(socket);
  }

  /** What is under the path; of a link the link itself, or with `follow` what it leads to. */
  async stat(path: FilePath, { follow = false }: { readonly follow?: boolean } = {}): Promise<FileInfo> {
    if (!follow) return infoOf(await statFile(this.#connection, path));
    return infoOf(await this.#followed(path, statFile(this.#connection, path, FLAG.follow)));
  }

  /** What is in a directory, in no order, as it is read from the disk. */
  async *list(path: FilePath, { recursive, limit = Infinity }: ListOptions = {}): AsyncGenerator<FileInfo, void, undefined> {
    if (limit <= 0) return;
    const entries = listFiles(this.#connection, path, FLAG.follow | flags({ recursive }));
    let left = limit;
    let next = await this.#followed(path, entries.next());
    try {
      for (; next.done !== true; next = await entries.next()) {
        yield next.value.info;
        if (--left <= 0) return;
      }
    } finally {
      await entries.return();
    }
  }

  /** A regular file, or a part of it. Destroying the body ends the reading. */
  async read(path: FilePath, o: ReadOptions = {}): Promise<{ readonly info: FileInfo; readonly body: Readable }> {
    const { record, body } = await this.#followed(path, readFile(this.#connection, path, o, FLAG.follow));
    return { info: record.info, body };
  }

  /** Writes a whole file in one step: whoever looks sees the old content or the new one. A body that fails changes nothing. */
  async write(path: FilePath, body: Body, o: WriteOptions = {}): Promise<FileInfo> {
    return infoOf(await writeFile(this.#connection, path, body, o));
  }

  /** Adds to the end of a file, in place; makes it when there is none. What was added before a failure stays. */
  async append(path: FilePath, body: Body, o: Pick<WriteOptions, 'createParents' | 'mode' | 'sync'> = {}): Promise<FileInfo> {
    return infoOf(await writeFile(this.#connection, path, body, { ...o, flag: FLAG.append }));
  }

  /** Cuts a file, or extends it with zeros. */
  async truncate(path: FilePath, sizeBytes: number): Promise<void> {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw new CaissonError('REQUEST_INVALID', { detail: 'sizeBytes: not a count of bytes' });
    await this.#connection.call(REQUEST.truncate, { path: absolutePath(path), first: sizeBytes });
  }

  /** Makes a directory. With `parents` also those above, and it is no error when it is there. */
  async mkdir(path: FilePath, { parents, mode }: { readonly parents?: boolean; readonly mode?: number } = {}): Promise<void> {
    const bytes = absolutePath(path);
    if (parents === true && (await statOrNull(this.#connection, bytes, FLAG.follow))?.info.type === 'directory') return;
    await this.#connection.call(REQUEST.mkdir, { path: bytes, flags: flags({ parents }), number: checkedMode(mode) ?? NO_MODE });
  }

  async move(from: FilePath, to: FilePath, { noReplace, createParents }: MoveOptions = {}): Promise<void> {
    const fields = { path: absolutePath(from), other: absolutePath(to), flags: flags({ exclusive: noReplace, parents: createParents }) };
    await this.#connection.call(REQUEST.move, fields);
  }

  /** Removes a file, a link or an empty directory; with `recursive` also what is in it, without following a link. */
  async remove(path: FilePath, { recursive }: { readonly recursive?: boolean } = {}): Promise<void> {
    await this.#connection.call(REQUEST.remove, { path: absolutePath(path), flags: flags({ recursive }) });
  }

  /** Sets the permission bits of a file or directory, 0 to 0o1777. */
  async chmod(path: FilePath, mode: number): Promise<void> {
    await this.#connection.call(REQUEST.chmod, { path: absolutePath(path), number: checkedMode(mode) ?? NO_MODE });
  }

  /** Makes a link that says `target`, as it is: what it means is decided by whoever follows it, inside. */
  async symlink(path: FilePath, target: FilePath): Promise<void> {
    const other = Buffer.from(target);
    const isPossible = other.length > 0 && other.length < PATH_BYTES_MAX && !other.includes(0);
    if (!isPossible) throw new CaissonError('REQUEST_INVALID', { detail: `target: not 1 to ${PATH_BYTES_MAX - 1} bytes without NUL` });
    await this.#connection.call(REQUEST.symlink, { path: absolutePath(path), other });
  }

  /** What happens in a directory from this call on, as it happens. What comes faster than it is taken ends in an overflow. */
  watch(path: FilePath, o: WatchOptions = {}): AsyncIterable<FileEvent> {
    return watchFiles(this.#connection, path, o);
  }

  /** Looks for names and text below a directory. */
  search(path: FilePath, query: SearchQuery): AsyncIterable<Match> {
    return searchFiles(this.#connection, path, query);
  }

  /** Carries out a unified diff below a directory, all of it or nothing. */
  async patch(path: FilePath, diff: string): Promise<PatchResult> {
    return applyPatch(this.#connection, path, diff);
  }

  /** A tar archive of a directory or file, made while it is read. */
  pack(path: FilePath): Readable {
    return packFiles(this.#connection, path);
  }

  /** Unpacks a tar archive, plain or gzip, below a directory. */
  async unpack(path: FilePath, tar: AsyncIterable<Buffer>, limits: UnpackLimits = {}): Promise<UnpackResult> {
    return unpackFiles(this.#connection, path, tar, limits);
  }

  /** What follows links, with its reason when they lead out: to the helper that is nothing. @throws CaissonError FILE_OUTSIDE */
  async #followed<T>(path: FilePath, done: Promise<T>): Promise<T> {
    try {
      return await done;
    } catch (error) {
      const isMissing = error instanceof CaissonError && error.code === 'FILE_NOT_FOUND';
      if (isMissing && await leadsOutside(this.#connection, absolutePath(path)).catch(() => false)) throw new CaissonError('FILE_OUTSIDE', { path: shown(path) });
      throw error;
    }
  }

  /** Ends the helper. What was under way fails, and what was being written leaves nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
  }
}
