import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { connect, type ClientHttp2Session } from 'node:http2';
import type { Duplex, Readable, Writable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { PassingRequest } from './http-decide.ts';
import { identity, type Upstreams } from './http-ask.ts';
import { passedOn } from './http-fields.ts';
import { plainFields } from './http2-message.ts';
import type { Opened } from './proved.ts';

/** What a server may send before it is taken, in bytes, and what it may say. */
const SESSION = { maxSessionMemory: 4, maxHeaderListPairs: 128, maxOutstandingPings: 10, settings: { enablePush: false, initialWindowSize: 262_144, maxHeaderListSize: 65_536 } } as const;
const WINDOW_BYTES = 1_048_576;
const IDLE_MS = 300_000;

/** An answer as it begins, whatever carries it. */
export interface Reply extends Pick<IncomingMessage, 'headers' | 'rawHeaders' | 'statusMessage'> {
  readonly status: number;
  readonly body: Readable;
  /** Nothing follows the head. */
  readonly isOver: boolean;
  /** Fields that have followed the body, once that has ended. */
  readonly trailers: () => readonly string[];
}

/** A request that is on its way. */
export interface Sent {
  readonly body: Writable;
  onReply(told: (reply: Reply) => void): void;
  /** Told once when it is over, whether there was an answer or not. */
  onEnd(told: (why: string) => void): void;
  cut(): void;
}

interface Asking {
  readonly method: string;
  readonly lengths: OutgoingHttpHeaders;
  readonly endStream: boolean;
  readonly trailers: boolean;
  readonly client: Duplex;
}

/** Sends on the requests of one session: by HTTP/2, and one session, where the server speaks it, and else each by HTTP/1.1. */
export class Onward implements Disposable {
  readonly #upstreams: Upstreams;
  readonly #client: Duplex;
  #session: { readonly session: ClientHttp2Session; readonly address: string } | null = null;
  #opening: Promise<Opened> | null = null;
  #speaks: 'h2' | 'http/1.1' | null = null;

  /** @param client the connection of the sandbox: what is opened ends with it */
  constructor(upstreams: Upstreams, client: Duplex) {
    this.#upstreams = upstreams;
    this.#client = client;
  }

  async ask(asking: Asking, passing: PassingRequest): Promise<Sent | { readonly failed: string }> {
    const opened = this.#speaks === 'http/1.1' ? undefined : await this.#reach(passing);
    if (opened !== undefined && 'failed' in opened) return opened;
    if (opened !== undefined && 'session' in opened) return sendBy2(opened.session, asking, passing);
    const { method, lengths, client } = asking;
    const asked = await this.#upstreams.ask({ method, lengths, client, ...(opened !== undefined && { opened }) }, passing);
    return 'failed' in asked ? asked : sendBy1(asked.upstream);
  }

  /** The session to an address that was checked for this request, or a connection on which HTTP/1.1 is spoken; undefined: one is to be opened for that. */
  async #reach(passing: PassingRequest): Promise<{ readonly session: ClientHttp2Session } | Opened | undefined> {
    await this.#opening;
    const held = this.#session;
    if (held !== null && !held.session.closed && !held.session.destroyed && passing.to.some(({ address }) => address === held.address)) return held;
    if (this.#speaks === 'http/1.1') return undefined;
    if (this.#opening !== null) return this.#reach(passing);
    this.#opening = this.#upstreams.open(passing, this.#client, ['h2', 'http/1.1']);
    const opened = await this.#opening.finally(() => (this.#opening = null));
    if ('failed' in opened) return opened;
    const { socket } = opened;
    this.#speaks = socket instanceof TLSSocket && socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1';
    if (this.#speaks === 'http/1.1') return opened;
    held?.session.close();
    const session = connect(`https://${passing.target.host}`, { ...SESSION, createConnection: () => socket });
    session.on('error', () => session.destroy());
    session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES));
    session.setTimeout(IDLE_MS, () => session.close());
    if (this.#client.destroyed) session.destroy();
    this.#session = { session, address: socket.remoteAddress ?? '' };
    return this.#session;
  }

  [Symbol.dispose](): void {
    this.#session?.session.destroy();
  }
}

/** Fields that are there once as they are: some may be there once only. */
function plain(fields: Readonly<Record<string, readonly string[]>>): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(fields).map(([name, values]) => [name, values.length === 1 ? values[0] : [...values]]));
}

function sendBy2(session: ClientHttp2Session, { method, lengths, endStream, trailers }: Asking, passing: PassingRequest): Sent {
  const { target: { host, port }, injected, read } = passing;
  const { 'transfer-encoding': _, ...length } = read === null ? lengths : { 'content-length': read.body.length };
  const { 'http2-settings': __, ...fields } = plain(passedOn(injected.rawHeaders));
  const isGuarded = injected.echoes.length > 0;
  const stream = session.request({
    ...fields, ...length, ...identity(passing), ...(isGuarded && { 'grpc-accept-encoding': 'identity' }), ...(trailers && { te: 'trailers' }),
    ':method': method, ':scheme': 'https', ':authority': port === 443 ? host : `${host}:${port}`, ':path': injected.path,
  }, { endStream: endStream && read === null });
  stream.setTimeout(IDLE_MS, () => stream.close(CANCEL));
  let followed: readonly string[] = [];
  let why = 'the server ended the stream';
  stream.on('error', (error: NodeJS.ErrnoException) => (why = error.code ?? error.message));
  stream.on('trailers', (_headers, _flags, raw: string[] = []) => (followed = plainFields(raw)));
  return {
    body: stream,
    onReply: (told) => void stream.once('response', (headers, flags, raw) => told({
      status: headers[':status'] ?? 502, statusMessage: '', headers, rawHeaders: [...plainFields(raw)], body: stream, isOver: (flags & END_STREAM) !== 0, trailers: () => followed,
    })),
    onEnd: (told) => void stream.once('close', () => told(why)),
    cut: () => stream.close(CANCEL),
  };
}

function sendBy1(upstream: ClientRequest): Sent {
  let why = 'the server ended the connection';
  upstream.on('error', (error: NodeJS.ErrnoException) => (why = error.code ?? error.message));
  return {
    body: upstream,
    onReply: (told) => void upstream.once('response', (reply) => {
      reply.on('error', () => undefined);
      told({ status: reply.statusCode ?? 502, statusMessage: reply.statusMessage, headers: reply.headers, rawHeaders: reply.rawHeaders, body: reply, isOver: false, trailers: () => reply.rawTrailers });
    }),
    onEnd: (told) => void upstream.once('close', () => told(why)),
    cut: () => void upstream.destroy(),
  };
}

/** RFC 9113 §7, §6.2. */
const CANCEL = 8;
const END_STREAM = 1;
