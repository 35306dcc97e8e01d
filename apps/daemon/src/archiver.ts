import { readFileSync } from 'node:fs';
import { Archiver, fetchFromDirectory, openStore, parseConfig, type ArchiveConfig } from '@caisson/archive';
import { appendBound } from '@caisson/archive/status';
import { CaissonError, type StatePaths } from '@caisson/contract';
import { folderFetch, publishedKeys } from '@caisson/evidence';
import { identities, self } from './identity.ts';
import { dropTo, log } from './lifetime.ts';

/** Variables by which the chain of AWS finds keys and a region's own endpoints; they go to the archiver alone. */
const AWS_VARIABLES = [
  'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE',
  'AWS_ROLE_ARN', 'AWS_ROLE_SESSION_NAME', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_STS_REGIONAL_ENDPOINTS', 'AWS_EC2_METADATA_DISABLED',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_AUTHORIZATION_TOKEN', 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
];
const TLS_VARIABLES = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR'];

/** Where the evidence is to be archived; null: nowhere. @throws CaissonError EVIDENCE_ARCHIVE_INVALID */
export function readArchive({ archiveConfig: path }: StatePaths): ArchiveConfig | null {
  try {
    return parseConfig(readFileSync(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new CaissonError('EVIDENCE_ARCHIVE_INVALID', { path, detail: (error as Error).message }, { cause: error });
  }
}

/** Why the scribe, which works inside the evidence directory, may record nothing new at the moment; undefined: where the log does not wait for its archive. */
export function boundOf({ whenAway, maxLagMs, maxLagEntries }: ArchiveConfig): ((entries: number) => string | undefined) | undefined {
  return whenAway === 'stop' ? appendBound({ path: 'archive/status.json', maxLagMs, maxLagEntries, nowMs: Date.now }) : undefined;
}

/** What the archiver is given of the environment of whoever started Caisson. */
export function archiveVariables(config: ArchiveConfig): readonly string[] {
  return config.kind === 'directory' ? [] : [...TLS_VARIABLES, ...(config.credentials === 'default' ? AWS_VARIABLES : [])];
}

/**
 * Copies what the scribe publishes to a store elsewhere. It reads its configuration and its keys, then gives up all privilege; of
 * the evidence directory it reads what is published to its group, from inside, and so neither the signing key nor what is unfinished.
 *
 * @throws CaissonError EVIDENCE_ARCHIVE_INVALID
 */
export async function openArchiver(paths: StatePaths): Promise<AsyncDisposable> {
  const config = readArchive(paths);
  if (config === null) throw new CaissonError('EVIDENCE_ARCHIVE_INVALID', { path: paths.archiveConfig, detail: 'the file is not there' });
  const store = await openStore(config, Date.now);
  process.chdir(paths.evidence);
  dropTo(identities(paths.dir, self()).archiver);
  return Archiver.open({
    store,
    local: fetchFromDirectory('.'),
    logKeys: () => publishedKeys(folderFetch('.')),
    dir: 'archive',
    everyMs: config.everyMs,
    nowMs: Date.now,
    random: Math.random,
    onState: (state, detail) => log('archive', { state, detail }),
  });
}
