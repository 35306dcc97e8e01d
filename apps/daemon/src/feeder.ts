import { readFileSync } from 'node:fs';
import { CaissonError, type StatePaths } from '@caisson/contract';
import { folderFetch } from '@caisson/evidence';
import { readStamping, type StampingPlan } from '@caisson/timestamp/config';
import { Feeder, parseFeed, type FeedPlan } from '@caisson/witness';
import { identities, self } from './identity.ts';
import { dropTo, log } from './lifetime.ts';

/** Who is to countersign the heads of the evidence log; null: nobody. @throws CaissonError WITNESS_INVALID */
function readFeed({ witnessesConfig: path }: StatePaths): FeedPlan | null {
  try {
    return parseFeed(readFileSync(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new CaissonError('WITNESS_INVALID', { detail: `${path}: ${(error as Error).message}` }, { cause: error });
  }
}

/** Where heads of the evidence log are to be taken: to witnesses, to time-stamping authorities. */
export interface Feeding {
  readonly feed: FeedPlan | null;
  readonly stamping: StampingPlan | null;
}

/** null: nowhere. @throws CaissonError WITNESS_INVALID, TIMESTAMPS_INVALID */
export function readFeeding(paths: StatePaths): Feeding | null {
  const [feed, stamping] = [readFeed(paths), readStamping(paths.timestampsConfig)];
  return feed === null && stamping === null ? null : { feed, stamping };
}

/**
 * Takes the heads that the scribe publishes to witnesses and time-stamping authorities elsewhere, so that the scribe needs no
 * network. It gives up all privilege first; of the evidence directory it reads what is published, from inside, and writes in its
 * own folders there.
 *
 * @throws CaissonError WITNESS_INVALID, TIMESTAMPS_INVALID
 */
export async function openFeeder(paths: StatePaths): Promise<AsyncDisposable> {
  const feeding = readFeeding(paths);
  if (feeding === null) throw new CaissonError('WITNESS_INVALID', { detail: `neither ${paths.witnessesConfig} nor ${paths.timestampsConfig} is there` });
  const { feed, stamping } = feeding;
  const openStamper = stamping === null ? null : await stamperOf(stamping, paths);
  process.chdir(paths.evidence);
  dropTo(identities(paths.dir, self()).feeder);
  await using opened = new AsyncDisposableStack();
  if (feed !== null) opened.use(await Feeder.open({ ...feed, local: folderFetch('.'), dir: 'witness', nowMs: Date.now, onState: (name, state, detail) => log('witness', { name, state, detail }) }));
  if (openStamper !== null) opened.use(await openStamper());
  return opened.move();
}

/** What opens the stamper. Its code, which reads certificates, is loaded where it is wanted only. */
async function stamperOf({ urls, certificates, everyMs, clockBoundMs, ...asking }: StampingPlan, { timestampsConfig: path }: StatePaths): Promise<() => Promise<AsyncDisposable>> {
  const { httpTimeStamper, readTrust, Stamper } = await import('@caisson/timestamp');
  const trust = readTrust(certificates);
  if ('bad' in trust) throw new CaissonError('TIMESTAMPS_INVALID', { path, detail: `ca: ${trust.bad}` });
  const stampers = urls.map((url) => httpTimeStamper({ ...asking, url, trust }));
  return async () => Stamper.open({ stampers, trust, everyMs, clockBoundMs, local: folderFetch('.'), dir: 'timestamps', nowMs: Date.now, random: Math.random, onState: (name, state, detail) => log('timestamp', { name, state, detail }) });
}
