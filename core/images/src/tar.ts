import { CaissonError } from '@caisson/contract';
import { tarEntries as archiveEntries, type TarEntry } from '@caisson/tar';

export type { TarEntry };

/**
 * The entries of a tar archive from untrusted bytes, as the room tar reads them.
 * @throws CaissonError IMAGE_INVALID, also from the content of an entry
 */
export async function* tarEntries(chunks: AsyncIterable<Buffer>): AsyncGenerator<TarEntry, void, undefined> {
  for await (const entry of ofImage(archiveEntries(chunks))) yield { ...entry, content: ofImage(entry.content) };
}

/** What makes an archive invalid makes the image invalid that it is part of. */
async function* ofImage<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* items;
  } catch (error) {
    throw error instanceof CaissonError && error.code === 'ARCHIVE_INVALID' ? invalid(error.message) : error;
  }
}

export function invalid(detail: string): CaissonError {
  return new CaissonError('IMAGE_INVALID', { detail });
}
