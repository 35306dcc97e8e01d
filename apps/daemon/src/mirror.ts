import type { StatePaths } from '@caisson/contract';
import { folderFetch, readTiles } from '@caisson/evidence';
import { identities, self } from './identity.ts';
import { dropTo, log } from './lifetime.ts';
import { mirrorReporter } from './mirror-status.ts';
import { Mirrors } from './mirrors.ts';

/**
 * Writes what sandboxes see of their own records. It gives up all privilege first; of the evidence directory it reads what is
 * published, from inside, and of the mirrors it owns the files, not the folders. The scribe, which reads what it says of itself, puts on
 * record that it cannot write.
 */
export async function openMirror(paths: StatePaths): Promise<AsyncDisposable> {
  process.chdir(paths.evidence);
  dropTo(identities(paths.dir, self()).mirror);
  const reporter = mirrorReporter(paths.mirrorStatus, () => performance.now());
  await using opened = new AsyncDisposableStack();
  opened.defer(reporter.ended);
  opened.use(new Mirrors({
    folder: paths.mirrors,
    read: (from) => readTiles(folderFetch('.'), from),
    onTrouble: (detail) => log('mirrors', detail === null ? { state: 'written' } : { state: 'behind', alarm: 'mirror-behind', detail }),
    onLook: reporter.looked,
  }).open());
  return opened.move();
}
