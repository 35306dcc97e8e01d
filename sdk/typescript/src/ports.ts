import { request as overHttp, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Readable, type Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Connection } from './connection.ts';
import { invalidAnswer, invalidOption } from './errors.ts';
import { failure, openRequest, readProblem } from './http.ts';

export interface Forwarding extends AsyncDisposable {
  /** Port on 127.0.0.1 of this machine. */
  readonly localPort: number;
  close(): Promise<void>;
}

export interface FetchOptions {
  /** Default GET. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

/** TCP ports of a sandbox's own loopback. Nothing else can reach them but who may use the API. */
export interface Ports {
  /** A connection to a port. @throws CaissonError PORT_REFUSED */
  connect(port: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<Duplex>;
  /** Listens on 127.0.0.1 here, and passes each connection on to a port there, until it is closed. Any user of this machine can use it. */
  forward(port: number, options?: { readonly localPort?: number }): Promise<Forwarding>;
  /** One HTTP request to a server on a port. What it answers is untrusted. */
  fetch(port: number, path: string, options?: FetchOptions): Promise<Response>;
}

const PROTOCOL = 'caisson-tcp';

export function portsOf(connection: Connection, sandbox: string): Ports {
  const connect = async (port: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Duplex> =>
    dial(connection, `/v1/sandboxes/${encodeURIComponent(sandbox)}/ports/${checked(port)}/connect`, signal);
  return {
    connect,
    forward: (port, { localPort = 0 } = {}) => forward(() => connect(port), localPort),
    fetch: async (port, path, options = {}) => fetchOver(await connect(port, options), { port, path, options }),
  };
}

function checked(port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalidOption('port must be 1 to 65535');
  return port;
}

async function dial(connection: Connection, path: string, signal: AbortSignal | undefined): Promise<Duplex> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const request = openRequest(connection, { method: 'GET', path, headers: { connection: 'Upgrade', upgrade: PROTOCOL }, repeatable: false });
  const abort = (): void => void request.destroy(signal?.reason as Error);
  signal?.addEventListener('abort', abort, { once: true });
  request.once('upgrade', (response, socket, head) => {
    if (response.headers.upgrade !== PROTOCOL) return reject(invalidAnswer('it became a connection of another protocol'));
    if (head.length > 0) socket.unshift(head);
    resolve(socket);
  });
  request.once('response', (response: IncomingMessage) => void readProblem(response).then(reject, reject));
  request.once('error', (error) => reject(failure(connection, error, request).error));
  request.end();
  try {
    return await promise;
  } catch (error) {
    request.destroy();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

async function forward(connect: () => Promise<Duplex>, localPort: number): Promise<Forwarding> {
  const open = new Set<Duplex>();
  const server = createServer({ allowHalfOpen: true }, (near) => void pass(near, connect, open));
  await listening(server, localPort);
  const close = async (): Promise<void> => {
    for (const stream of open) stream.destroy();
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    await promise;
  };
  return { localPort: (server.address() as AddressInfo).port, close, [Symbol.asyncDispose]: close };
}

function listening(server: Server, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host: '127.0.0.1', port }, () => {
    server.off('error', reject);
    resolve();
  });
  return promise;
}

/** Passes the bytes of both directions until both have ended; what breaks on one side breaks on the other. */
async function pass(near: Socket, connect: () => Promise<Duplex>, open: Set<Duplex>): Promise<void> {
  open.add(near);
  near.on('error', () => near.destroy());
  let far: Duplex | undefined;
  try {
    far = await connect();
    open.add(far);
    if (near.destroyed) return;
    await Promise.all([pipeline(near, far), pipeline(far, near)]);
  } catch {
    near.resetAndDestroy(); // a port that refuses looks to the local client as one that does
  } finally {
    far?.destroy();
    open.delete(near);
    if (far !== undefined) open.delete(far);
  }
}

/** The answer of a server that one connection leads to; the connection ends with its body. */
async function fetchOver(socket: Duplex, { port, path, options }: { readonly port: number; readonly path: string; readonly options: FetchOptions }): Promise<Response> {
  if (!path.startsWith('/')) throw invalidOption('path must begin with /');
  const { method = 'GET', headers = {}, body, signal } = options;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = overHttp({
    createConnection: () => socket, method, path, ...(signal === undefined ? {} : { signal }),
    headers: { host: `localhost:${port}`, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }), ...headers },
  });
  request.once('response', resolve);
  request.once('error', reject);
  request.end(body);
  try {
    return responseOf(await promise, method);
  } catch (error) {
    socket.destroy();
    signal?.throwIfAborted();
    throw invalidAnswer(`port ${port} answered with no HTTP`, error);
  }
}

function responseOf(message: IncomingMessage, method: string): Response {
  const { statusCode: status = 0, statusMessage = '', headersDistinct } = message;
  if (status < 200 || status > 599) throw invalidAnswer(`an HTTP status of ${status}`);
  const headers = Object.entries(headersDistinct).flatMap(([name, values]) => (values ?? []).map((value): [string, string] => [name, value]));
  const hasBody = method !== 'HEAD' && ![204, 205, 304].includes(status);
  if (!hasBody) message.resume();
  return new Response(hasBody ? (Readable.toWeb(message) as ReadableStream) : null, { status, statusText: statusMessage.replace(/[^\t\x20-\x7e]/g, '?'), headers });
}
