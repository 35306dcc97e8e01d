import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CaissonError } from '@caisson/contract';

/** What flock(1) exits with when another holds the lock, in util-linux and busybox alike. */
const HELD = 1;

/**
 * Takes the exclusive flock(2) of an open directory for as long as the handle is open. The lock belongs to the open
 * file description, which flock(1) shares with this process: the kernel drops it when this process
 * ends, however it ends, so there is no stale lock and no moment at which two can hold it.
 *
 * @param holder what is said when another has it
 * @throws CaissonError EVIDENCE_UNAVAILABLE when another process holds it, or flock(1) is missing.
 */
export async function lockDirectory(directory: FileHandle, dir: string, holder = `another scribe writes in ${resolve(dir)}`): Promise<void> {
  const child = spawn('flock', ['-x', '-n', '3'], {
    stdio: ['ignore', 'ignore', 'ignore', directory.fd],
    env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' },
  });
  const [status] = (await once(child, 'exit').catch((cause: unknown) => {
    throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: `flock (of util-linux) cannot be run: ${(cause as Error).message}` }, { cause });
  })) as [number | null];
  if (status === HELD) throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: holder });
  if (status !== 0) throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: `${resolve(dir)} cannot be locked (flock exited with ${status})` });
}
