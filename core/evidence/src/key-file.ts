import { CaissonError } from '@caisson/contract';
import { openIfThere } from './folder.ts';

/** The private key of a log, in the folder beside the log whose name ends in `-key`. */
export const KEY_FILE = 'log.key';

/** The text of a file that others must not be able to read; null: there is none. @throws CaissonError EVIDENCE_UNAVAILABLE for one that they can read */
export async function readPrivate(path: string): Promise<string | null> {
  const file = await openIfThere(path);
  if (file === null) return null;
  try {
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0) throw unavailable(`${path} can be read by others (mode ${(mode & 0o777).toString(8)}): set it to 600`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

export function unavailable(detail: string): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail });
}
