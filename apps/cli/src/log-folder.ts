import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fetch } from '@caisson/tlog';

/** A bundle is the longest resource of a log: 256 entries, each with its length (C2SP tlog-tiles, Log entries). */
const MAX_RESOURCE_BYTES = 256 * (2 + 65_535);

/** Signs that say that there is no such file: nothing there, or a link. */
const ABSENT: readonly (string | undefined)[] = ['ENOENT', 'ENOTDIR', 'ELOOP'];

/**
 * The static resources of a log in a folder: regular files only, no symbolic link as the last step, none longer than a
 * bundle can be. Rejects when a file cannot be read or is another thing than that.
 */
export function directoryFetch(dir: string): Fetch {
  return async (path) => {
    const file = await open(join(dir, path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(absentIsNull);
    if (file === null) return null;
    try {
      const stats = await file.stat();
      if (!stats.isFile()) throw new Error(`${path} is no regular file`);
      if (stats.size > MAX_RESOURCE_BYTES) throw new Error(`${path} has ${stats.size} bytes, more than any resource of a log`);
      const bytes = Buffer.alloc(stats.size);
      let at = 0;
      while (at < bytes.length) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return bytes.subarray(0, at);
    } finally {
      await file.close();
    }
  };
}

function absentIsNull(error: NodeJS.ErrnoException): null {
  if (ABSENT.includes(error.code)) return null;
  throw error;
}
