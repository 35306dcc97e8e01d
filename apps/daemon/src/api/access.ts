import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { CaissonError } from '@caisson/contract';
import type { Scope } from '@caisson/contract/api';
import type { Asking } from '@caisson/sandbox';
import { idempotencyKey } from './parse.ts';
import type { Tokens } from './token-store.ts';

/** What a route asks of its caller: a scope, any token at all, nobody in particular, or the operator's own socket. */
export type Right = Scope | 'any-token' | 'anyone' | 'operator';

export interface Caller {
  /** The token's name, or `operator` for whoever can open the Unix socket. */
  readonly name: string;
  /** Id of the token; null for the operator. */
  readonly token: string | null;
  readonly scopes: readonly Scope[] | 'all';
  readonly expiresMs: number | null;
}

const OPERATOR: Caller = { name: 'operator', token: null, scopes: 'all', expiresMs: null };
const ANYONE: Caller = { name: 'anyone', token: null, scopes: [], expiresMs: null };

/**
 * Who asks, as the sandboxes are told. Keys of one caller mean nothing to another: two that choose the same key must not
 * be given each other's answers.
 *
 * @throws CaissonError REQUEST_INVALID
 */
export function askingOf({ name, token }: Caller, header: string | readonly string[] | undefined): Asking {
  const key = idempotencyKey(header);
  return { caller: name, ...(key === undefined ? {} : { key: `${token ?? 'operator'}:${key}`, chosenKey: key }) };
}

export interface Entrance {
  readonly overTcp: boolean;
  /** Names besides addresses and localhost that a request over TCP may be sent to. */
  readonly hosts: readonly string[];
  readonly tokens: Tokens;
  /** Counts one request of a token. @throws CaissonError RATE_LIMITED */
  spend(token: string): void;
}

/**
 * Who calls, and that they may. The Unix socket is the operator's: who can open it has proved it to the kernel.
 *
 * @throws CaissonError HOST_REFUSED, TOKEN_INVALID, RATE_LIMITED, SCOPE_MISSING
 */
export function admit(request: IncomingMessage, right: Right, by: Entrance): Caller {
  if (!by.overTcp) return OPERATOR;
  checkHost(request.headers.host, by.hosts);
  if (right === 'anyone') return ANYONE;
  const token = by.tokens.verify(request.headers.authorization);
  if (token === null) throw new CaissonError('TOKEN_INVALID');
  by.spend(token.id);
  const caller: Caller = { name: token.name, token: token.id, scopes: token.scopes, expiresMs: token.expiresMs };
  if (right === 'operator') throw new CaissonError('SCOPE_MISSING', { detail: 'it needs the socket of the operator' });
  if (right !== 'any-token' && !token.scopes.includes(right)) throw new CaissonError('SCOPE_MISSING', { detail: `it needs the scope ${right}` });
  return caller;
}

/**
 * A web page whose own name resolves to this address sends that name as Host (DNS rebinding): only addresses, localhost
 * and names that were configured are answered for.
 */
function checkHost(host: string | undefined, names: readonly string[]): void {
  const name = (host ?? '').toLowerCase().replace(/:\d{1,5}$/, '').replace(/^\[(.*)\]$/, '$1');
  if (isIP(name) !== 0 || name === 'localhost' || names.includes(name)) return;
  throw new CaissonError('HOST_REFUSED', { host: (host ?? 'none').slice(0, 256) });
}
