import { stat } from 'node:fs/promises';
import { uptime } from 'node:os';
import { CaissonError } from '@caisson/contract';
import { rotateKey, type RotateOptions } from '@caisson/evidence';
import { formatVerifierKey } from '@caisson/tlog';
import { instancePaths } from './client.ts';
import { note, print } from './say.ts';

const SET_GROUP_ID = 0o2000;
const CLOCKS: NonNullable<RotateOptions['clocks']> = { monotonicMs: () => performance.now(), bootMs: () => uptime() * 1000 };

/** Gives the log of this instance another key, and prints it. @throws CaissonError STATE_DIR_INVALID, EVIDENCE_UNAVAILABLE, EVIDENCE_DAMAGED */
export async function rotate(): Promise<number> {
  const dir = instancePaths().evidence;
  const { uid, gid, mode } = await stat(dir).catch((cause: unknown) => {
    throw new CaissonError('STATE_DIR_INVALID', { dir, detail: (cause as Error).message }, { cause });
  });
  // The owner of the log need not be able to pass through the folders above it: the work is done from inside.
  process.chdir(dir);
  const { from, to } = await rotateKey({ dir, logDir: '.', now: Date.now, clocks: CLOCKS, groupReads: (mode & SET_GROUP_ID) !== 0, asOwner: (work) => as({ uid, gid }, work) });
  note(`the key ${from.id} is destroyed; from now on this key signs. Give it to who verifies the log:`);
  print(`${formatVerifierKey(to)}\n`);
  return 0;
}

/** Does work with the rights of the user whose files it writes, where this process may take them: only root can read the key. */
async function as<T>({ uid, gid }: { readonly uid: number; readonly gid: number }, work: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0 || uid === 0) return work();
  process.setegid?.(gid);
  process.seteuid?.(uid);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}
