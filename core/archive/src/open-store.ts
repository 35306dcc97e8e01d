import type { ArchiveConfig } from './config.ts';
import { credentialsFile } from './credentials.ts';
import { directoryStore } from './directory-store.ts';
import { s3Store } from './s3-store.ts';
import type { ObjectStore } from './store.ts';

/** Opens the store of a configuration; the client of S3 is loaded when one is used. @throws CaissonError EVIDENCE_ARCHIVE_INVALID */
export async function openStore(config: ArchiveConfig, nowMs: () => number): Promise<ObjectStore> {
  if (config.kind === 'directory') return directoryStore(config.path);
  const { bucket, prefix, region, endpoint, credentials, objectLock, timeoutMs } = config;
  const keys = credentials === 'default' ? undefined : credentialsFile(credentials.file);
  return s3Store({ bucket, prefix, region, endpoint, credentials: keys, lock: objectLock, timeoutMs, nowMs });
}
