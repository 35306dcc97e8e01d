import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type Problem } from '@caisson/contract';
import { bindUnix } from '@caisson/wire';
import { openApp } from './app.ts';
import type { Rate } from './bucket.ts';
import { openGate } from './gate.ts';
import { askingOf } from './access.ts';
import { HEAD_MOST_BYTES, problemTold, rawProblem } from './problems.ts';
import type { ApiRooms } from './rooms.ts';
import { Streams } from './streams.ts';
import type { Upgrade } from './upgrade.ts';
import { upgradeRoute } from './upgrades.ts';
import { webSockets } from './attach.ts';

export interface TcpPlace {
  readonly host: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** Certificate chain and key, PEM. Without them only a loopback address is listened on. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Names besides addresses and localhost by which clients reach this server. */
  readonly names?: readonly string[];
}

export interface ApiOptions {
  readonly rooms: ApiRooms;
  readonly socketPath: string;
  readonly tcp?: TcpPlace;
  /** Wall time in milliseconds. */
  now(): number;
  log(event: string, fields: Readonly<Record<string, string | number>>): void;
  /** Requests of one token. Default 100 a second, 200 at once. */
  readonly rate?: Rate;
  /** Streams that one token may have open. Default 64. */
  readonly streamsPerToken?: number;
  /** How often an attached client is asked whether it is there, in milliseconds. Default 15 s. */
  readonly pingMs?: number;
}

export interface Api extends AsyncDisposable {
  /** Port that is listened on, or null without TCP. */
  readonly tcpPort: number | null;
  /** Takes nothing new, tells followers, and resolves when what is under way is answered, at most 5 s later. */
  drain(): Promise<void>;
}

const DRAIN_MS = 5_000;
const RATE: Rate = { perSecond: 100, burst: 200 };
const STREAMS_PER_TOKEN = 64;
const PING_MS = 15_000;
const CONNECTIONS_MOST = 4_096;
/** A head that takes longer is not waited for; nor is an idle connection kept longer than the other. */
const HEAD_MOST_MS = 10_000;
const IDLE_MOST_MS = 75_000;

/**
 * Opens the HTTP API on a Unix socket of mode 0600, whose opener is the operator, and on TCP where that is asked for,
 * where every request needs a token.
 *
 * @throws CaissonError TLS_REQUIRED when TCP would leave the machine in the clear.
 */
export async function openApi(options: ApiOptions): Promise<Api> {
  const { rooms, tcp, now } = options;
  if (tcp !== undefined && tcp.tls === undefined && !isLoopback(tcp.host)) throw new CaissonError('TLS_REQUIRED', { host: tcp.host });
  const overTcp = new WeakSet<IncomingMessage>();
  const gate = openGate({ tokens: rooms.tokens, hosts: (tcp?.names ?? []).map((name) => name.toLowerCase()), rate: options.rate ?? RATE, now });
  const streams = new Streams({ mostPerToken: options.streamsPerToken ?? STREAMS_PER_TOKEN, now });
  rooms.tokens.onRevoked((id) => streams.cut(id));
  const underWay = new Set<ServerResponse | Duplex>();
  const handOver = { request: (_request: IncomingMessage, _response: ServerResponse): void => undefined };
  const sockets = webSockets();

  const listener = (isTcp: boolean) => (request: IncomingMessage, response: ServerResponse): void => {
    if (isTcp) overTcp.add(request);
    underWay.add(response);
    response.once('close', () => underWay.delete(response));
    handOver.request(request, response);
  };
  const upgraded = (isTcp: boolean) => (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    underWay.add(socket);
    socket.once('close', () => underWay.delete(socket));
    socket.on('error', () => socket.destroy());
    let route = '';
    const told = (error: unknown): Problem => problemTold(error, { method: 'GET', route, overTcp: isTcp, log: options.log });
    const onRoute = (path: string): void => void (route = path);
    void become({ request, socket, head, told }, isTcp, onRoute).catch((error: unknown) => socket.end(rawProblem(told(error)), () => socket.destroy()));
  };

  async function become(asked: Pick<Upgrade, 'request' | 'socket' | 'head' | 'told'>, isTcp: boolean, onRoute: (path: string) => void): Promise<void> {
    const { request } = asked;
    const found = upgradeRoute(request.url ?? '');
    if (found === null) throw new CaissonError('ROUTE_NOT_FOUND', { method: 'GET', path: (request.url ?? '').slice(0, 256) });
    onRoute(found.route.path);
    const caller = gate.enter(request, found.route.right, isTcp);
    const asking = askingOf(caller, request.headers['idempotency-key']);
    await found.route.handle({ ...found, caller, asking, ...asked, rooms, streams, pingMs: options.pingMs ?? PING_MS }, sockets);
  }

  await using opened = new AsyncDisposableStack();
  const unix = configure(createServer(SERVER_OPTIONS), upgraded(false));
  const app = await openApp({
    rooms, gate, streams, log: options.log,
    overTcp: (request) => overTcp.has(request),
    serverFactory: (handler) => {
      handOver.request = handler;
      return unix;
    },
  });
  unix.on('request', listener(false));
  opened.defer(() => close(unix));
  await bindUnix(unix, options.socketPath, {});
  const server = tcp === undefined ? null : configure(tcp.tls === undefined ? createServer(SERVER_OPTIONS) : createTlsServer({ ...SERVER_OPTIONS, ...tcp.tls }), upgraded(true));
  if (server !== null && tcp !== undefined) {
    server.on('request', listener(true));
    opened.defer(() => close(server));
    await listenTcp(server, tcp);
  }
  const closers = opened.move();

  async function drain(): Promise<void> {
    gate.shut();
    const closing = [close(unix), ...(server === null ? [] : [close(server)])];
    streams.drain();
    const deadline = Date.now() + DRAIN_MS;
    while (underWay.size > 0 && Date.now() < deadline) await delay(10);
    for (const left of underWay) left.destroy();
    unix.closeAllConnections();
    server?.closeAllConnections();
    await Promise.all(closing);
  }

  return {
    tcpPort: server === null ? null : portOf(server),
    drain,
    async [Symbol.asyncDispose]() {
      await drain();
      sockets.close();
      await app.close();
      await closers.disposeAsync();
    },
  };
}

const SERVER_OPTIONS: ServerOptions = {
  maxHeaderSize: HEAD_MOST_BYTES,
  headersTimeout: HEAD_MOST_MS,
  requestTimeout: 0, // an upload takes as long as it takes; what stops arriving is seen to where it is read
  keepAliveTimeout: IDLE_MOST_MS,
  connectionsCheckingInterval: 2_000,
  keepAlive: true,
  shouldUpgradeCallback: ({ url, headers }) => isUpgrade(url ?? '', headers.upgrade),
};

/** Any other protocol that a client offers, such as h2c, is not taken up and the request answered as it is. */
function isUpgrade(target: string, protocol: string | undefined): boolean {
  try {
    return upgradeRoute(target)?.route.protocol === protocol?.toLowerCase();
  } catch {
    return false;
  }
}

function configure(server: Server, onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void): Server {
  server.maxConnections = CONNECTIONS_MOST;
  server.on('upgrade', onUpgrade);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const { bytesWritten = 0 } = socket as Partial<Socket>;
    if (!socket.writable || bytesWritten > 0) return void socket.destroy();
    socket.end(rawProblem(clientProblem(error)), () => socket.destroy());
  });
  return server;
}

function clientProblem({ code }: NodeJS.ErrnoException): CaissonError {
  if (code === 'HPE_HEADER_OVERFLOW') return new CaissonError('REQUEST_TOO_LARGE', { limitBytes: HEAD_MOST_BYTES });
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new CaissonError('REQUEST_TIMEOUT', { limitMs: HEAD_MOST_MS });
  return new CaissonError('REQUEST_INVALID', { detail: 'what arrived is not HTTP/1.1' });
}

function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === 'localhost' || host === '::1';
}

async function listenTcp(server: Server, { host, port }: TcpPlace): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Stops accepting; resolves when the last connection is gone. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
