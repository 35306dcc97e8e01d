import { lstatSync, mkdirSync, type Stats } from 'node:fs';
import { CaissonError } from '@caisson/contract/errors';

/**
 * Checks that folders belong to this user and that nobody else can write them, so that a socket below them is ours.
 * A folder that is not there is made first when `make` says so, and is no finding otherwise.
 *
 * @throws CaissonError STATE_DIR_INVALID naming the folder.
 */
export function checkOwnFolders(folders: readonly string[], { make }: { readonly make: boolean }): void {
  for (const folder of folders) {
    if (make) makeIfAbsent(folder);
    const found = lstatSync(folder, { throwIfNoEntry: false });
    if (found === undefined) continue;
    const fault = faultOf(found);
    if (fault !== null) throw new CaissonError('STATE_DIR_INVALID', { dir: folder, detail: fault });
  }
}

function makeIfAbsent(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o711 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new CaissonError('STATE_DIR_INVALID', { dir: folder, detail: message }, { cause: error });
  }
}

function faultOf(found: Stats): string | null {
  if (!found.isDirectory()) return 'it is not a folder';
  if (found.uid !== process.getuid?.()) return 'it belongs to another user';
  return (found.mode & 0o022) === 0 ? null : 'others can write it';
}
