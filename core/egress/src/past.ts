import { readsRequests, type EgressProtocol, type Json } from '@caisson/contract';
import { splitHostPort } from './host.ts';
import type { Use } from './learn.ts';

/** One decision that is on record, as far as it was by rules. */
export type Past = PastAllowed | PastRefused;

export interface PastAllowed extends Use {
  readonly effect: 'allow';
  readonly rule: string | null;
  readonly connection: number;
}

/** Of a request that was refused the path is not on record; of a name there is no port. */
export interface PastRefused {
  readonly effect: 'deny';
  readonly what: 'name' | 'connection' | 'request';
  readonly host: string;
  readonly port: number | null;
  readonly method: string | null;
  readonly rule: string | null;
  readonly reason: string;
}

/** How the reasons of `decideName`, `decideConnection` and `decideHttp` are told from those that no rule changes, such as that an address is private. */
const OF_RULES = [
  /^no rule of the .* allows /, /^[^ ]+ is denied by "/, /^the rules for [^ ]+ disagree about what is spoken there/, /^rules speak of names only/,
  /^this [^ ]+ request is denied by "/, /^no rule allows requests here/, /^the request is not clear: /, /^requests to [^ ]+ are not for the gate to read by /,
] as const;

/** Whether it was rules that refused. */
export function isOfRules(reason: string): boolean {
  return OF_RULES.some((known) => known.test(reason));
}

/** The decision that evidence of kind `egress` tells of; null: it tells of none that rules made. */
export function pastOf(body: Json): Past | null {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return null;
  const { event } = body as { readonly [name: string]: Json };
  if (event === 'connect' || event === 'request') return allowedOf(body as Fields);
  return event === 'refused' ? refusedOf(body as Fields) : null;
}

type Fields = { readonly [name: string]: Json };
const text = (value: Json | undefined): string | null => (typeof value === 'string' ? value : null);

function allowedOf({ event, host, port, protocol, method, path, rule, connection }: Fields): PastAllowed | null {
  if (typeof host !== 'string' || typeof port !== 'number') return null;
  const request = event === 'request' ? { method: text(method) ?? '', path: text(path) ?? '' } : null;
  const spoken = PROTOCOLS.find((known) => known === protocol) ?? 'tcp';
  if (readsRequests(spoken) !== (request !== null)) return null;
  return { effect: 'allow', host, port, protocol: spoken, request, rule: text(rule), connection: typeof connection === 'number' ? connection : 0 };
}

const PROTOCOLS: readonly EgressProtocol[] = ['tls', 'http', 'https', 'tcp'];

function refusedOf({ what, to, rule, reason }: Fields): PastRefused | null {
  if (typeof to !== 'string' || typeof reason !== 'string' || !isOfRules(reason)) return null;
  const past = { effect: 'deny', method: null, rule: text(rule), reason } as const;
  if (what === 'name') return { ...past, what, host: to, port: null };
  const [, method = null, place = to] = what === 'request' ? (/^(\S*) (\S+)$/.exec(to) ?? []) : [];
  const parsed = splitHostPort(place);
  if ('refused' in parsed || (what !== 'connection' && what !== 'request')) return null;
  return { ...past, what, ...parsed, method };
}

/** What was used: the connections that came about, and the requests that passed. */
export function usesOf(bodies: readonly Json[]): readonly Use[] {
  const failed = new Set(bodies.map((body) => body as Fields | null).filter((body) => body?.['event'] === 'not-connected').map((body) => body?.['connection']));
  return bodies.map(pastOf).filter((past) => past?.effect === 'allow').filter(({ request, connection }) => request !== null || !failed.has(connection));
}
