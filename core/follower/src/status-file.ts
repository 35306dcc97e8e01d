import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { z } from 'zod';

/**
 * Says what a process has come to. Readers see the old file or the new one, which need not outlive a crash of the machine.
 * A status that cannot be written is as good as none: who reads it sees that it is old.
 */
export function writeStatusFile(path: string, status: unknown): void {
  try {
    writeFileSync(`${path}.new`, JSON.stringify(status), { mode: 0o640 });
    renameSync(`${path}.new`, path);
  } catch {
    // a full disk: it is said again soon
  }
}

/** Null: nothing is said there, or nothing that this version understands. */
export function readStatusFile<T>(path: string, schema: z.ZodType<T>): T | null {
  try {
    const parsed = schema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
