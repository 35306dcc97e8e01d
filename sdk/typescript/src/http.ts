import { randomUUID } from 'node:crypto';
import { request as overHttp, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as overHttps } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from './connection.ts';
import { CaissonError, invalidAnswer } from './errors.ts';
import { problemError } from './problem.ts';

/** One request. */
export interface Ask {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  /** A JSON body. */
  readonly json?: unknown;
  /** A body of bytes. A stream is sent once: a request with one is not repeated. */
  readonly bytes?: Uint8Array | AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the same request twice does what once does. One that does not is repeated only when it cannot have arrived. */
  readonly repeatable: boolean;
  /**
   * Until when it is repeated. 'brief': a few times, in less than a second. 'whole': for the connection's `reconnectMs`, from the
   * first failure on. Default: for `reconnectMs` once the request may have arrived, so that its fate becomes known; else briefly.
   */
  readonly patience?: 'brief' | 'whole';
  readonly signal?: AbortSignal | undefined;
}

const ANSWER_MOST_BYTES = 64 * 1024 * 1024;
const PROBLEM_MOST_BYTES = 64 * 1024;
const FIRST_WAIT_MS = 25;
const MOST_WAIT_MS = 2_000;
/** How often a request that was refused for now, or could not be sent, is sent again in any case. */
const REPEATS = 5;
/** A connection that was open for so long before it broke has worked: the time that it is away begins anew. */
export const WORKED_MS = 10_000;

/** A fresh key under which a request that creates something may be repeated. */
export function newKey(): string {
  return randomUUID();
}

/** Waits before the given repetition, counted from 0: twice as long each time, and not the same for everyone. */
export async function pause(repetition: number, signal?: AbortSignal, atLeastMs = 0): Promise<void> {
  const most = Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** repetition);
  await delay(Math.max(atLeastMs, most / 2 + (Math.random() * most) / 2), undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted());
}

/** Sends a request and resolves to its JSON answer; undefined for an answer without a body. @throws as `askStream` does */
export async function askJson<T>(connection: Connection, ask: Ask): Promise<T> {
  const bytes = await patiently(connection, ask, async () => allOf(await once(connection, ask), ANSWER_MOST_BYTES));
  return (bytes.length === 0 ? undefined : parseAnswer(bytes)) as T;
}

/**
 * Sends a request and resolves to its answer, whose body is still to be read. What cannot have arrived, and what may
 * be repeated, is sent again, as its `patience` says.
 *
 * @throws CaissonError with the code of the API, DAEMON_UNREACHABLE or CONNECTION_LOST; the signal's reason
 */
export function askStream(connection: Connection, ask: Ask): Promise<IncomingMessage> {
  return patiently(connection, ask, () => once(connection, ask));
}

async function patiently<T>(connection: Connection, ask: Ask, attempt: () => Promise<T>): Promise<T> {
  const repetitionAfter = patienceFor(connection, ask);
  for (;;) {
    ask.signal?.throwIfAborted();
    const askedMs = performance.now();
    try {
      return await attempt();
    } catch (error) {
      ask.signal?.throwIfAborted();
      if (!(error instanceof Failed)) throw error;
      const repetition = repetitionAfter(error, askedMs);
      if (repetition === null || !mayRepeat(error, ask)) throw error.error;
      await pause(repetition, ask.signal, error.waitMs);
    }
  }
}

/** Counts the failures of a request. Null: it has been repeated for long enough. */
function patienceFor({ reconnectMs }: Connection, { patience }: Ask): (failed: Failed, askedMs: number) => number | null {
  let isPatient = patience === 'whole';
  let awaySinceMs: number | undefined;
  let repetition = 0;
  return ({ arrived }, askedMs) => {
    const failedMs = performance.now();
    if (patience === 'whole' && arrived && failedMs - askedMs >= WORKED_MS) [awaySinceMs, repetition] = [undefined, 0];
    isPatient ||= arrived && patience !== 'brief';
    awaySinceMs ??= failedMs;
    if (repetition < REPEATS || (isPatient && failedMs - awaySinceMs < reconnectMs)) return repetition++;
    return null;
  };
}

const canRepeat = (ask: Ask): boolean => ask.repeatable && (ask.bytes === undefined || ask.bytes instanceof Uint8Array);

/** A request that failed, with what a repetition needs to know. */
class Failed extends Error {
  readonly error: CaissonError;
  /** Whether the request may have taken effect. */
  readonly arrived: boolean;
  /** Whether another try could go better. */
  readonly passing: boolean;
  readonly waitMs: number;

  constructor(error: CaissonError, { arrived, passing, waitMs = 0 }: { readonly arrived: boolean; readonly passing: boolean; readonly waitMs?: number }) {
    super(error.message);
    this.error = error;
    this.arrived = arrived;
    this.passing = passing;
    this.waitMs = waitMs;
  }
}

function mayRepeat({ arrived, passing }: Failed, ask: Ask): boolean {
  if (!passing) return false;
  if (!arrived) return ask.bytes === undefined || ask.bytes instanceof Uint8Array;
  return canRepeat(ask);
}

async function once(connection: Connection, ask: Ask): Promise<IncomingMessage> {
  const response = await exchanged(connection, ask);
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return response;
  const error = await readProblem(response);
  const refusedForNow = error.code === 'DRAINING' || error.code === 'RATE_LIMITED';
  const waitMs = 1000 * Math.min(60, Number(response.headers['retry-after'] ?? 0) || 0);
  throw new Failed(error, { arrived: false, passing: refusedForNow, waitMs });
}

/** The error that an answer tells. */
export async function readProblem(response: IncomingMessage): Promise<CaissonError> {
  const body = await allOf(response, PROBLEM_MOST_BYTES).catch(() => Buffer.alloc(0));
  return problemError(response.statusCode ?? 0, body, response.headers['x-request-id']);
}

/** Options of node:http for the place and the request. */
function requestOptions({ place, headers }: Connection, ask: Ask): RequestOptions {
  const where = 'socketPath' in place ? place : { host: place.host, port: place.port };
  return {
    ...where,
    method: ask.method,
    path: ask.path + queryText(ask.query),
    headers: { accept: 'application/json', ...headers, ...bodyHeaders(ask), ...ask.headers },
    // A pooled connection may have ended on the other side: what may not be repeated gets a connection of its own.
    ...(canRepeat(ask) ? {} : { agent: false }),
    ...(ask.signal === undefined ? {} : { signal: ask.signal }),
  };
}

export function openRequest(connection: Connection, ask: Ask): ClientRequest {
  const { place } = connection;
  const options = requestOptions(connection, ask);
  return 'secure' in place && place.secure ? overHttps(options) : overHttp(options);
}

function bodyHeaders({ json, bytes }: Ask): Readonly<Record<string, string>> {
  if (json !== undefined) return { 'content-type': 'application/json' };
  if (bytes === undefined) return {};
  return { 'content-type': 'application/octet-stream', ...(bytes instanceof Uint8Array ? { 'content-length': String(bytes.byteLength) } : {}) };
}

function queryText(query: Ask['query']): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const values = Array.isArray(value) ? (value as readonly string[]) : [String(value)];
    return values.map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`);
  });
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function exchanged(connection: Connection, ask: Ask): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = openRequest(connection, ask);
  request.once('response', resolve);
  request.on('error', (error) => reject(failure(connection, error, request)));
  const { json, bytes } = ask;
  if (json !== undefined) request.end(JSON.stringify(json));
  else if (bytes === undefined || bytes instanceof Uint8Array) request.end(bytes);
  else pipeline(Readable.from(sourceOf(bytes, reject), { objectMode: false }), request).catch((error: unknown) => request.destroy(error as Error));
  return promise;
}

/** The caller's bytes. What the caller's source throws is the failure of the request, not a connection that broke. */
async function* sourceOf(bytes: AsyncIterable<Uint8Array>, failed: (error: unknown) => void): AsyncGenerator<Uint8Array, void> {
  try {
    yield* bytes;
  } catch (error) {
    failed(error);
    throw error;
  }
}

/** Whether it is connecting that failed. The code alone does not say: a connection that was made ends with ETIMEDOUT too. */
function isOfConnecting(error: Error): boolean {
  const { syscall = '' } = error as NodeJS.ErrnoException;
  return error instanceof AggregateError || syscall === 'connect' || syscall === 'getaddrinfo';
}

/** What became of a request whose connection failed. */
export function failure(connection: Connection, error: Error, request?: ClientRequest): Failed {
  const { code = '' } = error as NodeJS.ErrnoException;
  const connected = request?.socket?.connecting === false && !isOfConnecting(error);
  if (connected) return new Failed(lost(connection, error), { arrived: true, passing: true });
  const hint = code === 'EACCES' || code === 'EPERM' ? 'this user may not open it: use a token, or the user that Caisson runs for' : 'start it with ./caisson up, or name another by CAISSON_API_SOCKET, CAISSON_API_URL or CAISSON_DIR';
  const unreachable = new CaissonError({ code: 'DAEMON_UNREACHABLE', message: `nothing answers at ${connection.name} (${code || error.message})`, hint, cause: error });
  return new Failed(unreachable, { arrived: false, passing: code !== 'EACCES' && code !== 'EPERM' && code !== 'ENOTFOUND' });
}

export function lost(connection: Connection, cause: unknown): CaissonError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new CaissonError({ code: 'CONNECTION_LOST', message: `the connection to ${connection.name} broke: ${detail}`, hint: 'look whether the request took effect before making it again', cause });
}

/** All bytes of an answer. */
async function allOf(response: IncomingMessage, mostBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > mostBytes) throw invalidAnswer(`an answer of more than ${mostBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    const broke = new CaissonError({ code: 'CONNECTION_LOST', message: 'the connection broke in the middle of an answer', hint: 'the request took effect or was refused: look before making it again', cause: error });
    throw new Failed(broke, { arrived: true, passing: true });
  }
  return Buffer.concat(chunks);
}

function parseAnswer(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalidAnswer('an answer that is not JSON', error);
  }
}
