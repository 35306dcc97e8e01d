import { createHash, createHmac } from 'node:crypto';

/**
 * AWS Signature Version 4, as "Create a signed AWS API request" of AWS has it: what is signed of a request, and the signature.
 * How a query is written in it is not the same for every client, and is given by who calls.
 */
const ALGORITHM = 'AWS4-HMAC-SHA256';

/** What the field Authorization says. */
export interface Credential {
  readonly accessKeyId: string;
  /** Day in UTC, as YYYYMMDD. */
  readonly day: string;
  readonly region: string;
  readonly service: string;
}

export interface Authorization {
  readonly credential: Credential;
  readonly signedFields: readonly string[];
  /** Hexadecimal. */
  readonly signature: string;
}

/** What of a request is signed. */
export interface Signable {
  readonly method: string;
  /** As it is written in the canonical request. */
  readonly path: string;
  readonly query: string;
  /** Values of every field that is signed, as often as it comes. */
  readonly fields: Readonly<Record<string, readonly string[]>>;
  readonly signedFields: readonly string[];
  /** Hexadecimal SHA-256, or a word that stands for it. */
  readonly payload: string;
  /** X-Amz-Date. */
  readonly time: string;
}

const WORD = '[A-Za-z0-9_.-]{1,128}';
const AUTHORIZATION = new RegExp(`^${ALGORITHM} +Credential=(${WORD})/(\\d{8})/(${WORD})/(${WORD})/aws4_request *, *SignedHeaders=([!#$%&'*+.^_\`|~0-9a-z;-]{1,4096}) *, *Signature=([0-9a-f]{64})$`);

/** Null: it is none of this algorithm, in the one form that every reader takes alike. */
export function readAuthorization(text: string): Authorization | null {
  const [, accessKeyId, day, region, service, fields, signature] = AUTHORIZATION.exec(text) ?? [];
  if (accessKeyId === undefined || day === undefined || region === undefined || service === undefined || fields === undefined || signature === undefined) return null;
  return { credential: { accessKeyId, day, region, service }, signedFields: fields.split(';'), signature };
}

export function writeAuthorization({ credential, signedFields, signature }: Authorization): string {
  return `${ALGORITHM} Credential=${credential.accessKeyId}/${scopeOf(credential)}, SignedHeaders=${signedFields.join(';')}, Signature=${signature}`;
}

/** Time of X-Amz-Date in milliseconds since 1970 UTC; null: it is none. */
export function readTime(text: string): number | null {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const ms = Date.parse(`${year ?? ''}-${month ?? ''}-${day ?? ''}T${hour ?? ''}:${minute ?? ''}:${second ?? ''}Z`);
  return Number.isNaN(ms) ? null : ms;
}

export function signatureOf(signable: Signable, credential: Credential, secretAccessKey: string): string {
  const { day, region, service } = credential;
  const text = [ALGORITHM, signable.time, scopeOf(credential), sha256(Buffer.from(canonicalRequest(signable), 'latin1'))].join('\n');
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>((secret, part) => createHmac('sha256', secret).update(part).digest(), `AWS4${secretAccessKey}`);
  return createHmac('sha256', key).update(text).digest('hex');
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const scopeOf = ({ day, region, service }: Credential): string => `${day}/${region}/${service}/aws4_request`;

function canonicalRequest({ method, path, query, fields, signedFields, payload }: Signable): string {
  const lines = signedFields.map((name) => `${name}:${(fields[name] ?? []).map((value) => value.trim().replace(/[ \t]+/g, ' ')).join(',')}\n`);
  return [method, path, query, lines.join(''), signedFields.join(';'), payload].join('\n');
}

/**
 * How the path of a request target stands in what is signed: as it is sent, as S3 has it; of all other services with each
 * letter that is not unreserved escaped, escapes once more. Those leave out dot segments and empty ones, and so sign another
 * path than is sent: null. No two paths are signed alike for one service.
 */
export function canonicalPathOf(path: string, service: string): string | null {
  if (/^s3(?![a-z0-9])|^s3express$/.test(service)) return path;
  const segments = path.split('/').slice(1);
  const isWhole = segments.every((segment, at) => segment !== '.' && segment !== '..' && (segment !== '' || at === segments.length - 1));
  return isWhole ? path.split('/').map(escaped).join('/') : null;
}

/** How its query can stand there, in order: with each letter escaped that AWS escapes and no other, as AWS reads it, and each pair as it is sent. Both mean the same. */
export const QUERY_SPELLINGS: readonly ((query: string) => string)[] = [
  (query) => inOrder(pairsOf(query).map(([name, value]) => [uniformed(name), uniformed(value)] as const)),
  (query) => inOrder(pairsOf(query)),
];

function pairsOf(query: string): readonly (readonly [string, string])[] {
  return query === '' ? [] : query.split('&').map((pair) => {
    const at = pair.indexOf('=');
    return at < 0 ? [pair, ''] as const : [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
}

function inOrder(pairs: readonly (readonly [string, string])[]): string {
  const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);
  return pairs.toSorted((one, other) => compare(one[0], other[0]) || compare(one[1], other[1])).map(([name, value]) => `${name}=${value}`).join('&');
}

/** RFC 3986 §2.3: the letters that are never escaped. */
const UNRESERVED = /[A-Za-z0-9._~-]/;
const hex = (letter: string): string => `%${letter.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
const escaped = (text: string): string => text.replace(/[^A-Za-z0-9._~-]/g, hex);

function uniformed(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~-]/g, (found, code: string | undefined) => {
    if (code === undefined) return hex(found);
    const letter = String.fromCharCode(Number.parseInt(code, 16));
    return UNRESERVED.test(letter) ? letter : found.toUpperCase();
  });
}
