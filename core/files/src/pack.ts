import { Readable } from 'node:stream';
import { CaissonError } from '@caisson/contract';
import { TAR_END, tarHeader, tarPadding } from '@caisson/tar';
import type { Connection } from './connection.ts';
import { FLAG } from './frames.ts';
import type { FileRecord } from './info.ts';
import { absolutePath, type FilePath } from './paths.ts';
import { listFiles, readFile, statFile } from './verbs.ts';

/**
 * A tar archive of a directory (names below it) or of one file, made while it is read. Links are archived as links; FIFOs,
 * sockets and devices are left out, and so is what is gone by the time its turn comes. A file that becomes shorter
 * meanwhile breaks the archive off with FILE_CHANGED, rather than be padded.
 */
export function packFiles(connection: Connection, path: FilePath): Readable {
  return Readable.from(pieces(connection, absolutePath(path)), { objectMode: false, highWaterMark: 0 });
}

async function* pieces(connection: Connection, root: Buffer): AsyncGenerator<Buffer, void, undefined> {
  const leave = await connection.packs.take();
  try {
    const top = await statFile(connection, root, FLAG.follow);
    if (top.info.type === 'directory') {
      for await (const record of listFiles(connection, root, FLAG.follow | FLAG.recursive)) yield* member(connection, record, record.pathBytes.subarray(root.length + 1));
    } else {
      yield* member(connection, top, root.subarray(root.lastIndexOf('/') + 1));
    }
    yield TAR_END;
  } finally {
    leave();
  }
}

async function* member(connection: Connection, record: FileRecord, name: Buffer): AsyncGenerator<Buffer, void, undefined> {
  const { info: { type, mode, mtimeMs }, target } = record;
  const about = { name, mode, mtimeS: mtimeMs / 1000, sizeBytes: 0 };
  if (type === 'directory') yield tarHeader({ ...about, kind: 'folder' });
  if (type === 'symlink') yield tarHeader({ ...about, kind: 'symbolic-link', target });
  if (type !== 'file') return;
  const opened = await openOrNull(connection, record.pathBytes);
  if (opened === null) return;
  const { sizeBytes } = opened.record.info;
  yield tarHeader({ ...about, kind: 'file', sizeBytes });
  yield* opened.body as AsyncIterable<Buffer>;
  yield tarPadding(sizeBytes);
}

/** Null for a file that is no longer there, or no longer one. */
async function openOrNull(connection: Connection, path: Buffer): Promise<Awaited<ReturnType<typeof readFile>> | null> {
  try {
    return await readFile(connection, path, {}, 0);
  } catch (error) {
    if (error instanceof CaissonError && (error.code === 'FILE_NOT_FOUND' || error.code === 'FILE_NOT_REGULAR')) return null;
    throw error;
  }
}
