import { fdatasyncSync, ftruncateSync, writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';

/** What appending needs of a file. */
export interface Disk {
  /** Writes at a position and resolves to how many bytes were taken. */
  write(bytes: Buffer, position: number): Promise<number>;
  /** Resolves when all that was written is durable. */
  sync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
}

/**
 * The disk of a process that has nothing else to do: it waits for the kernel itself. A thread that waits instead has to be
 * woken and to wake it again, which takes longer than most disks, and what arrives meanwhile is for the next write anyway.
 */
export function diskOf({ fd }: FileHandle): Disk {
  return {
    write: async (bytes, position) => writeSync(fd, bytes, 0, bytes.length, position),
    sync: async () => fdatasyncSync(fd),
    truncate: async (bytes) => ftruncateSync(fd, bytes),
  };
}

/** What became of an append to a disk. After `unknown` nobody can say what the disk holds. */
export type Written = { readonly state: 'durable' } | { readonly state: 'undone' | 'unknown'; readonly cause: Error };

/**
 * Makes `bytes` durable at `position`, the end of the file. A write that fails is undone, so that the file ends at
 * `position` again. A sync that fails is not: the kernel may have dropped the bytes and call them clean, and a
 * second sync would then succeed without them.
 */
export async function writeDurably(disk: Disk, bytes: Buffer, position: number): Promise<Written> {
  try {
    for (let at = 0; at < bytes.length; ) {
      const taken = await disk.write(bytes.subarray(at), position + at);
      if (taken === 0) throw new Error('the file takes no more bytes');
      at += taken;
    }
  } catch (cause) {
    return undo(disk, position, cause as Error);
  }
  try {
    await disk.sync();
  } catch (cause) {
    return { state: 'unknown', cause: cause as Error };
  }
  return { state: 'durable' };
}

async function undo(disk: Disk, position: number, cause: Error): Promise<Written> {
  try {
    await disk.truncate(position);
    await disk.sync();
    return { state: 'undone', cause };
  } catch (error) {
    return { state: 'unknown', cause: new Error(`${cause.message}, and undoing it failed: ${(error as Error).message}`) };
  }
}
