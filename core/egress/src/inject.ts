import type { AwsCredentials, EgressDenied, Lease } from '@caisson/contract';
import { awsKeysOf, credentialsOf } from './aws-keys.ts';
import { denial } from './denial.ts';
import { spellingsOf } from './echo.ts';
import { canonicalPath, matchesPath, unescaped } from './http-path.ts';
import type { Destination } from './layers.ts';
import { readClaim, resign } from './resign.ts';

/** A lease with the value, which is here, in the vault and at its server only. */
export interface HeldSecret {
  readonly lease: Lease;
  /** Null: the vault does not give it now. */
  readonly value: string | null;
}

/** What of a request can hold a secret. */
export interface Injectable extends Destination {
  readonly method: string;
  /** The request target in origin form. */
  readonly path: string;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
  /** Whether the gate proves to itself by TLS whose server it is. */
  readonly secure: boolean;
  readonly wallMs: number;
  /** As it was read. Default: it was not. */
  readonly body?: Buffer | null;
}

export interface Injected {
  readonly path: string;
  readonly rawHeaders: readonly string[];
  readonly used: readonly HeldSecret[];
  /** How what was put in could come back, letter by letter, and what went to the same host before: it may say that to who asks later. */
  readonly echoes: readonly string[];
}

/** Secrets go to the port of https: and to no other. */
const PORT = 443;
/** What a field of a request can hold (RFC 9110 §5.5), and bytes of it that a server takes. */
const VALUE = /^[\u0021-\u007e](?:[\u0020-\u007e]*[\u0021-\u007e])?$/;
const VALUE_MOST = 8_192;
/** Fields that ask for an answer in pieces, or in a form that cannot be looked through. */
const UNREADABLE = new Set(['range', 'if-range', 'sec-websocket-extensions']);
/** Of them what is left out where nothing but keys of AWS is looked for: the key is told to nobody, and a token that came back in pieces signs nothing without it. */
const COMPRESSING = new Set(['sec-websocket-extensions']);

/**
 * Puts secrets where their placeholders stand, each in its place of a request to its hosts. A placeholder anywhere else in the
 * head of a request refuses that: it is sent to somebody who is not to have the secret, or where it would be read back.
 */
export function inject(request: Injectable, held: readonly HeldSecret[]): Injected | EgressDenied {
  let { path, rawHeaders } = request;
  const used: HeldSecret[] = [];
  const echoes: string[] = [];
  for (const secret of held) {
    if (!mentions({ path, rawHeaders }, secret.lease.placeholder)) continue;
    const unbound = notNow(secret, request);
    if (unbound !== null) return unbound;
    used.push(secret);
    if (isSigned(secret)) continue;
    const placed = putIn({ path, rawHeaders }, secret);
    if ('effect' in placed) return placed;
    ({ path, rawHeaders } = placed);
    echoes.push(...placed.echoes);
  }
  const ofHost = held.filter(({ lease: { hosts } }) => hosts.includes(request.host));
  echoes.push(...ofHost.flatMap(valuesIn).flatMap(spellingsOf));
  const keys = ofHost.flatMap(awsKeysOf);
  if (echoes.length + keys.length > 0) rawHeaders = without(rawHeaders, echoes.length > 0 ? UNREADABLE : COMPRESSING);
  for (const secret of used.filter(isSigned)) {
    const signed = sign(request, { path, rawHeaders }, secret);
    if ('effect' in signed) return signed;
    ({ rawHeaders } = signed);
  }
  return { path, rawHeaders, used, echoes: [...new Set([...echoes, ...keys.flatMap(spellingsOf)])] };
}

/** Why a request is refused whatever its body holds; null: that is to be read. It holds up nothing that may pass, and costs no body of what may not. */
export function refusedUnread(request: Injectable, held: readonly HeldSecret[]): EgressDenied | null {
  const denials = held.filter(({ lease }) => mentions(request, lease.placeholder)).map((secret) => notNow(secret, request) ?? (isSigned(secret) ? notSignable(secret, request) : null));
  return denials.find((denied) => denied !== null) ?? null;
}

const isSigned = ({ lease: { at } }: HeldSecret): boolean => at === 'sigv4';

/** What of a secret can have gone to its hosts as it is. */
const valuesIn = (secret: HeldSecret): readonly string[] => (secret.value !== null && !isSigned(secret) && fits(secret.value) ? [secret.value] : []);

function putIn(head: Head, secret: HeldSecret): Placed | EgressDenied {
  const { lease, value } = secret;
  if (value === null || !fits(value)) return refuse(secret, 'its value cannot stand in the head of a request');
  const placed = place(head, lease, value);
  return placed === null || mentions(placed, lease.placeholder) ? refuse(secret, `it stands elsewhere than as ${lease.at}, once`) : placed;
}

/** Signs what is sent, after all else that changes it. */
function sign(request: Injectable, sent: Head, secret: HeldSecret): Pick<Head, 'rawHeaders'> | EgressDenied {
  const credentials = credentialsFor(secret, request);
  if ('effect' in credentials) return credentials;
  const { lease } = secret;
  const signed = resign({ ...request, sent, sentHost: request.host, body: request.body ?? null }, lease, credentials);
  if ('refused' in signed) return refuse(secret, signed.refused, signed.instead);
  return mentions({ path: sent.path, ...signed }, lease.placeholder) ? refuse(secret, 'it stands elsewhere than as sigv4, once') : signed;
}

function notSignable(secret: HeldSecret, request: Injectable): EgressDenied | null {
  const credentials = credentialsFor(secret, request);
  if ('effect' in credentials) return credentials;
  const claim = readClaim(request, secret.lease);
  return 'refused' in claim ? refuse(secret, claim.refused, claim.instead) : null;
}

function credentialsFor(secret: HeldSecret, { wallMs }: Injectable): AwsCredentials | EgressDenied {
  const credentials = credentialsOf(secret.value);
  if (credentials === null) return refuse(secret, 'its value is no credentials of AWS');
  const isOver = credentials.expiresMs !== null && wallMs >= credentials.expiresMs;
  return isOver ? refuse(secret, 'its credentials are over, and no others can be had now') : credentials;
}

const fits = (value: string): boolean => VALUE.test(value) && value.length <= VALUE_MOST;

function without(rawHeaders: readonly string[], names: ReadonlySet<string>): readonly string[] {
  return rawHeaders.filter((_, index) => !names.has((rawHeaders[index - (index % 2)] ?? '').toLowerCase()));
}

function refuse({ lease }: HeldSecret, why: string, instead = `a request that secrets.${lease.secret} of the policy speaks of`): EgressDenied {
  return denial(`the placeholder of secret ${lease.secret} is not replaced here: ${why}`, instead, `secret ${lease.secret}`);
}

function notNow(secret: HeldSecret, request: Injectable): EgressDenied | null {
  const unbound = notFor(secret.lease, request) ?? (secret.value === null ? 'its value cannot be had now' : null);
  return unbound === null ? null : refuse(secret, unbound);
}

/** Why a secret does not go with a request; null: it does. */
function notFor({ hosts, methods, paths, expiresMs }: Lease, { host, port, method, path, secure, wallMs }: Injectable): string | null {
  if (!secure) return 'the gate does not speak TLS to this server';
  if (port !== PORT || !hosts.includes(host)) return `${host}:${port} is none of its hosts`;
  if (expiresMs !== null && wallMs >= expiresMs) return 'its lease is over';
  if (methods?.includes(method) === false) return `${method} is none of its methods`;
  if (paths === undefined) return null;
  const canonical = canonicalPath(path);
  if ('refused' in canonical) return `the path is not clear: ${canonical.refused}`;
  return paths.some((pattern) => matchesPath(pattern, canonical.path)) ? null : 'this path is none of its paths';
}

type Head = Pick<Injectable, 'path' | 'rawHeaders'>;

/** Whether a placeholder stands anywhere in the head, as it is, escaped, or within what Basic has encoded. */
function mentions({ path, rawHeaders }: Head, placeholder: string): boolean {
  if (path.includes(placeholder) || unescaped(path).includes(placeholder)) return true;
  return rawHeaders.some((text) => text.includes(placeholder) || unescaped(text).includes(placeholder) || (basicOf(text)?.includes(placeholder) ?? false));
}

interface Placed extends Head {
  readonly echoes: readonly string[];
}

/** The head with the value in its place; null where the placeholder does not stand there. */
function place(head: Head, { at, placeholder }: Lease, value: string): Placed | null {
  if (at.startsWith('query:')) return placeQuery(head, { name: at.slice('query:'.length), placeholder, value });
  const field = at.startsWith('header:') ? at.slice('header:'.length).toLowerCase() : 'authorization';
  const fields = head.rawHeaders.flatMap((name, index) => (index % 2 === 0 && name.toLowerCase() === field ? [index + 1] : []));
  const [index] = fields;
  if (index === undefined || fields.length > 1) return null;
  const put = PUT[at === 'bearer' || at === 'basic' ? at : 'header'](head.rawHeaders[index] ?? '', placeholder, value);
  if (put === null) return null;
  return { path: head.path, rawHeaders: head.rawHeaders.with(index, put.text), echoes: [value, ...put.echoes] };
}

type Put = (text: string, placeholder: string, value: string) => { readonly text: string; readonly echoes: readonly string[] } | null;

const PUT: Readonly<Record<'bearer' | 'basic' | 'header', Put>> = {
  /** RFC 6750 §2.1; GitHub takes `token` for the same. */
  bearer(text, placeholder, value) {
    const [, scheme, token] = /^(bearer|token) +(\S+)$/i.exec(text) ?? [];
    return token === placeholder ? { text: `${scheme ?? ''} ${value}`, echoes: [] } : null;
  },
  basic(text, placeholder, value) {
    const decoded = basicOf(text);
    const colon = decoded?.indexOf(':') ?? -1;
    if (decoded === null || decoded.slice(colon + 1) !== placeholder || colon < 0) return null;
    const encoded = Buffer.from(`${decoded.slice(0, colon)}:${value}`).toString('base64');
    return { text: `Basic ${encoded}`, echoes: [encoded] };
  },
  header: (text, placeholder, value) => (text === placeholder ? { text: value, echoes: [] } : null),
};

/** What Authorization: Basic holds (RFC 7617 §2); null: it is no such field. */
function basicOf(text: string): string | null {
  const [, encoded] = /^basic +([A-Za-z0-9+/_-]+={0,2})$/i.exec(text) ?? [];
  return encoded === undefined ? null : Buffer.from(encoded, 'base64').toString();
}

function placeQuery({ path, rawHeaders }: Head, { name, placeholder, value }: { readonly name: string; readonly placeholder: string; readonly value: string }): Placed | null {
  const at = path.indexOf('?');
  if (at < 0) return null;
  const escaped = encodeURIComponent(value);
  let count = 0;
  const pairs = path.slice(at + 1).split('&').map((pair) => {
    if (unescaped(pair) !== `${name}=${placeholder}`) return pair;
    count += 1;
    return `${name}=${escaped}`;
  });
  return count === 1 ? { path: `${path.slice(0, at)}?${pairs.join('&')}`, rawHeaders, echoes: [value, escaped] } : null;
}
