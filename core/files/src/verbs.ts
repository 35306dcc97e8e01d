import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { CaissonError } from '@caisson/contract';
import type { Connection } from './connection.ts';
import { FLAG, NO_MODE, REQUEST } from './frames.ts';
import { decodeOne, decodeRecords, type FileInfo, type FileRecord } from './info.ts';
import { absolutePath, shown, type FilePath } from './paths.ts';
import { ItemStream, ReplyStream } from './stream.ts';
import { Upload } from './upload.ts';

const U64_MAX = 2n ** 64n - 1n;
const MODE_MAX = 0o1777;

export const flags = (set: Partial<Record<keyof typeof FLAG, boolean | undefined>>): number =>
  (Object.keys(set) as (keyof typeof FLAG)[]).reduce((all, name) => (set[name] === true ? all | FLAG[name] : all), 0);

export async function statFile(connection: Connection, path: FilePath, flag = 0): Promise<FileRecord> {
  const bytes = absolutePath(path);
  return decodeOne(await connection.call(REQUEST.stat, { path: bytes, flags: flag }), bytes);
}

/** The same, or null where there is nothing. */
export async function statOrNull(connection: Connection, path: FilePath, flag = 0): Promise<FileRecord | null> {
  try {
    return await statFile(connection, path, flag);
  } catch (error) {
    if (error instanceof CaissonError && error.code === 'FILE_NOT_FOUND') return null;
    throw error;
  }
}

export function listFiles(connection: Connection, path: FilePath, flag: number): ItemStream<FileRecord> {
  const bytes = absolutePath(path);
  return new ItemStream(() => ReplyStream.open(connection, REQUEST.list, { path: bytes, flags: flag }), (payload) => decodeRecords(payload, bytes));
}

export interface ReadOptions {
  /** First byte. Default: 0. Behind the end there is nothing to read. */
  readonly offset?: number;
  /** Most bytes. Default: all. */
  readonly length?: number;
}

/** A file being read. The body ends with FILE_CHANGED when the file becomes shorter meanwhile. */
export async function readFile(connection: Connection, path: FilePath, { offset = 0, length }: ReadOptions, flag: number): Promise<{ readonly record: FileRecord; readonly body: Readable }> {
  const bytes = absolutePath(path);
  for (const [name, value] of Object.entries({ offset, length: length ?? 0 })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new CaissonError('REQUEST_INVALID', { detail: `${name}: not a count of bytes` });
  }
  const replies = await ReplyStream.open(connection, REQUEST.read, { path: bytes, flags: flag, first: offset, second: length ?? U64_MAX });
  const record = decodeOne(await replies.head, bytes);
  const expected = Math.min(Math.max(record.info.sizeBytes - offset, 0), length ?? Infinity);
  return { record, body: bodyOf(replies, expected, shown(path)) };
}

function bodyOf(replies: ReplyStream, expected: number, path: string): Readable {
  let left = expected;
  const pull = async (body: Readable): Promise<void> => {
    try {
      let next = await replies.next();
      // A stream that is given nothing does not ask again.
      while (next.done !== true && next.value.length === 0) next = await replies.next();
      if (next.done !== true) {
        left -= next.value.length;
        body.push(next.value);
      } else if (left === 0) {
        body.push(null);
      } else {
        body.destroy(new CaissonError('FILE_CHANGED', { path, detail: 'it became shorter while it was read' }));
      }
    } catch (error) {
      body.destroy(error as Error);
    }
  };
  return new Readable({
    highWaterMark: 0,
    read() {
      void pull(this);
    },
    destroy(error, callback) {
      replies.leave();
      callback(error);
    },
  });
}

/** What the file must be for a write to take place: anything else fails with FILE_CHANGED and changes nothing. */
export interface Expected {
  /** As `stat` or an earlier write told it. */
  readonly version?: string;
  /** Of the whole content, in hex. */
  readonly sha256?: string;
}

export interface WriteOptions {
  /** Permission bits, 0 to 0o1777. Default: those of the file that is replaced, or 0o644. */
  readonly mode?: number;
  /** Makes the directories above. Default: false. */
  readonly createParents?: boolean;
  /** Fails with FILE_EXISTS when there is a file. Default: false. */
  readonly exclusive?: boolean;
  readonly expected?: Expected;
  /** Waits until the bytes are on disk. Default: true. */
  readonly sync?: boolean;
}

export interface UploadOptions extends WriteOptions {
  readonly flag?: number;
  readonly mtimeNs?: bigint;
}

export async function openUpload(connection: Connection, path: FilePath, o: UploadOptions): Promise<Upload> {
  return Upload.open(connection, {
    path: absolutePath(path),
    number: checkedMode(o.mode) ?? NO_MODE,
    second: o.mtimeNs ?? 0,
    flags: (o.flag ?? 0) | flags({ parents: o.createParents, exclusive: o.exclusive, noSync: o.sync === false, mtime: o.mtimeNs !== undefined }),
  });
}

export type Body = Buffer | AsyncIterable<Buffer>;

/** Writes a whole file, or nothing. @throws CaissonError, and what the body throws */
export async function writeFile(connection: Connection, path: FilePath, body: Body, o: UploadOptions): Promise<FileRecord> {
  const version = o.expected === undefined ? undefined : await versionOf(connection, path, o.expected);
  const upload = await openUpload(connection, path, o);
  try {
    for await (const chunk of Buffer.isBuffer(body) ? [body] : body) {
      await upload.write(chunk);
      if (upload.isOver) break;
    }
  } catch (error) {
    await upload.abandon();
    throw error;
  }
  return upload.commit(version);
}

/** The version of the file as expected, so that the helper can tell whether it is still the same at the end. */
async function versionOf(connection: Connection, path: FilePath, { version, sha256 }: Expected): Promise<Buffer> {
  const changed = (detail: string): CaissonError => new CaissonError('FILE_CHANGED', { path: shown(path), detail });
  const record = await statOrNull(connection, path);
  if (record === null) throw changed('it is gone');
  if (version !== undefined && record.info.version !== version) throw changed(`it was modified at ${record.info.mtimeMs} and has ${record.info.sizeBytes} bytes`);
  if (sha256 === undefined) return record.version;
  const read = await readFile(connection, path, {}, 0);
  const hash = createHash('sha256');
  for await (const chunk of read.body as AsyncIterable<Buffer>) hash.update(chunk);
  const found = hash.digest('hex');
  if (found !== sha256.toLowerCase()) throw changed(`its SHA-256 is ${found}`);
  return read.record.version;
}

/** @throws CaissonError REQUEST_INVALID for bits that a file of a workspace cannot be given from outside */
export function checkedMode(mode: number | undefined): number | undefined {
  if (mode === undefined || (Number.isInteger(mode) && mode >= 0 && mode <= MODE_MAX)) return mode;
  throw new CaissonError('REQUEST_INVALID', { detail: 'mode: not within 0 to 0o1777; set-uid and set-gid are not given' });
}

export function infoOf({ info }: FileRecord): FileInfo {
  return info;
}
