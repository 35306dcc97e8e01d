import type { StatePaths } from '@caisson/contract';
import { folderFetch, readTiles } from '@caisson/evidence';
import { identities, self } from './identity.ts';
import { dropTo, log } from './lifetime.ts';
import { Mirrors } from './mirrors.ts';

/**
 * Writes what sandboxes see of their own records. It gives up all privilege first; of the evidence directory it reads what is
 * published, from inside, and of the mirrors it owns the files, not the folders.
 */
export async function openMirror(paths: StatePaths): Promise<AsyncDisposable> {
  process.chdir(paths.evidence);
  dropTo(identities(paths.dir, self()).mirror);
  return new Mirrors({
    folder: paths.mirrors,
    read: (from) => readTiles(folderFetch('.'), from),
    onTrouble: (detail) => log('mirrors', detail === null ? { state: 'written' } : { state: 'behind', alarm: 'AUDIT_MIRROR_BEHIND', detail }),
  }).open();
}
