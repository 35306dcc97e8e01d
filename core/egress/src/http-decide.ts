import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { EgressDenied, Json } from '@caisson/contract';
import type { Admitted, OpenConnection } from './admitted.ts';
import type { GateRooms } from './call.ts';
import { decideConnection, type ConnectionAllowed } from './decide.ts';
import { denial } from './denial.ts';
import { facts } from './facts.ts';
import type { Bodies } from './http-body.ts';
import { passedOn } from './http-fields.ts';
import { targetOf, type Target } from './http-target.ts';
import { asksForBody, decideHttp, type HttpAllowed, type HttpRequest } from './http-rules.ts';
import type { Destination } from './layers.ts';
import { inject, refusedUnread, type Injectable, type Injected } from './inject.ts';
import { hashesBody } from './resign.ts';
import { readMcp, type McpRead } from './mcp.ts';
import type { Checked } from './dial.ts';

/** Where a connection came to, and whose it is. */
export interface HttpContext {
  readonly admitted: Admitted;
  /** Null: to the proxy, which hears of it with each request. */
  readonly meant: Destination | null;
  readonly connection: OpenConnection;
  /** Whether the gate has ended TLS on it, and speaks TLS to the server. */
  readonly secure: boolean;
}

/** A request as it came, whatever carries it. */
export interface HttpMessage extends Pick<IncomingMessage, 'method' | 'url' | 'rawHeaders' | 'headers'> {
  /** Null: what follows is not read. */
  readonly body: Readable | null;
  /** Whoever asks is gone when this is closed. */
  readonly client: Duplex;
}

/** A body that was read to decide by it, and is sent on as it was read. It is held until it is released. */
export interface HeldBody {
  readonly body: Buffer;
  readonly release: () => void;
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
  /** Null: the body was not read, and comes as the client sends it. */
  readonly read: HeldBody | null;
}

export type DecidedRequest = PassingRequest | { readonly denied: EgressDenied; readonly target: Target | null; readonly mcp?: McpRead } | { readonly failed: string };
type Rooms = Pick<GateRooms, 'resolve' | 'nowMs' | 'wallMs'>;

/** One request: where to → what it says, if rules ask → may it → wait where it is held → which secrets → count → resolve and check → put on record. Nothing leaves before the record is durable. */
export async function decideRequest(message: HttpMessage, context: HttpContext, rooms: Rooms & { readonly bodies: Bodies }): Promise<DecidedRequest> {
  const target = targetOf(message, context.meant);
  if ('refused' in target) return { denied: denial(target.refused, 'a request whose host is the one that was connected to'), target: null };
  const connection = connect(target, context);
  if (connection.effect === 'deny') return { denied: connection, target };
  const asked = requestOf(message, target);
  const asks = asksForBody(connection.layers, asked);
  const signs = hashesBody(message.rawHeaders, context.admitted.held.map(({ lease }) => lease));
  if (!asks && !signs) return decideRead({ target, asked, context, read: null }, rooms);
  const words = asks ? ASKED : SIGNED;
  const denied = asks ? null : deniedUnread({ target, asked, context }, rooms);
  if (denied !== null) return { denied, target };
  if (message.body === null) return { denied: denial(`${words.why}, and what follows an upgrade is not read`, 'the request without Upgrade', connection.rule), target };
  const read = await rooms.bodies.read(message.body, context.admitted);
  if ('refused' in read) return { denied: denial(read.refused, words.instead, connection.rule), target };
  const mcp = asks ? mcpOf(message, read.body, asked) : undefined;
  const decided = await decideHeld({ target, asked: { ...asked, bodyBytes: read.body.length, ...(mcp !== undefined && { mcp }) }, context, read }, rooms);
  return 'denied' in decided && mcp !== undefined ? { ...decided, mcp } : decided;
}

/** By a body that was read, which is held no longer than the request may pass. */
async function decideHeld({ read, ...rest }: Read & { readonly read: HeldBody }, rooms: Rooms): Promise<DecidedRequest> {
  try {
    const decided = await decideRead({ ...rest, read }, rooms);
    if (!('to' in decided)) read.release();
    return decided;
  } catch (error) {
    read.release();
    throw error;
  }
}

/** Why a body is read, and what else could be sent. */
const ASKED = { why: 'a rule asks what is said here', instead: 'a body that can be read' };
const SIGNED = { why: 'this is signed for AWS', instead: 'a body that can be read, or X-Amz-Content-Sha256 in the request' };

/** Why a request may not pass, whatever the body holds that is read to sign it. */
function deniedUnread({ target, asked, context }: Omit<Read, 'read'>, rooms: Rooms): EgressDenied | null {
  const allowed = allow(asked, target, context);
  return 'effect' in allowed ? allowed : refusedUnread(injectable(target, asked, context, rooms), context.admitted.held);
}

function injectable(target: Target, { method, rawHeaders }: Read['asked'], { secure }: HttpContext, { wallMs }: Rooms): Injectable {
  return { ...target, method, rawHeaders, secure, wallMs: wallMs() };
}

function mcpOf(message: HttpMessage, body: Buffer, { fields }: ReturnType<typeof requestOf>): McpRead {
  return isPlain(message) ? readMcp(body, fields) : { unclear: 'a body that is read has no coding' };
}

interface Read extends Pick<PassingRequest, 'target' | 'context' | 'read'> {
  readonly asked: HttpRequest & Pick<HttpMessage, 'rawHeaders' | 'client'>;
}

async function decideRead({ target, asked, context, read }: Read, rooms: Rooms): Promise<DecidedRequest> {
  const { admitted, connection } = context;
  const allowed = await permitted(asked, target, context);
  if ('effect' in allowed) return { denied: allowed, target };
  const { method } = asked;
  const injected = inject({ ...injectable(target, asked, context, rooms), body: read?.body ?? null }, admitted.held);
  if ('effect' in injected) return { denied: injected, target };
  const tooFast = admitted.tooFast();
  if (tooFast !== null) return { denied: denial(tooFast, 'fewer requests'), target };
  const { denied, audit } = admitted.meter.open(allowed.request.layers, rooms.nowMs());
  if (denied !== null) return { denied, target };
  const head = headBytes({ method, path: target.path, rawHeaders: asked.rawHeaders });
  const over = admitted.meter.pass(allowed.request.layers, head).denied;
  if (over !== null) return { denied: over, target };
  connection.bytes.out += head;
  for (const { lease } of injected.used) admitted.use(lease, connection); // before it waits: what is revoked meanwhile cuts the connection
  const resolved = await rooms.resolve(target.host, admitted.policy, admitted.sandbox);
  if ('refused' in resolved) return { denied: denial(resolved.refused, 'network.unsafeAllowPrivate in the policy file', allowed.request.rule), target };
  if ('failed' in resolved) return resolved;
  const to = resolved.addresses;
  const { host, port, path } = target;
  const wouldBeDenied = allowed.connection.audit ?? allowed.request.audit ?? audit;
  const body: Json = { event: 'request', connection: connection.id, host, port, method, path: pathOnly(path), ...facts(allowed.request, to[0], wouldBeDenied), protocol: connection.protocol, ...mcpFacts(asked.mcp), secrets: injected.used.map(({ lease: { id, secret, digest } }) => ({ secret, lease: id, digest })), approval: allowed.approval };
  await admitted.record(body, path === pathOnly(path) ? undefined : { target: path });
  return { context, target, request: allowed.request, injected, to, read };
}

function connect(target: Target, { admitted: { layers }, secure }: HttpContext): ConnectionAllowed | EgressDenied {
  const connection = decideConnection(layers, target);
  if (connection.effect === 'deny') return connection;
  const { host, port } = target;
  const wanted = secure ? 'https' : 'http';
  if (connection.protocol !== wanted) return denial(`requests to ${host}:${port} are not for the gate to read by ${wanted}: its protocol is ${connection.protocol}`, `CONNECT, or --allow ${host}:${port}/${wanted}`, connection.rule);
  return connection;
}

interface Permitted {
  readonly connection: ConnectionAllowed;
  readonly request: HttpAllowed;
}

/** By the rules, and where only rules with `hold` allow it by a decision, for which it waits. */
async function permitted(asked: Read['asked'], target: Target, context: HttpContext): Promise<(Permitted & { readonly approval: string | null }) | EgressDenied> {
  const allowed = allow(asked, target, context);
  if ('effect' in allowed) return allowed;
  const { admitted } = context;
  const { host, port, path } = target;
  const verdict = await admitted.approvals.ask({ host, port, method: asked.method, path: pathOnly(path) }, allowed.request.layers, { holdMs: admitted.policy.holdMs, client: asked.client });
  if (verdict !== null && 'effect' in verdict) return verdict;
  return { ...allowed, approval: verdict?.approval ?? null };
}

/** By the rules as they are now, which may not be those by which the connection was opened. */
function allow(asked: HttpRequest, target: Target, context: HttpContext): Permitted | EgressDenied {
  const connection = connect(target, context);
  if (connection.effect === 'deny') return connection;
  const request = decideHttp(connection.layers, asked);
  return request.effect === 'deny' ? request : { connection, request };
}

function requestOf({ method = '', headers, rawHeaders, client }: HttpMessage, { path }: Target): HttpRequest & Required<Pick<HttpRequest, 'fields'>> & Pick<HttpMessage, 'rawHeaders' | 'client'> {
  const length = headers['content-length'];
  return { method, path, bodyBytes: length === undefined ? null : Number(length), fields: passedOn(rawHeaders), rawHeaders, client };
}

/** Whether the body comes as it is, and not in a coding beside its pieces (RFC 9112 §6.1). */
function isPlain({ headers }: HttpMessage): boolean {
  return (headers['transfer-encoding'] ?? 'chunked').toLowerCase() === 'chunked';
}

/** What the messages ask for; never what goes with them. */
function mcpFacts(mcp: McpRead | undefined): { readonly mcp?: Json } {
  if (mcp === undefined || mcp === null) return {};
  return { mcp: 'unclear' in mcp ? { unclear: mcp.unclear } : mcp.messages.map(({ method, tool }) => ({ method, tool })) };
}

/** What the head of a request carries, as it came. */
function headBytes({ method, path, rawHeaders }: Pick<Injectable, 'method' | 'path' | 'rawHeaders'>): number {
  return rawHeaders.reduce((sum, text) => sum + text.length + 2, method.length + path.length + 2);
}

/** Queries hold secrets often enough that they are not for the record. */
function pathOnly(path: string): string {
  return (path.split('?')[0] ?? '').slice(0, 512).toWellFormed();
}
