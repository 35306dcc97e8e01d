import type { FileHandle } from 'node:fs/promises';
import type { Disk } from '@caisson/evidence';

/** What a call ends with in the place of what it does, for as long as it is set. */
export type Faults = { [verb in keyof Disk]?: () => Error | 'half' | undefined };

/** A fault with this code of errno. */
export const failing = (code: string): (() => Error) => () => Object.assign(new Error(`${code}: simulated`), { code });

/** The real file, with every call noted in `calls`, and faults that a test may set and take away again. */
export function watched(calls: string[], faults: Faults = {}): (file: FileHandle) => Disk {
  return (file) => ({
    write: async (bytes, position) => {
      const fault = faults.write?.();
      calls.push('write');
      if (fault instanceof Error) throw fault;
      return (await file.write(bytes, 0, fault === 'half' ? bytes.length >> 1 : bytes.length, position)).bytesWritten;
    },
    sync: async () => {
      const fault = faults.sync?.();
      if (fault instanceof Error) throw fault;
      await file.datasync();
      calls.push('sync');
    },
    truncate: async (bytes) => {
      const fault = faults.truncate?.();
      calls.push('truncate');
      if (fault instanceof Error) throw fault;
      await file.truncate(bytes);
    },
  });
}
