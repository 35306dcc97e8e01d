import { pipeline } from 'node:stream/promises';
import type { Readable } from 'node:stream';
import { CaissonError } from '@caisson/contract';
import type { FileInfoBody } from '@caisson/contract/api';
import type { ByteType, Call } from './route.ts';
import type { Stream } from './streams.ts';

/** Bytes of a file that are asked for, both ends included. */
interface Span {
  readonly first: number;
  readonly last: number;
}

/**
 * Changes with the content: no name or byte of the file is in it. It holds the time at which the kernel saw the last change,
 * which no program can put back, and the identity of the file.
 */
export function etagOf({ version }: Pick<FileInfoBody, 'version'>): string {
  return `"${version}"`;
}

const ETAG = /^"([\w-]{1,64})"$/;

/** What `If-Match` says that a file must be. @throws CaissonError REQUEST_INVALID */
export function expectedOf(header: string | undefined): { readonly version: string } | undefined {
  if (header === undefined) return undefined;
  const [, version] = ETAG.exec(header) ?? [];
  if (version === undefined) throw new CaissonError('REQUEST_INVALID', { detail: 'If-Match: must be one ETag of this server' });
  return { version };
}

/** The one range that a header asks for (RFC 9110 §14.1.2). @throws CaissonError RANGE_INVALID */
export function spanOf(header: string, sizeBytes: number): Span {
  const refuse = (): CaissonError => new CaissonError('RANGE_INVALID', { range: header.slice(0, 64), sizeBytes });
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header) ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) throw refuse();
  const first = from === '' ? Math.max(0, sizeBytes - Number(to)) : Number(from);
  const last = from === '' || to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (first > last || (from === '' && Number(to) === 0)) throw refuse();
  return { first, last };
}

/** Sends bytes as the answer. What breaks off or is not as long as was said breaks the connection: it is never taken for a whole file. */
export async function sendBytes(
  call: Call,
  body: Readable,
  { status, type, sizeBytes, headers = {} }: { readonly status: number; readonly type: ByteType; readonly sizeBytes?: number; readonly headers?: Readonly<Record<string, string>> },
): Promise<void> {
  using stream = openFor(call, body);
  const response = call.reply.raw;
  call.reply.hijack();
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', ...(sizeBytes === undefined ? {} : { 'content-length': sizeBytes }), ...headers });
  await pipeline(body, (chunks: AsyncIterable<Buffer>) => exactly(chunks, sizeBytes), response, { signal: stream.signal }).catch(() => response.destroy());
}

/** Whatever is not sent is let go: a file helper keeps a place for each body, and an export its sandbox. */
function openFor({ streams, caller }: Call, body: Readable): Stream {
  try {
    return streams.open(caller);
  } catch (error) {
    body.destroy();
    throw error;
  }
}

async function* exactly(chunks: AsyncIterable<Buffer>, sizeBytes: number | undefined): AsyncGenerator<Buffer> {
  let sent = 0;
  for await (const chunk of chunks) {
    sent += chunk.length;
    if (sizeBytes !== undefined && sent > sizeBytes) break;
    yield chunk;
  }
  if (sizeBytes !== undefined && sent !== sizeBytes) throw new CaissonError('CANCELLED', { detail: 'the file changed while it was sent' });
}
