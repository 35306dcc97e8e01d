import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract/errors';
import { TAR_END, tarHeader, tarPadding } from '@caisson/sdk';
import { seenOf, type Seen, type Walked } from './own-folder.ts';

/** What one archive holds at most; the API takes twice as much. */
const ARCHIVE_MOST = { bytes: 512 * 1024 * 1024, entries: 50_000 } as const;
const PIECE_BYTES = 256 * 1024;

/** What has been packed so far. */
export interface Packing {
  readonly manifest: Map<string, Seen>;
  bytes: number;
  onProgress?: () => void;
}

/** Packs what is walked into as many tar archives as the API needs, and notes down each path as it was packed. */
export async function* archivesOf(walked: AsyncGenerator<Walked, void>, packing: Packing): AsyncGenerator<AsyncGenerator<Buffer, void>, void> {
  const state = { over: false };
  while (!state.over) yield one(walked, packing, state);
}

async function* one(walked: AsyncGenerator<Walked, void>, packing: Packing, state: { over: boolean }): AsyncGenerator<Buffer, void> {
  const [fromBytes, fromEntries] = [packing.bytes, packing.manifest.size];
  while (packing.bytes - fromBytes < ARCHIVE_MOST.bytes && packing.manifest.size - fromEntries < ARCHIVE_MOST.entries) {
    const next = await walked.next();
    if (next.done === true) {
      state.over = true;
      break;
    }
    yield* member(next.value, packing);
    packing.onProgress?.();
  }
  yield TAR_END;
}

async function* member({ path, seen, target, at }: Walked, packing: Packing): AsyncGenerator<Buffer, void> {
  const name = Buffer.from(path);
  if (seen.type === 'file') return yield* file(name, at, packing);
  packing.manifest.set(path, seen);
  const about = { name, mode: seen.mode, mtimeMs: Number(BigInt(seen.mtimeNs) / 1_000_000n), sizeBytes: 0 };
  yield target === null ? tarHeader({ ...about, kind: 'folder' }) : tarHeader({ ...about, kind: 'link', target });
}

/** A file as it was when it was opened. One that is written meanwhile has another time afterwards, and `accept` sees it. */
async function* file(name: Buffer, at: string, packing: Packing): AsyncGenerator<Buffer, void> {
  const path = name.toString('utf8');
  await using opened = await open(at, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((cause: NodeJS.ErrnoException) => {
    throw new CaissonError('FILE_DENIED', { path, detail: cause.code ?? cause.message }, { cause });
  });
  const seen = seenOf(await opened.stat({ bigint: true }));
  if (seen?.type !== 'file') throw new CaissonError('FILE_CHANGED', { path, detail: 'while it was packed' });
  packing.manifest.set(path, seen);
  yield tarHeader({ name, kind: 'file', mode: seen.mode, mtimeMs: Number(BigInt(seen.mtimeNs) / 1_000_000n), sizeBytes: seen.sizeBytes });
  for (let left = seen.sizeBytes; left > 0; ) {
    const { bytesRead, buffer } = await opened.read(Buffer.allocUnsafe(Math.min(left, PIECE_BYTES)), 0);
    if (bytesRead === 0) throw new CaissonError('FILE_CHANGED', { path, detail: 'while it was packed' });
    left -= bytesRead;
    packing.bytes += bytesRead;
    packing.onProgress?.();
    yield buffer.subarray(0, bytesRead);
  }
  yield tarPadding(seen.sizeBytes);
}
