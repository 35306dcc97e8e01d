import { CaissonError, errorRow, problemOf, type ErrorCode, type Problem } from '@caisson/contract';
import type { ProblemBody } from '@caisson/contract/api';

/** Bytes that are read of a JSON body, and of the head of a request. */
export const JSON_MOST_BYTES = 1024 * 1024;
export const HEAD_MOST_BYTES = 16 * 1024;

/** problem+json (RFC 9457) of what was thrown. */
export function problemBody({ code, message, hint }: Problem): ProblemBody {
  const title = code.charAt(0) + code.slice(1).toLowerCase().replaceAll('_', ' ');
  return { type: `urn:caisson:error:${code}`, title, status: errorRow(code).status, code, detail: message, hint };
}

/** What the router and its body parser refuse, as codes of the table. */
function problemOfThrown(thrown: unknown, type: string | undefined): Problem {
  if (thrown instanceof CaissonError) return problemOf(thrown);
  const code = (thrown as { readonly code?: unknown } | null)?.code;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return problemOf(new CaissonError('REQUEST_TOO_LARGE', { limitBytes: JSON_MOST_BYTES }));
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': return mediaType(type, 'application/json');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH': return invalid('the body is not as long as Content-Length says');
    case 'FST_ERR_BAD_URL': return invalid('the path is not percent-encoded UTF-8');
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE': return problemOf(new CaissonError('CANCELLED', { detail: 'the caller went away' }));
    default: return problemOf(thrown);
  }
}

export function mediaType(type: string | undefined, wanted: string): Problem {
  return problemOf(new CaissonError('MEDIA_TYPE_UNSUPPORTED', { type: (type ?? 'none').slice(0, 128), wanted }));
}

function invalid(detail: string): Problem {
  return problemOf(new CaissonError('REQUEST_INVALID', { detail }));
}

export interface Asked {
  readonly method: string;
  /** As the document has it. */
  readonly route: string;
  readonly overTcp: boolean;
  /** Content-Type of the request. */
  readonly type?: string | undefined;
  log(event: string, fields: Readonly<Record<string, string | number>>): void;
}

/** What a caller is told of what was thrown. What went wrong inside is told to the log, and over TCP to nobody else. */
export function problemTold(thrown: unknown, { method, route, overTcp, type, log }: Asked): Problem {
  const found = problemOfThrown(thrown, type);
  if (found.code !== 'INTERNAL') return found;
  log('request failed', { method, route, message: found.message });
  return overTcp ? problemOf(new CaissonError('INTERNAL', { detail: 'the log of Caisson says more' })) : found;
}

/** A whole HTTP/1.1 response for a connection that the HTTP server has let go of. */
export function rawProblem(shown: Problem): string {
  const body = problemBody(shown);
  return rawResponse(body.status, JSON.stringify(body), body.code);
}

function rawResponse(status: number, body: string, code: ErrorCode): string {
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status} ${code}\r\nContent-Type: application/problem+json\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${body}`;
}
