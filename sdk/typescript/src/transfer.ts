import { constants } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { Connection } from './connection.ts';
import { CaissonError } from './errors.ts';
import { askJson, askStream, lost } from './http.ts';
import { named, type FilePath } from './path.ts';
import { TAR_END, tarHeader, tarPadding } from './tar-write.ts';
import { unpackInto, type Copied, type UnpackLimits } from './unpack.ts';

/** A folder of a workspace, reached through the route of archives. */
export interface FolderAt {
  readonly connection: Connection;
  readonly route: string;
  readonly path: FilePath;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** Told, as they pass, how many bytes of the archive there have been. */
export type OnProgress = (bytes: number) => void;

/** Copies a local folder into one of a workspace: files, folders, and links as links. */
export async function uploadFolder({ connection, route, path, signal, onProgress }: FolderAt, localDir: string): Promise<Copied> {
  const skipped: { path: string; why: string }[] = [];
  const { files, bytes } = await askJson<{ readonly files: number; readonly bytes: number }>(connection, {
    method: 'PUT', path: route, query: named(path), bytes: counted(archiveOf(localDir, skipped), onProgress), headers: { 'content-type': 'application/x-tar' }, repeatable: false, signal,
  });
  return { files, bytes, skipped };
}

/** Copies a folder of a workspace into a new local one. @throws CaissonError as `unpackInto` does */
export async function downloadFolder({ connection, route, path, signal, onProgress }: FolderAt, localDir: string, limits: UnpackLimits): Promise<Copied> {
  const response = await askStream(connection, { method: 'GET', path: route, query: named(path), headers: { accept: 'application/x-tar' }, repeatable: true, signal });
  try {
    return await unpackInto(localDir, counted(response as AsyncIterable<Buffer>, onProgress), limits);
  } catch (error) {
    signal?.throwIfAborted();
    throw (error as NodeJS.ErrnoException).code === 'ECONNRESET' ? lost(connection, error) : error;
  } finally {
    response.destroy();
  }
}

async function* counted(pieces: AsyncIterable<Buffer>, tell: OnProgress = () => undefined): AsyncGenerator<Buffer, void> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    tell(bytes);
    yield piece;
  }
}

async function* archiveOf(localDir: string, skipped: { path: string; why: string }[]): AsyncGenerator<Buffer, void> {
  yield* folder(Buffer.from(localDir), Buffer.alloc(0), skipped);
  yield TAR_END;
}

async function* folder(local: Buffer, inside: Buffer, skipped: { path: string; why: string }[]): AsyncGenerator<Buffer, void> {
  const names = await readdir(local, { encoding: 'buffer' });
  for (const entry of names.sort(Buffer.compare)) {
    const path = Buffer.concat([local, Buffer.from('/'), entry]);
    const name = inside.length === 0 ? entry : Buffer.concat([inside, Buffer.from('/'), entry]);
    const stats = await lstat(path);
    const about = { name, mode: stats.mode & 0o777, mtimeMs: stats.mtimeMs };
    if (stats.isFile()) yield* file(path, name);
    else if (stats.isSymbolicLink()) yield tarHeader({ ...about, kind: 'link', sizeBytes: 0, target: await readlink(path, { encoding: 'buffer' }) });
    else if (stats.isDirectory()) {
      yield tarHeader({ ...about, kind: 'folder', sizeBytes: 0 });
      yield* folder(path, name, skipped);
    } else if (skipped.length < 1_000) skipped.push({ path: name.toString('utf8'), why: 'it is neither a file, a folder nor a symbolic link' });
  }
}

/** A file as large as it was when it was opened; one that becomes shorter meanwhile ends the upload. */
async function* file(path: Buffer, name: Buffer): AsyncGenerator<Buffer, void> {
  await using opened = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const { size, mode, mtimeMs }: Stats = await opened.stat();
  yield tarHeader({ name, kind: 'file', mode: mode & 0o777, mtimeMs, sizeBytes: size });
  for (let left = size; left > 0; ) {
    const { bytesRead, buffer } = await opened.read(Buffer.allocUnsafe(Math.min(left, 256 * 1024)), 0);
    if (bytesRead === 0) throw new CaissonError({ code: 'FILE_CHANGED', message: `${name.toString('utf8')}: it became shorter while it was read`, hint: 'upload again when nothing writes to it' });
    left -= bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
  yield tarPadding(size);
}
