import { request as overHttp, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as overHttps } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CaissonError, isErrorCode } from '@caisson/contract/errors';
import type * as Sdk from '@caisson/sdk';
import type { Connection, Sandbox } from '@caisson/sdk';
import { checkOwnFolders } from '@caisson/wire';
import { instancePaths, withDaemon } from './client.ts';

/** The HTTP API, with the parts of the SDK that the commands use. */
export interface Api {
  readonly connection: Connection;
  readonly sdk: typeof Sdk;
  /** The sandbox with this id or name. @throws CaissonError SANDBOX_NOT_FOUND */
  box(idOrName: string): Promise<Sandbox>;
}

/** One request to a route that the SDK has no method for. */
export interface Ask {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly json?: unknown;
  readonly bytes?: AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

const ANSWER_MOST_BYTES = 64 * 1024 * 1024;
const HEALTH_MOST_MS = 10_000;

/**
 * Reaches the API that the environment names, by default that of the instance of CAISSON_DIR.
 *
 * @param home the checkout; when it is given and nothing is up in this instance, the daemon is started
 * @throws CaissonError DAEMON_UNREACHABLE, STATE_DIR_INVALID
 */
export async function openApi(home?: string): Promise<Api> {
  const sdk = await import('@caisson/sdk');
  const elsewhere = Boolean(process.env['CAISSON_API_SOCKET'] || process.env['CAISSON_API_URL']);
  const paths = instancePaths();
  const connection = elsewhere ? sdk.connectionOf() : sdk.connectionOf({ socket: paths.apiSocket });
  const reach = async (): Promise<void> => {
    if (!elsewhere) checkOwnFolders(paths.ownFolders, { make: false });
    await ask(connection, { method: 'GET', path: '/v1/health', signal: AbortSignal.timeout(HEALTH_MOST_MS) }).catch((error: unknown) => {
      throw isLost(error) ? new CaissonError('DAEMON_UNREACHABLE', { socket: connection.name }, { cause: error }) : error; // nothing was asked for that could have taken effect
    });
  };
  await (home === undefined || elsewhere ? reach() : withDaemon(paths, home, reach));
  return { connection, sdk, box: (idOrName) => sdk.Sandbox.connect(idOrName, { connection }) };
}

/** Sends one request and resolves to its JSON answer. @throws CaissonError with the code of the API, DAEMON_UNREACHABLE, CONNECTION_LOST; the signal's reason */
export async function ask(connection: Connection, asked: Ask): Promise<unknown> {
  const response = await askStream(connection, asked);
  const bytes = await allOf(response).catch(async (cause: unknown) => {
    if (cause instanceof CaissonError) throw cause;
    asked.signal?.throwIfAborted();
    throw await lost(connection, cause);
  });
  try {
    return bytes.length === 0 ? null : JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new CaissonError('INTERNAL', { detail: `${asked.path} answered with what is not JSON` }, { cause });
  }
}

/**
 * Sends one request and resolves to its answer, whose body is still to be read.
 *
 * @throws CaissonError with the code of the API; DAEMON_UNREACHABLE before the request can have arrived, CONNECTION_LOST after; the signal's reason
 */
export async function askStream(connection: Connection, asked: Ask): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = opened(connection, asked);
  let isConnected = false;
  request.once('socket', (socket) => socket.once('secure' in connection.place && connection.place.secure ? 'secureConnect' : 'connect', () => (isConnected = true)));
  request.once('response', resolve);
  request.on('error', (cause) => {
    if (asked.signal?.aborted === true) reject(asked.signal.reason);
    else if (isConnected) lost(connection, cause).then(reject, reject);
    else reject(new CaissonError('DAEMON_UNREACHABLE', { socket: connection.name }, { cause }));
  });
  if (asked.json !== undefined) request.end(JSON.stringify(asked.json));
  else if (asked.bytes === undefined) request.end();
  else pipeline(Readable.from(sourceOf(asked.bytes, reject), { objectMode: false }), request).catch((error: unknown) => request.destroy(error as Error)); // an answer may come before all was sent
  const response = await promise;
  const { statusCode = 0 } = response;
  if (statusCode >= 200 && statusCode < 300) return response;
  throw refusal(statusCode, await allOf(response));
}

/** The bytes to send. What their source throws is the failure of the request, not a connection that broke. */
async function* sourceOf(bytes: AsyncIterable<Uint8Array>, failed: (error: unknown) => void): AsyncGenerator<Uint8Array, void> {
  try {
    yield* bytes;
  } catch (error) {
    failed(error);
    throw error;
  }
}

/** The bytes of an answer. @throws CaissonError CONNECTION_LOST where they break off */
export async function* wholeOf(connection: Connection, answer: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  try {
    yield* answer;
  } catch (cause) {
    throw await lost(connection, cause);
  }
}

/** Whether the connection broke after the request may have arrived. */
function isLost(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === 'CONNECTION_LOST';
}

/** The connection broke after the request may have arrived: the error that the SDK has for that. */
async function lost({ name }: Connection, cause: unknown): Promise<Error> {
  const { CaissonError: SdkError } = await import('@caisson/sdk');
  return new SdkError({ code: 'CONNECTION_LOST', message: `the connection to ${name} broke: ${(cause as Error).message}`, hint: 'look whether the request took effect before making it again', cause });
}

function opened({ place, headers }: Connection, { method, path, json, headers: own = {}, signal }: Ask): ReturnType<typeof overHttp> {
  const options: RequestOptions = {
    ...('socketPath' in place ? place : { host: place.host, port: place.port }),
    method,
    path,
    agent: false,
    headers: { accept: 'application/json', ...headers, ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...own },
    ...(signal === undefined ? {} : { signal }),
  };
  return 'secure' in place && place.secure ? overHttps(options) : overHttp(options);
}

function refusal(status: number, body: Buffer): CaissonError {
  try {
    const { code, detail, hint } = JSON.parse(body.toString('utf8')) as Readonly<Record<string, unknown>>;
    if (isErrorCode(code) && typeof detail === 'string' && typeof hint === 'string') return CaissonError.from({ code, message: detail, hint });
  } catch {
    // told below
  }
  return new CaissonError('INTERNAL', { detail: `the API answered with HTTP ${status}` });
}

async function allOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_MOST_BYTES) throw new CaissonError('INTERNAL', { detail: `an answer of more than ${ANSWER_MOST_BYTES} bytes` });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
