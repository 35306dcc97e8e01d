import type { IncomingMessage } from 'node:http';
import type { EgressDenied, Json } from '@caisson/contract';
import type { Admitted, OpenConnection } from './admitted.ts';
import type { GateRooms } from './call.ts';
import { decideConnection, type ConnectionAllowed } from './decide.ts';
import { denial } from './denial.ts';
import { facts } from './facts.ts';
import { targetOf, type Target } from './http-target.ts';
import { decideHttp, type HttpAllowed } from './http-rules.ts';
import type { Destination } from './layers.ts';
import { inject, type Injected } from './inject.ts';
import type { Checked } from './resolve.ts';

/** Where a connection came to, and whose it is. */
export interface HttpContext {
  readonly admitted: Admitted;
  /** Null: to the proxy, which hears of it with each request. */
  readonly meant: Destination | null;
  readonly connection: OpenConnection;
  /** Whether the gate has ended TLS on it, and speaks TLS to the server. */
  readonly secure: boolean;
}

/** A request that may pass, to the address that was checked. */
export interface PassingRequest {
  readonly context: HttpContext;
  readonly target: Target;
  readonly request: HttpAllowed;
  /** The head with the secrets that go with it. */
  readonly injected: Injected;
  /** In the order in which they are tried. */
  readonly to: readonly Checked[];
}

export type DecidedRequest = PassingRequest | { readonly denied: EgressDenied; readonly target: Target | null } | { readonly failed: string };

/** One request: where to → may it → which secrets → count → resolve and check → put on record. Nothing leaves before the record is durable. */
export async function decideRequest(message: IncomingMessage, context: HttpContext, rooms: Pick<GateRooms, 'resolve' | 'nowMs' | 'wallMs'>): Promise<DecidedRequest> {
  const { admitted, connection, secure } = context;
  const target = targetOf(message, context.meant);
  if ('refused' in target) return { denied: denial(target.refused, 'a request whose host is the one that was connected to'), target: null };
  const allowed = allow(message, target, context);
  if ('effect' in allowed) return { denied: allowed, target };
  const injected = inject({ ...target, method: message.method ?? '', rawHeaders: message.rawHeaders, secure, wallMs: rooms.wallMs() }, admitted.held);
  if ('effect' in injected) return { denied: injected, target };
  const tooFast = admitted.tooFast();
  if (tooFast !== null) return { denied: denial(tooFast, 'fewer requests'), target };
  const { denied, audit } = admitted.meter.open(allowed.request.layers, rooms.nowMs());
  if (denied !== null) return { denied, target };
  const head = headBytes(message);
  const over = admitted.meter.pass(allowed.request.layers, head).denied;
  if (over !== null) return { denied: over, target };
  connection.bytes.out += head;
  for (const { lease } of injected.used) admitted.use(lease, connection); // before it waits: what is revoked meanwhile cuts the connection
  const resolved = await rooms.resolve(target.host, { unsafeAllowPrivate: admitted.policy.unsafeAllowPrivate ?? [], resolvers: admitted.policy.resolvers });
  if ('refused' in resolved) return { denied: denial(resolved.refused, 'network.unsafeAllowPrivate in the policy file', allowed.request.rule), target };
  if ('failed' in resolved) return resolved;
  const to = resolved.addresses;
  const { host, port, path } = target;
  const wouldBeDenied = allowed.connection.audit ?? allowed.request.audit ?? audit;
  const body: Json = { event: 'request', connection: connection.id, host, port, method: message.method ?? '', path: pathOnly(path), ...facts(allowed.request, to[0], wouldBeDenied), protocol: connection.protocol, secrets: injected.used.map(({ lease: { id, secret, digest } }) => ({ secret, lease: id, digest })) };
  await admitted.record(body);
  return { context, target, request: allowed.request, injected, to };
}

/** By the rules as they are now, which may not be those by which the connection was opened. */
function allow({ method = '', headers }: IncomingMessage, target: Target, { admitted: { layers }, secure }: HttpContext): { readonly connection: ConnectionAllowed; readonly request: HttpAllowed } | EgressDenied {
  const connection = decideConnection(layers, target);
  if (connection.effect === 'deny') return connection;
  const { host, port, path } = target;
  const wanted = secure ? 'https' : 'http';
  if (connection.protocol !== wanted) return denial(`requests to ${host}:${port} are not for the gate to read by ${wanted}: its protocol is ${connection.protocol}`, `CONNECT, or --allow ${host}:${port}/${wanted}`, connection.rule);
  const length = headers['content-length'];
  const request = decideHttp(connection.layers, { method, path, bodyBytes: length === undefined ? null : Number(length) });
  return request.effect === 'deny' ? request : { connection, request };
}

/** What the head of a request carries, as it came. */
function headBytes({ method = '', url = '', rawHeaders }: IncomingMessage): number {
  return rawHeaders.reduce((sum, text) => sum + text.length + 2, method.length + url.length + 2);
}

/** Queries hold secrets often enough that they are not for the record. */
function pathOnly(path: string): string {
  return (path.split('?')[0] ?? '').slice(0, 512).toWellFormed();
}
