import type { S3Client as Client } from '@aws-sdk/client-s3';
import type { StoreErrorClass } from './counters.ts';
import { failure, type Condition, type ObjectStore, type Page, type Put, type StoreFailure } from './store.ts';

/** Keys for S3. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3Options {
  readonly bucket: string;
  /** What stands before every key; empty or ending in a slash. */
  readonly prefix: string;
  readonly region: string;
  /** Of a server that speaks S3 and is not AWS; buckets are then part of the path. */
  readonly endpoint?: string | undefined;
  /** Looked up again every minute. Default: the chain of AWS (variables, files, web identity, container, instance). */
  readonly credentials?: (() => Promise<S3Credentials>) | undefined;
  /** Object Lock on objects that are kept (S3 user guide, Object Lock). The bucket has to be made with it. */
  readonly lock?: { readonly mode: 'COMPLIANCE' | 'GOVERNANCE'; readonly days: number } | undefined;
  /** Longest from a request to the end of its answer, in milliseconds. */
  readonly timeoutMs: number;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
}

const CREDENTIALS_MS = 60_000;
const DAY_MS = 86_400_000;

/**
 * Objects in a bucket. Every write carries its condition to S3, which decides it; no request is made again in here, nothing is
 * remembered of a bucket between calls, and nothing is listed but when that is asked for.
 */
export async function s3Store(options: S3Options): Promise<ObjectStore> {
  const sdk = await import('@aws-sdk/client-s3');
  const { bucket, prefix, timeoutMs } = options;
  const client = makeClient(sdk.S3Client, options);
  const closed = new AbortController();
  const within = (): { readonly abortSignal: AbortSignal } => ({ abortSignal: AbortSignal.any([closed.signal, AbortSignal.timeout(timeoutMs)]) });
  return {
    name: `s3 ${options.endpoint ?? options.region} ${bucket}/${prefix}`,
    put: (put) =>
      guarded(async () => {
        const command = new sdk.PutObjectCommand({ Bucket: bucket, Key: prefix + put.key, Body: put.bytes, ...conditionOf(put.condition), ...lockOf(put, options) });
        const { ETag } = await client.send(command, within());
        return ETag === undefined ? failure('Other', 'S3 answered a write without an ETag') : { etag: ETag };
      }, { write: true }),
    get: (key, maxBytes) =>
      guarded(async () => {
        const { Body, ETag, ContentLength } = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: prefix + key }), within());
        if (Body === undefined || ETag === undefined) return failure('Other', `S3 answered without ${key}`);
        const bytes = await readBody(Body as AsyncIterable<Uint8Array>, maxBytes);
        if (bytes === null) return failure('Other', `${key} has more than ${maxBytes} bytes`);
        if (ContentLength !== undefined && bytes.length !== ContentLength) return failure('Network', `${key} came with ${bytes.length} of ${ContentLength} bytes`);
        return { bytes, etag: ETag };
      }, { missing: null }),
    list: (under, from) =>
      guarded(async (): Promise<Page> => {
        const { Contents = [], NextContinuationToken } = await client.send(new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: prefix + under, ContinuationToken: from }), within());
        const keys = Contents.flatMap(({ Key }) => (Key === undefined ? [] : [Key.slice(prefix.length)]));
        return { keys, ...(NextContinuationToken === undefined ? {} : { next: NextContinuationToken }) };
      }),
    [Symbol.dispose]() {
      closed.abort(new Error('the store is closed'));
      client.destroy();
    },
  };
}

function makeClient(S3Client: typeof Client, { region, endpoint, credentials, timeoutMs, nowMs }: S3Options): Client {
  return new S3Client({
    region,
    maxAttempts: 1,
    requestHandler: { connectionTimeout: timeoutMs, requestTimeout: timeoutMs, throwOnRequestTimeout: true },
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials: async () => ({ ...(await credentials()), expiration: new Date(nowMs() + CREDENTIALS_MS) }) }),
  });
}

function conditionOf(condition: Condition): { readonly IfNoneMatch: '*' } | { readonly IfMatch: string } {
  return 'ifNoneMatch' in condition ? { IfNoneMatch: '*' } : { IfMatch: condition.ifMatch };
}

function lockOf({ keep }: Put, { lock, nowMs }: S3Options): object {
  return keep && lock !== undefined ? { ObjectLockMode: lock.mode, ObjectLockRetainUntilDate: new Date(nowMs() + lock.days * DAY_MS) } : {};
}

async function readBody(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer | null> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > maxBytes) return null; // which ends the reading, and the connection
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

interface Thrown {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** What S3 refuses is a value; a missing object is `missing` where that is something to be told. */
async function guarded<T, M = never>(act: () => Promise<T>, { missing, write = false }: { readonly missing?: M; readonly write?: boolean } = {}): Promise<T | M | StoreFailure> {
  try {
    return await act();
  } catch (error) {
    const thrown = error as Thrown;
    if (missing !== undefined && thrown.name === 'NoSuchKey') return missing;
    return failure(classOf(thrown, write), [thrown.name, thrown.$metadata?.httpStatusCode, thrown.message].filter((part) => part !== undefined && part !== '').join(' '));
  }
}

/** A whole answer of S3 has a name of its own. */
function isUnanswered({ name = '', code = '', $metadata }: Thrown): boolean {
  return ['Error', 'TimeoutError', 'AbortError'].includes(name) || (code !== '' && $metadata?.httpStatusCode === undefined);
}

const DENIED = ['AccessDenied', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'CredentialsProviderError', 'AllAccessDisabled'];

/** The class of what the SDK threw. */
function classOf(thrown: Thrown, write: boolean): StoreErrorClass {
  const { name = '', $metadata: { httpStatusCode: status } = {} } = thrown;
  if (name === 'NoSuchBucket') return 'NoSuchBucket';
  if (name === 'PreconditionFailed' || status === 412) return 'PreconditionFailed';
  // A write with If-Match finds the object gone: what was seen last is not there (S3 user guide, conditional writes).
  if (write && name === 'NoSuchKey') return 'PreconditionFailed';
  if (DENIED.includes(name) || status === 403 || status === 401) return 'AccessDenied';
  return isUnanswered(thrown) ? 'Network' : 'Other';
}
