import type { IncomingMessage } from 'node:http';
import type { Connection } from './connection.ts';
import { CaissonError, invalidOption, type AnyCode } from './errors.ts';
import { askStream, lost } from './http.ts';
import { named, shown, type FilePath } from './path.ts';

export interface ReadOptions {
  /** First byte that is read. Default 0. */
  readonly offset?: number;
  /** Bytes that are read. Default: to the end. */
  readonly length?: number;
  /** Most bytes that are held; FILE_TOO_LARGE for a file that has more. Default 256 MiB. */
  readonly maxBufferBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

const BUFFER_BYTES = 256 * 1024 * 1024;

/** Names one file. */
export interface FileAt {
  readonly connection: Connection;
  /** Route of the content of files. */
  readonly route: string;
  readonly path: FilePath;
}

/** Opens a file to be read as a stream. */
export async function openFile({ connection, route, path }: FileAt, { offset = 0, length, signal }: ReadOptions = {}): Promise<IncomingMessage> {
  return askStream(connection, { method: 'GET', path: route, query: named(path), headers: rangeHeader(offset, length), repeatable: true, signal });
}

/** Reads a file whole, or the part that was asked for. */
export async function readFile(file: FileAt, options: ReadOptions = {}): Promise<Buffer> {
  const { maxBufferBytes = BUFFER_BYTES, length, signal } = options;
  if (length === 0) return Buffer.alloc(0);
  const response = await openFile(file, options).catch(emptyRange);
  if (response === null) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBufferBytes) throw tooLarge(file.path, maxBufferBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof CaissonError ? error : lost(file.connection, error);
  }
  return Buffer.concat(chunks);
}

function rangeHeader(offset: number, length: number | undefined): Readonly<Record<string, string>> {
  if (!Number.isSafeInteger(offset) || offset < 0) throw invalidOption('offset must be a whole number from 0 on');
  if (length !== undefined && (!Number.isSafeInteger(length) || length < 1)) throw invalidOption('length must be a whole number from 1 on');
  if (offset === 0 && length === undefined) return {};
  return { range: `bytes=${offset}-${length === undefined ? '' : offset + length - 1}` };
}

/** A part that begins at the end of the file or after it is empty, as with read(2). */
function emptyRange(error: unknown): null {
  const empty: AnyCode = 'RANGE_INVALID';
  if (error instanceof CaissonError && error.code === empty) return null;
  throw error;
}

function tooLarge(path: FilePath, mostBytes: number): CaissonError {
  return new CaissonError({ code: 'FILE_TOO_LARGE', message: `${shown(path)}: it has more than ${mostBytes} bytes`, hint: 'read a part of it, or use readStream' });
}
