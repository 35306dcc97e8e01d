import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { denial } from './denial.ts';
import type { EgressDenied } from '@caisson/contract';
import type { HttpMessage } from './http-decide.ts';

/**
 * A request of HTTP/2 as one of HTTP/1.1 says it, so that both are decided as one (RFC 9113 §8.3.1): `:authority` is Host, and
 * a cookie that came in pieces is whole again (§8.2.3). What the framing forbids, such as capitals, Connection, a pseudo field
 * twice, or a body of another length than it says, ends the stream before it comes here.
 */
export function messageOf(headers: IncomingHttpHeaders, raw: readonly string[], body: Duplex): HttpMessage | EgressDenied {
  const { ':method': method = '', ':scheme': scheme, ':path': path = '', ':authority': authority, ':protocol': protocol } = headers;
  if (method === 'CONNECT' || protocol !== undefined) return denial('CONNECT within HTTP/2 to a server that is no proxy', 'a request to the server itself');
  if (scheme !== 'https') return denial('the scheme of a request by TLS is https', 'the same request with :scheme https');
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) return denial('the path of a request by HTTP/2 is in origin form', 'the same request with a :path that begins with /');
  const pairs = pairsOf(raw).filter(([name]) => !name.startsWith(':'));
  if (pairs.some(([name, value]) => !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) || /[\u0000\r\n]/.test(value))) return denial('a field of a request by HTTP/2 has a name in small letters, and no end of a line in its value', 'the same request without it');
  const cookie = pairs.filter(([name]) => name === 'cookie').map(([, value]) => value).join('; ');
  const fields = [...(authority === undefined ? [] : [['host', authority]]), ...pairs.filter(([name]) => name !== 'cookie'), ...(cookie === '' ? [] : [['cookie', cookie]])];
  const length = headers['content-length'];
  return { method, url: path, rawHeaders: fields.flat(), headers: length === undefined ? {} : { 'content-length': length }, body, client: body };
}

/** Names and values of fields, two by two. */
function pairsOf(raw: readonly string[]): readonly (readonly [string, string])[] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ''] as const] : []));
}

/** Fields of an answer without the pseudo ones. */
export function plainFields(raw: readonly string[]): readonly string[] {
  return pairsOf(raw).filter(([name]) => !name.startsWith(':')).flat();
}

/** Says a last word on a stream that has not been answered, in the words of gRPC where that is spoken; and takes no more of it. */
export function answerStream(stream: ServerHttp2Stream, { status, text, reason }: { readonly status: number; readonly text: string; readonly reason: string }, isGrpc: boolean): void {
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) return stream.close(INTERNAL_ERROR);
  stream.once('finish', () => stream.close(NO_ERROR)); // what still comes of the body is not waited for (RFC 9113 §8.1)
  if (!isGrpc) {
    stream.respond({ ':status': status, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    return void stream.end(text);
  }
  const grpcStatus = status === 403 || status === 200 ? PERMISSION_DENIED : UNAVAILABLE;
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': `${grpcStatus}`, 'grpc-message': encodeURIComponent(reason).replaceAll('%20', ' ') }, { endStream: true });
}

/** RFC 9113 §7. */
const NO_ERROR = 0;
const INTERNAL_ERROR = 2;
/** Codes of gRPC. */
const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;
