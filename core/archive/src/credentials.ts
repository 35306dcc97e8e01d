import { readFileSync } from 'node:fs';
import { CaissonError } from '@caisson/contract';
import type { S3Credentials } from './s3-store.ts';

/**
 * Keys from a file in the form of ~/.aws/credentials, profile default. It is read here once, which may be before a privilege is
 * given up; later it is read again where that is possible, so that keys that change are followed.
 *
 * @throws CaissonError EVIDENCE_ARCHIVE_INVALID when it cannot be read now, or has no keys
 */
export function credentialsFile(path: string): () => Promise<S3Credentials> {
  let known = parseCredentials(readText(path), path);
  return async () => {
    try {
      known = parseCredentials(readText(path), path);
    } catch {
      // those that were read last
    }
    return known;
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CaissonError('EVIDENCE_ARCHIVE_INVALID', { path, detail: `credentials.file: ${(cause as Error).message}` }, { cause });
  }
}

export function parseCredentials(text: string, path: string): S3Credentials {
  const values = new Map<string, string>();
  let profile = '';
  for (const line of text.split('\n').map((one) => one.trim())) {
    const [, section] = /^\[(.+)\]$/.exec(line) ?? [];
    profile = section?.trim() ?? profile;
    const [, name, value] = /^([a-z_]+)\s*=\s*(\S+)$/.exec(line) ?? [];
    if (profile === 'default' && name !== undefined && value !== undefined) values.set(name, value);
  }
  const [accessKeyId, secretAccessKey, sessionToken] = ['aws_access_key_id', 'aws_secret_access_key', 'aws_session_token'].map((name) => values.get(name));
  if (accessKeyId === undefined || secretAccessKey === undefined) throw new CaissonError('EVIDENCE_ARCHIVE_INVALID', { path, detail: 'its profile default has no aws_access_key_id and aws_secret_access_key' });
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}
