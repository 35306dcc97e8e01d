import { resolve } from 'node:path';
import { invalidOption } from './errors.ts';
import { instanceSocket, type Surroundings } from './instance.ts';

/** Where a Caisson answers. One of `socket` and `url`; without either the environment says. */
export interface ConnectionOptions {
  /** Path of the Unix socket of the API. */
  readonly socket?: string;
  /** `http://` or `https://`, host and port of the API. */
  readonly url?: string;
  /** Token for `url`. */
  readonly token?: string;
  /**
   * How long a lost connection is tried again, in milliseconds. Default 30 000. A request that could not even be sent is given up
   * in less than a second, but those of a command that was started are not.
   */
  readonly reconnectMs?: number;
}

/** A place that requests go to; it holds nothing open. */
export interface Connection {
  readonly place: { readonly socketPath: string } | { readonly secure: boolean; readonly host: string; readonly port: number };
  /** For messages. */
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly reconnectMs: number;
}

/** What every call that needs no object to begin from takes. */
export interface Connecting {
  /** Where Caisson answers. Default: what the environment says; see `connectionOf`. */
  readonly connection?: ConnectionOptions | Connection;
  readonly signal?: AbortSignal | undefined;
}

export function connected(connection: Connecting['connection']): Connection {
  return connection !== undefined && 'place' in connection ? connection : connectionOf(connection);
}

const RECONNECT_MS = 30_000;

/**
 * The connection that the options name, or else CAISSON_API_SOCKET, or else CAISSON_API_URL with CAISSON_API_TOKEN, or else
 * the instance of CAISSON_DIR.
 *
 * @throws CaissonError OPTIONS_INVALID
 */
export function connectionOf(options: ConnectionOptions = {}, surroundings: Surroundings = ownSurroundings()): Connection {
  const { env } = surroundings;
  const { socket, url, token, reconnectMs = RECONNECT_MS } = options;
  if (socket !== undefined && url !== undefined) throw invalidOption('connection: socket and url are both given');
  if (!(reconnectMs >= 0)) throw invalidOption('connection.reconnectMs must be a number from 0 on');
  if (url !== undefined) return overTcp(url, token, reconnectMs);
  if (socket !== undefined) return overSocket(socket, reconnectMs);
  if (env['CAISSON_API_SOCKET']) return overSocket(env['CAISSON_API_SOCKET'], reconnectMs);
  if (env['CAISSON_API_URL']) return overTcp(env['CAISSON_API_URL'], token ?? env['CAISSON_API_TOKEN'], reconnectMs);
  return overSocket(instanceSocket(surroundings), reconnectMs);
}

function ownSurroundings(): Surroundings {
  return { env: process.env, uid: process.getuid?.() ?? 0, resolve };
}

function overSocket(socketPath: string, reconnectMs: number): Connection {
  return { place: { socketPath }, name: socketPath, headers: { host: 'localhost' }, reconnectMs };
}

function overTcp(url: string, token: string | undefined, reconnectMs: number): Connection {
  const { protocol, hostname, port, pathname, search, username } = parsed(url);
  const secure = protocol === 'https:';
  if (!secure && protocol !== 'http:') throw invalidOption(`${url}: must begin with http:// or https://`);
  if (pathname !== '/' || search !== '' || username !== '') throw invalidOption(`${url}: must be a host and a port, nothing else`);
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) throw invalidOption(`${url}: needs a token`);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const place = { secure, host, port: port === '' ? (secure ? 443 : 80) : Number(port) };
  return { place, name: `${protocol}//${hostname}:${place.port}`, headers: { authorization: `Bearer ${token}` }, reconnectMs };
}

function parsed(url: string): URL {
  const found = URL.parse(url);
  if (found === null) throw invalidOption(`${url}: is no URL`);
  return found;
}
