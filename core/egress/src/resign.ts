import { awsKeyFor, type AwsCredentials, type AwsScope, type Lease } from '@caisson/contract';
import { mayCopy } from './copy-source.ts';
import { HOP_BY_HOP, passedOn } from './http-fields.ts';
import { unescaped } from './http-path.ts';
import { canonicalPathOf, QUERY_SPELLINGS, readAuthorization, readTime, sha256, signatureOf, writeAuthorization, type Authorization, type Signable } from './sigv4.ts';

/** A request that a client in a sandbox has signed by what stands for the key, as it came. */
export interface Claimed {
  readonly method: string;
  /** The request target in origin form. */
  readonly path: string;
  readonly rawHeaders: readonly string[];
  readonly wallMs: number;
}

export interface Resignable extends Claimed {
  /** What of it goes on, other secrets in their places, but for the signature. */
  readonly sent: Pick<Claimed, 'path' | 'rawHeaders'>;
  /** Host as the gate sends it. */
  readonly sentHost: string;
  /** Null: it was not read. */
  readonly body: Buffer | null;
}

export interface NotSigned {
  readonly refused: string;
  /** What the client can do instead. */
  readonly instead: string;
}

/** How far X-Amz-Date may be from the gate's clock: as far as AWS takes it at most services. */
const SKEW_MS = 300_000;
/** Words for the payload that go on as they came. What S3 knows as STREAMING-AWS4-… signs each piece of the body by the key. */
const PAYLOAD = /^(?:[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-UNSIGNED-PAYLOAD-TRAILER)$/;
/** Fields that the gate writes anew, whatever the client has said there. */
const REWRITTEN = new Set([...HOP_BY_HOP, 'authorization', 'grpc-accept-encoding', 'http2-settings']);
const TOKEN = 'x-amz-security-token';
const HASH = 'x-amz-content-sha256';
const COPIED = 'x-amz-copy-source';
const AS_SIGNED = 'the request as an AWS SDK signs it in its Authorization field';

const no = (refused: string, instead = AS_SIGNED): NotSigned => ({ refused, instead });

/** Whether a request is signed over its body by a hash that it does not name: what is sent on must be read to sign it. */
export function hashesBody(rawHeaders: readonly string[], leases: readonly Lease[]): boolean {
  const { authorization = [], [HASH]: hash } = fieldsOf(rawHeaders);
  return hash === undefined && leases.some(({ at, placeholder }) => at === 'sigv4' && authorization.some((text) => text.includes(`=${placeholder}/`)));
}

/** What a request says that it is signed as, judged by all but its body, and not verified. */
export interface Claim {
  readonly read: Authorization;
  readonly came: Fields;
  /** As it is written in what is signed. */
  readonly path: string;
}

/** What can be refused of a request before its body has come. */
export function readClaim(request: Claimed, lease: Lease): Claim | NotSigned {
  const { placeholder, aws } = lease;
  const came = fieldsOf(request.rawHeaders);
  const read = readSigned(request, came, placeholder);
  if ('refused' in read) return read;
  const wrong = notInScope(read, aws) ?? notAtThisTime(read, came['x-amz-date'], request.wallMs) ?? notItsFields(read, came) ?? notThisCopy(came[COPIED], lease);
  if (wrong !== null) return wrong;
  const path = pathOf(request, read);
  return typeof path === 'string' ? { read, came, path } : path;
}

/**
 * Signs a request of a sandbox by the real key, exactly as it is sent on, where it was signed by the one that stands for it.
 * That signature is checked first, which costs a few hashes: where it does not fit, client and gate do not mean the same
 * request, and nothing is signed that nobody meant. It is checked over what came, placeholders and all: over what goes on
 * it would tell who signs a guess whether that is the value of another secret.
 */
export function resign(request: Resignable, lease: Lease, credentials: AwsCredentials): { readonly rawHeaders: readonly string[] } | NotSigned {
  const claim = readClaim(request, lease);
  if ('refused' in claim) return claim;
  const payload = payloadOf(claim.came[HASH], request.body);
  const asSigned = notThisPayload(payload) ?? signedAs(request, { ...claim, payload: payload ?? '', secretAccessKey: awsKeyFor(lease.placeholder) });
  return 'refused' in asSigned ? asSigned : { rawHeaders: signed(request, { ...claim, ...asSigned, credentials }) };
}

type Fields = Readonly<Record<string, readonly string[]>>;

/** The one field Authorization, where the placeholder is the key that it names. */
function readSigned({ path }: Claimed, { authorization = [] }: Fields, placeholder: string): Authorization | NotSigned {
  const [text = '', more] = authorization;
  if (/[?&]x-amz-(?:algorithm|credential|signature|signedheaders|date|expires|security-token)=/i.test(unescaped(path))) return no('an address that is signed in its query is not signed anew');
  if (text === '' || more !== undefined) return no('it stands elsewhere than in one field Authorization');
  if (text.startsWith('AWS4-ECDSA')) return no('Signature Version 4A is not signed anew', 'Signature Version 4, for one region');
  const read = readAuthorization(text);
  return read?.credential.accessKeyId === placeholder ? read : no('it stands elsewhere than as the Credential of AWS4-HMAC-SHA256');
}

function pathOf({ path }: Claimed, { credential }: Authorization): string | NotSigned {
  if (!/^\/[\u0021-\u007e]*$/.test(path) || /[#\\]/.test(path)) return no('its path is not printable ASCII that begins with /, without # and \\');
  return canonicalPathOf(path.split('?', 1)[0] ?? '', credential.service) ?? no('its path has dot segments or empty ones, which are not signed as they are sent', 'the same request in its plain form');
}

interface Signature {
  readonly asSigned: Omit<Signable, 'query'>;
  readonly spelled: (query: string) => string;
}

/** What the client has signed, where it is what it has sent. */
function signedAs({ method, path: target }: Resignable, { read, came, path, payload, secretAccessKey }: Claim & { readonly payload: string; readonly secretAccessKey: string }): Signature | NotSigned {
  const asSigned = { method, path, fields: came, signedFields: read.signedFields, payload, time: came['x-amz-date']?.[0] ?? '' };
  const spelled = QUERY_SPELLINGS.find((spell) => signatureOf({ ...asSigned, query: spell(queryOf(target)) }, read.credential, secretAccessKey) === read.signature);
  return spelled === undefined ? no('its signature is not the one of this request by the key that goes with the placeholder', `${AS_SIGNED}, with the pair of keys that the environment has`) : { asSigned, spelled };
}

/** The fields as they go on, the new signature among them. Other secrets change the query and fields; what does not go on is not signed. */
function signed({ sent: { path, rawHeaders }, sentHost }: Resignable, { read, asSigned, spelled, credentials }: Claim & Signature & { readonly credentials: AwsCredentials }): readonly string[] {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const kept = pairsOf(rawHeaders).filter(([name]) => !['authorization', TOKEN, 'accept-encoding'].includes(name.toLowerCase()));
  const sent = [...kept.flat(), 'accept-encoding', 'identity', ...(sessionToken === null ? [] : [TOKEN, sessionToken])];
  const fields = { ...passedOn(sent), host: [sentHost] };
  const signedFields = [...read.signedFields.filter((name) => name !== TOKEN && Object.hasOwn(fields, name)), ...(sessionToken === null ? [] : [TOKEN])].toSorted((one, other) => (one < other ? -1 : 1));
  const credential = { ...read.credential, accessKeyId };
  const signature = signatureOf({ ...asSigned, query: spelled(queryOf(path)), fields, signedFields }, credential, secretAccessKey);
  return [...sent, 'authorization', writeAuthorization({ credential, signedFields, signature })];
}

function notInScope({ credential: { region, service } }: Authorization, { regions, services }: AwsScope = {}): NotSigned | null {
  if (regions?.includes(region) === false) return no(`${region} is none of its regions`, `one of the regions ${regions.join(', ')}`);
  if (services?.includes(service) === false) return no(`${service} is none of its services`, `one of the services ${services.join(', ')}`);
  return null;
}

function notAtThisTime({ credential: { day } }: Authorization, [time = '', more]: readonly string[] = [], wallMs: number): NotSigned | null {
  const ms = readTime(time);
  if (ms === null || more !== undefined) return no('it is signed with one field X-Amz-Date, such as 20261127T214500Z');
  if (!time.startsWith(day)) return no('X-Amz-Date is not of the day of its Credential');
  return Math.abs(ms - wallMs) > SKEW_MS ? no(`X-Amz-Date is more than ${SKEW_MS / 1_000} s from the clock of the gate`, 'the request signed anew, by the clock of the host') : null;
}

/** What is signed must be sent on, as often as it came. */
function notItsFields({ signedFields }: Authorization, came: Fields): NotSigned | null {
  if (signedFields.some((name, at) => name <= (signedFields[at - 1] ?? ''))) return no('SignedHeaders are not in order, each once');
  if (!signedFields.includes('host')) return no('Host is not signed');
  const nominated = (came['connection'] ?? []).flatMap((value) => value.toLowerCase().split(',').map((name) => name.trim()));
  const lost = signedFields.find((name) => REWRITTEN.has(name) || nominated.includes(name)) ?? ['authorization', TOKEN].find((name) => nominated.includes(name));
  if (lost !== undefined) return no(`it signs ${lost}, which does not go on from here as it came`, `the request signed without ${lost}`);
  const absent = signedFields.find((name) => came[name] === undefined);
  if (absent !== undefined) return no(`it signs ${absent}, which it does not have`);
  const twice = ['host', 'cookie', HASH].find((name) => (came[name] ?? []).length > 1);
  if (twice !== undefined) return no(`it has ${twice} more than once`);
  const unprintable = signedFields.find((name) => came[name]?.some((value) => !/^[\t\u0020-\u007e]*$/.test(value)));
  return unprintable === undefined ? null : no(`it signs ${unprintable}, whose value is not printable ASCII`);
}

/** What a server reads for a request by the key that signs it. */
function notThisCopy(sources: readonly string[] = [], lease: Lease): NotSigned | null {
  return sources.every((source) => mayCopy(source, lease)) ? null : no('what is copied is at none of its hosts and paths', `${COPIED} with the plain name of a bucket of S3 that the secret is for`);
}

/** What stands for the payload in what is signed. Whether it is the hash of the body is for the server to refuse, as it is without a gate. */
function payloadOf([hash]: readonly string[] = [], body: Buffer | null): string | null {
  return hash ?? (body === null ? null : sha256(body));
}

function notThisPayload(payload: string | null): NotSigned | null {
  if (payload !== null && PAYLOAD.test(payload)) return null;
  if (payload?.startsWith('STREAMING-AWS4-') === true) {
    return no('each piece of its body is signed, and pieces are not signed anew', 'the body signed as a whole or not at all: UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER, as SDKs of AWS send it by https (Java: chunkedEncodingEnabled(false))');
  }
  return no(`its ${HASH} is neither a hash nor a word that is known here`);
}

/** Names in small letters; Host and all others as they came. */
function fieldsOf(rawHeaders: readonly string[]): Fields {
  const fields = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of pairsOf(rawHeaders)) (fields[name.toLowerCase()] ??= []).push(value);
  return fields;
}

function pairsOf(rawHeaders: readonly string[]): readonly (readonly [string, string])[] {
  return rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [[name, rawHeaders[at + 1] ?? ''] as const] : []));
}

const queryOf = (path: string): string => path.split(/\?(.*)/s)[1] ?? '';
