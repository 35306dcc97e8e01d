import { readFileSync } from 'node:fs';
import { CaissonError, type StatePaths } from '@caisson/contract';
import { folderFetch } from '@caisson/evidence';
import { Feeder, parseFeed, type FeedPlan } from '@caisson/witness';
import { identities, self } from './identity.ts';
import { dropTo, log } from './lifetime.ts';

/** Who is to countersign the heads of the evidence log; null: nobody. @throws CaissonError WITNESS_INVALID */
export function readFeed({ witnessesConfig: path }: StatePaths): FeedPlan | null {
  try {
    return parseFeed(readFileSync(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new CaissonError('WITNESS_INVALID', { detail: `${path}: ${(error as Error).message}` }, { cause: error });
  }
}

/**
 * Takes the heads that the scribe publishes to witnesses elsewhere, so that the scribe needs no network. It gives up all privilege
 * first; of the evidence directory it reads what is published, from inside, and writes in its own folder there.
 *
 * @throws CaissonError WITNESS_INVALID
 */
export async function openFeeder(paths: StatePaths): Promise<AsyncDisposable> {
  const plan = readFeed(paths);
  if (plan === null) throw new CaissonError('WITNESS_INVALID', { detail: `${paths.witnessesConfig} is not there` });
  process.chdir(paths.evidence);
  dropTo(identities(paths.dir, self()).feeder);
  return Feeder.open({ ...plan, local: folderFetch('.'), dir: 'witness', nowMs: Date.now, onState: (name, state, detail) => log('witness', { name, state, detail }) });
}
