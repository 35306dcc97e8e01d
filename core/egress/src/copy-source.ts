import type { Lease } from '@caisson/contract';
import { canonicalPath, matchesPath } from './http-path.ts';

/** Names by which S3 of AWS is asked, those of buckets in front of them left out; no access points, whose names are no buckets. */
const ENDPOINT = /^s3(?:express-[a-z0-9-]+)?(?:[.-](?:accelerate|dualstack|fips|[a-z]{2}(?:-[a-z]+)+-\d{1,2}))*\.amazonaws\.com(?:\.cn)?$/;
/** A bucket by its name, and a key. Another form, such as an ARN, or a name with escapes, is none that is clear here. */
const SOURCE = /^\/?([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(\/[^?]+)(?:\?.*)?$/;

/**
 * Whether what a request to S3 has copied (`x-amz-copy-source` of CopyObject and UploadPartCopy) is at one of the hosts and
 * paths of the lease: the server reads it by the key that signs, wherever it is.
 */
export function mayCopy(source: string, { hosts, paths }: Pick<Lease, 'hosts' | 'paths'>): boolean {
  const [, bucket = '', key = ''] = SOURCE.exec(source) ?? [];
  if (bucket === '') return false;
  return hosts.some((host) => {
    if (host.startsWith(`${bucket}.`) && ENDPOINT.test(host.slice(bucket.length + 1))) return isWithin(key, paths);
    return ENDPOINT.test(host) && isWithin(`/${bucket}${key}`, paths);
  });
}

function isWithin(path: string, patterns: readonly string[] | undefined): boolean {
  if (patterns === undefined) return true;
  const canonical = canonicalPath(path);
  return !('refused' in canonical) && patterns.some((pattern) => matchesPath(pattern, canonical.path));
}
