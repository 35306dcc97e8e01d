import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { EgressDenied } from '@caisson/contract';
import type { Admitted } from './admitted.ts';
import type { Call, GateRooms } from './call.ts';
import { denial, denialBody, failureBody, responseText, rpcDenial, type DenialBody } from './denial.ts';
import { decideRequest, type HttpContext, type PassingRequest } from './http-decide.ts';
import { WEBSOCKET } from './echo.ts';
import { Upstreams } from './http-ask.ts';
import { Bodies } from './http-body.ts';
import { CAME_BACK, openConnection, passBody, wayOf, withoutSecrets } from './http-pass.ts';
import { lastAnswer } from './farewell.ts';
import { Http2Relay } from './http2-relay.ts';
import { closingHead, headText, lengthFields, passedOn } from './http-fields.ts';
import type { Target } from './http-target.ts';
import type { McpRead } from './mcp.ts';
import { carry } from './relay.ts';

/** Sizes and times, in bytes and milliseconds, of what a sandbox may say before it is understood. */
const LIMITS = { maxHeaderSize: 16_384, headersTimeout: 10_000, requestTimeout: 0, keepAliveTimeout: 15_000, connectionsCheckingInterval: 2_000 };
/** Requests that a client may send before it has the answer to the first. */
const PIPELINED_MOST = 32;
const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/** A request that passes, or what is said to its client. */
type Verdict = { readonly passing: PassingRequest } | { readonly body: DenialBody; readonly mcp?: McpRead };

/** Requests of one connection that wait for the one before them, and when the last of them is answered. */
interface Turns {
  waiting: number;
  answered: Promise<void>;
}

/**
 * Reads requests of protocol `http`, and of `https` when its TLS is ended, and decides each. What passes is written anew for the address that was checked, so that
 * server and gate cannot differ about where a request ends.
 */
export class HttpRelay {
  readonly #rooms: Pick<GateRooms, 'resolve' | 'nowMs' | 'wallMs' | 'nextId'>;
  readonly #contexts = new WeakMap<Duplex, HttpContext & Turns>();
  readonly #upstreams = new Upstreams();
  readonly #bodies = new Bodies();
  readonly #server: Server;
  readonly #http2: Http2Relay;

  constructor(rooms: Pick<GateRooms, 'resolve' | 'nowMs' | 'wallMs' | 'nextId'>) {
    this.#rooms = rooms;
    this.#http2 = new Http2Relay({ ...rooms, bodies: this.#bodies, upstreams: this.#upstreams });
    this.#server = createServer({ ...LIMITS, insecureHTTPParser: false, joinDuplicateHeaders: false, noDelay: true });
    this.#server.maxHeadersCount = 0; // what is beyond a count is hidden from the gate and not from the parser: the size of a head bounds it
    this.#server.emit('listening'); // it never listens itself, and looks at the times of its connections from then on only
    this.#server.on('request', (request, response) => void this.#inTurn(request, response).catch(() => response.destroy()));
    this.#server.on('upgrade', (request, socket, head) => void this.#onUpgrade(request, socket, head).catch(() => socket.destroy()));
    this.#server.on('connect', (request, socket) => {
      this.#refuse(request, denial('CONNECT to a server that is no proxy', 'a request to the server itself'), null);
      socket.destroy();
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onNonsense(error, socket));
  }

  /** What one reader takes for a request and another for something else is none. */
  #onNonsense({ code = '' }: NodeJS.ErrnoException, socket: Duplex): void {
    const { admitted, meant = null } = this.#contexts.get(socket) ?? {};
    if (code.startsWith('HPE_')) admitted?.refuse({ what: 'request', to: meant === null ? 'the proxy' : `${meant.host}:${meant.port}`, rule: null, reason: `no request that every reader understands alike: ${code}` });
    if (socket.writable) socket.end(BAD_REQUEST, () => socket.destroy());
    else socket.destroy();
  }

  /** Serves a connection that was allowed to one host and port. */
  serve({ admitted, client, host, port, head, accept }: Call): void {
    accept();
    this.#take(client, head, { admitted, meant: { host, port }, secure: false });
  }

  /** Serves what has come out of a TLS connection that was allowed to one host and port. */
  serveSecure({ admitted, client, host, port }: Pick<Call, 'admitted' | 'client' | 'host' | 'port'>): void {
    if (client instanceof TLSSocket && client.alpnProtocol === 'h2') return this.#http2.serve({ admitted, client, host, port });
    this.#take(client, Buffer.alloc(0), { admitted, meant: { host, port }, secure: true });
  }

  /** Serves a connection to the proxy. */
  serveProxy(client: Socket, admitted: Admitted, head: Buffer): void {
    const tooMany = admitted.tooMany();
    if (tooMany === null) return this.#take(client, head, { admitted, meant: null, secure: false });
    admitted.refuse({ what: 'connection', to: 'the proxy', rule: null, reason: tooMany });
    client.resetAndDestroy();
  }

  #take(client: Socket, head: Buffer, { admitted, meant, secure }: Pick<HttpContext, 'admitted' | 'meant' | 'secure'>): void {
    const connection = openConnection({ admitted, meant, secure, client, cut: () => void client.destroy() }, this.#rooms);
    this.#contexts.set(client, { admitted, meant, connection, secure, waiting: 0, answered: Promise.resolve() });
    if (head.length > 0) client.unshift(head);
    this.#server.emit('connection', client);
    client.resume();
  }

  #context({ socket }: IncomingMessage): HttpContext & Turns {
    const context = this.#contexts.get(socket);
    if (context === undefined) throw new Error('a request of nobody');
    return context;
  }

  #refuse(request: IncomingMessage, denied: EgressDenied, target: Target | null): void {
    const { admitted, meant } = this.#context(request);
    const place = target ?? meant;
    const { rule, reason, wouldAllow } = denied;
    admitted.refuse({ what: 'request', to: `${request.method ?? ''} ${place === null ? 'by the proxy' : `${place.host}:${place.port}`}`, rule, reason, wouldAllow });
  }

  /** What a request comes to where it may not pass; null: it passes, as `passing`. */
  async #decide(request: IncomingMessage, body: Readable | null = request): Promise<Verdict> {
    const { method = '', url = '', rawHeaders, headers } = request;
    const decided = await decideRequest({ method, url, rawHeaders, headers, body, client: request.socket }, this.#context(request), { ...this.#rooms, bodies: this.#bodies });
    if ('to' in decided) return { passing: decided };
    if ('failed' in decided) return { body: failureBody(decided.failed) };
    this.#refuse(request, decided.denied, decided.target);
    return { body: denialBody(decided.denied), ...(decided.mcp !== undefined && { mcp: decided.mcp }) };
  }

  /** What follows an upgrade is not read, and so it is to none that carries requests, such as h2c (RFC 9113 §3.1). */
  async #decideUpgrade(request: IncomingMessage): Promise<Verdict> {
    if (request.headers.upgrade?.toLowerCase() === 'websocket' && request.method === 'GET') return this.#decide(request, null);
    const denied = denial('an upgrade to anything but WebSocket, which could carry requests that nobody reads', 'the request without Upgrade');
    this.#refuse(request, denied, null);
    return { body: denialBody(denied) };
  }

  /** One request of a connection after the other: pipelined ones would open as many connections at once. */
  async #inTurn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const context = this.#context(request);
    if (context.waiting >= PIPELINED_MOST) return void request.socket.destroy();
    const before = context.answered;
    context.answered = new Promise((resolve) => response.once('close', resolve));
    context.waiting += 1;
    await before;
    context.waiting -= 1;
    if (!request.socket.destroyed) await this.#onRequest(request, response);
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const decided = await this.#decide(request);
    if ('passing' in decided) releaseWith(response, decided.passing);
    if (request.socket.destroyed) return; // it was cut while it was put on record
    if ('body' in decided) return answer(response, decided.body, decided.mcp);
    const { passing } = decided;
    const asked = await this.#upstreams.ask({ method: request.method, lengths: lengthFields(request), client: request.socket }, passing);
    if ('failed' in asked) return answer(response, failureBody(asked.failed));
    const { upstream } = asked;
    upstream.on('response', (reply) => {
      reply.on('error', () => response.destroy());
      const body = withoutSecrets(reply, passing, () => response.destroy(), reply);
      if (body === null) return answer(response, failureBody(CAME_BACK));
      response.writeHead(reply.statusCode ?? 502, reply.statusMessage, passedOn(reply.rawHeaders));
      carry({ ...wayOf(passing, 'in'), from: body, to: response, cut: () => response.destroy() });
    });
    let isCut = false; // and answered
    upstream.on('error', (error: NodeJS.ErrnoException) => isCut || answer(response, failureBody(error.code ?? error.message)));
    response.on('close', () => upstream.destroy());
    passBody({
      from: request, to: upstream, passing,
      cut: (denied) => {
        isCut = true;
        upstream.destroy();
        answer(response, denialBody(denied));
      },
    });
  }

  /** WebSocket and the like: the request is decided, and what follows passes as it is (RFC 9110 §7.8). */
  async #onUpgrade(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    client.on('error', () => client.destroy());
    const decided = await this.#decideUpgrade(request);
    if (client.destroyed) return;
    if ('body' in decided) return void client.end(responseText(decided.body));
    const { passing } = decided;
    const more = { connection: 'Upgrade', upgrade: request.headers.upgrade ?? '' };
    const asked = await this.#upstreams.ask({ method: request.method, lengths: lengthFields(request), client: request.socket, more }, passing);
    if ('failed' in asked) return void client.end(responseText(failureBody(asked.failed)));
    const { upstream } = asked;
    upstream.on('error', () => client.destroy());
    upstream.on('response', (reply) => {
      reply.on('error', () => client.destroy());
      const body = withoutSecrets(reply, passing, () => client.destroy(), reply);
      if (body === null) return void client.end(responseText(failureBody(CAME_BACK)));
      client.write(closingHead(reply));
      carry({ ...wayOf(passing, 'in'), from: body, to: client, cut: () => client.destroy() });
    });
    upstream.on('upgrade', (reply, socket, first) => {
      socket.on('error', () => client.destroy());
      if (first.length > 0) socket.unshift(first);
      const answered = withoutSecrets(reply, passing, () => client.destroy(), socket, WEBSOCKET);
      if (answered === null) return void client.destroy();
      client.write(headText(reply));
      answered.once('close', () => socket.destroy());
      for (const [from, to, direction, begun] of [[client, socket, 'out', head], [answered, client, 'in', Buffer.alloc(0)]] as const) {
        from.on('error', () => to.destroy());
        from.once('close', () => to.destroy());
        carry({ ...wayOf(passing, direction), from, to, head: begun, cut: () => from.destroy() });
      }
    });
    client.once('close', () => upstream.destroy());
    upstream.end();
  }
}

/** Lets go of a body that was read when its request is over. */
function releaseWith(response: ServerResponse, { read }: PassingRequest): void {
  if (response.closed) read?.release();
  else response.once('close', () => read?.release());
}

/** Says why nothing passes, where that can still be said. */
function answer(response: ServerResponse, body: DenialBody, mcp?: McpRead): void {
  if (response.headersSent) return void response.destroy();
  const rpc = rpcDenial(body, mcp);
  const text = rpc ?? `${JSON.stringify(body)}\n`;
  const status = body['error'] === 'EGRESS_DENIED' ? 403 : 502;
  response.writeHead(rpc === null ? status : 200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), connection: 'close' });
  lastAnswer(response, text);
}
