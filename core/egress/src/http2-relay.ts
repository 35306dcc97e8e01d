import { createServer, type Http2Server, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { EgressDenied } from '@caisson/contract';
import type { Admitted } from './admitted.ts';
import type { Call, GateRooms } from './call.ts';
import { denialBody, failureBody, rpcDenial } from './denial.ts';
import type { Upstreams } from './http-ask.ts';
import type { Bodies } from './http-body.ts';
import { decideRequest, type HttpContext, type HttpMessage, type PassingRequest } from './http-decide.ts';
import { passedOn } from './http-fields.ts';
import { CAME_BACK, mayFollow, openConnection, passBody, wayOf, withoutSecrets } from './http-pass.ts';
import { Onward, type Reply, type Sent } from './http2-ask.ts';
import { answerStream, messageOf } from './http2-message.ts';
import { Rate } from './meter.ts';
import type { McpRead } from './mcp.ts';
import { carry } from './relay.ts';

const STREAMS_MOST = 100;
/** What a sandbox may say in a session: memory in MB, of which a stream more is refused; and frames that cost and carry nothing. */
const SESSION = {
  maxSessionMemory: 4, maxSettings: 16, maxHeaderListPairs: 128, maxOutstandingPings: 10, maxSessionInvalidFrames: 100, maxSessionRejectedStreams: 100, streamResetBurst: 500, streamResetRate: 33,
  settings: { maxConcurrentStreams: STREAMS_MOST, maxHeaderListSize: 16_384, enablePush: false, enableConnectProtocol: false },
};
/** Requests that a sandbox may give up before they are answered, within 60 s: each costs work that nobody waits for (CVE-2023-44487). */
const GIVEN_UP_MOST = 200;
const STREAMS_OF_SANDBOX = 1_000;
const IDLE_MS = 300_000;
/** RFC 9113 §7. */
const REFUSED_STREAM = 7;
const INTERNAL_ERROR = 2;

type Rooms = Pick<GateRooms, 'resolve' | 'nowMs' | 'wallMs' | 'nextId'> & { readonly bodies: Bodies; readonly upstreams: Upstreams };

interface Session extends HttpContext {
  readonly onward: Onward;
  readonly meant: NonNullable<HttpContext['meant']>;
}

/** What one sandbox has in all its sessions. */
interface Load {
  streams: number;
  readonly givenUp: Rate;
}

/** Reads requests of HTTP/2 of protocol `https`, and decides each stream as a request is. */
export class Http2Relay {
  readonly #rooms: Rooms;
  readonly #server: Http2Server;
  readonly #sessions = new WeakMap<Http2Session, Session>();
  readonly #loads = new WeakMap<Admitted, Load>();

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
    this.#server = createServer(SESSION);
    this.#server.on('sessionError', (error, session) => this.#onBroken(error, session)); // the session is destroyed by it
    this.#server.on('stream', (stream, headers, _flags, raw) => this.#onStream(stream, headers, raw));
  }

  /** Serves what has come out of a TLS connection that was allowed to one host and port. */
  serve({ admitted, client, host, port }: Pick<Call, 'admitted' | 'client' | 'host' | 'port'>): void {
    const meant = { host, port };
    const connection = openConnection({ admitted, meant, secure: true, client, cut: () => void client.destroy() }, this.#rooms);
    const context: Session = { admitted, meant, connection, secure: true, onward: new Onward(this.#rooms.upstreams, client) };
    client.once('close', () => context.onward[Symbol.dispose]());
    client.once('end', () => client.destroy()); // half a connection would stay for as long as a session may be idle
    const take = (session: Http2Session): void => {
      this.#sessions.set(session, context);
      session.setTimeout(IDLE_MS, () => session.close());
      session.once('close', () => client.destroy());
    };
    // The session is told of before emit returns, or never: a later one is another's.
    this.#server.once('session', take);
    this.#server.emit('connection', client);
    this.#server.off('session', take);
  }

  #loadOf(admitted: Admitted): Load {
    const known = this.#loads.get(admitted);
    if (known !== undefined) return known;
    const load = { streams: 0, givenUp: new Rate() };
    this.#loads.set(admitted, load);
    return load;
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]): void {
    stream.on('error', () => undefined); // it closes, too
    const session = stream.session === undefined ? undefined : this.#sessions.get(stream.session);
    if (session === undefined) return void stream.destroy();
    const load = this.#loadOf(session.admitted);
    load.streams += 1;
    let isOver = false;
    const onClose = (): void => {
      if (isOver) return;
      isOver = true;
      load.streams -= 1;
      if (!stream.writableFinished && stream.rstCode !== REFUSED_STREAM) this.#onGivenUp(session, load);
    };
    stream.once('close', onClose);
    if (stream.closed || stream.destroyed) return onClose();
    if (load.streams > (session.admitted.policy.connections ?? STREAMS_OF_SANDBOX)) return stream.close(REFUSED_STREAM);
    void this.#onRequest(stream, session, { headers, raw }).catch(() => stream.close(INTERNAL_ERROR));
  }

  /** What a session is ended for by its framing: streams that are refused or reset without end, and frames that are none. */
  #onBroken({ code = '' }: NodeJS.ErrnoException, session: Http2Session): void {
    const context = this.#sessions.get(session);
    if (context === undefined || !code.startsWith('ERR_HTTP2')) return;
    const { admitted, meant: { host, port } } = context;
    admitted.refuse({ what: 'connection', to: `${host}:${port}`, rule: null, reason: `its session of HTTP/2 was ended for what came in it: ${code}` });
  }

  #onGivenUp({ admitted, meant: { host, port }, connection }: Session, { givenUp }: Load): void {
    if (givenUp.take(GIVEN_UP_MOST, this.#rooms.nowMs()).ok) return;
    admitted.refuse({ what: 'connection', to: `${host}:${port}`, rule: null, reason: `more than ${GIVEN_UP_MOST} requests were given up within 60 s before they were answered` });
    connection.cut('too many requests were given up');
  }

  async #onRequest(stream: ServerHttp2Stream, context: Session, { headers, raw }: { readonly headers: IncomingHttpHeaders; readonly raw: readonly string[] }): Promise<void> {
    const isGrpc = headers['content-type']?.startsWith('application/grpc') === true;
    const refuse = (denied: EgressDenied, mcp?: McpRead): void => {
      const body = denialBody(denied);
      const rpc = rpcDenial(body, mcp);
      answerStream(stream, { status: rpc === null ? 403 : 200, text: rpc ?? `${JSON.stringify(body)}\n`, reason: `${denied.reason}; what would be allowed: ${denied.wouldAllow}` }, isGrpc);
    };
    const fail = (why: string): void => answerStream(stream, { status: 502, text: `${JSON.stringify(failureBody(why))}\n`, reason: why }, isGrpc);
    const message = messageOf(headers, raw, stream);
    if ('effect' in message) {
      onRecord(context, headers, message);
      return refuse(message);
    }
    if (headers.expect?.toLowerCase() === '100-continue') stream.additionalHeaders({ ':status': 100 });
    const decided = await decideRequest(message, context, this.#rooms);
    if ('denied' in decided) {
      onRecord(context, headers, decided.denied);
      return refuse(decided.denied, decided.mcp);
    }
    if ('failed' in decided) return fail(decided.failed);
    if (decided.read !== null) {
      const { release } = decided.read;
      if (stream.closed) release();
      else stream.once('close', release);
    }
    if (stream.destroyed || stream.closed) return; // it was given up while it was put on record
    const sent = await context.onward.ask({ ...sending(message, stream), trailers: headers['te'] === 'trailers' }, decided);
    if ('failed' in sent) return fail(sent.failed);
    if (stream.destroyed || stream.closed) return sent.cut();
    stream.once('close', () => sent.cut());
    sent.onReply((reply) => this.#answer(stream, reply, { passing: decided, sent, fail }));
    sent.onEnd((why) => {
      if (!stream.headersSent) fail(why);
      else if (!stream.writableEnded) setImmediate(() => stream.writableEnded || stream.close(INTERNAL_ERROR));
    });
    passBody({
      from: stream, to: sent.body, passing: decided,
      cut: (denied) => {
        sent.cut();
        refuse(denied);
      },
    });
  }

  #answer(stream: ServerHttp2Stream, reply: Reply, { passing, sent, fail }: { readonly passing: PassingRequest; readonly sent: Sent; readonly fail: (why: string) => void }): void {
    if (stream.destroyed || stream.closed || stream.headersSent) return sent.cut();
    const body = withoutSecrets(reply, passing, () => stream.close(INTERNAL_ERROR), reply.body);
    if (body === null) return fail(CAME_BACK);
    try {
      stream.respond({ ...fieldsOf(reply.rawHeaders), ':status': reply.status }, reply.isOver ? { endStream: true } : { waitForTrailers: true });
    } catch {
      sent.cut();
      return stream.headersSent ? stream.close(INTERNAL_ERROR) : fail('the server answered with fields that no answer can have');
    }
    if (reply.isOver) return void body.resume();
    stream.once('wantTrailers', () => {
      const trailers = reply.trailers();
      if (mayFollow(trailers, passing)) stream.sendTrailers(fieldsOf(trailers));
      else stream.close(INTERNAL_ERROR);
    });
    carry({ ...wayOf(passing, 'in'), from: body, to: stream, cut: () => stream.close(INTERNAL_ERROR) });
  }
}

function onRecord({ admitted, meant: { host, port } }: Session, headers: IncomingHttpHeaders, { rule, reason, wouldAllow }: EgressDenied): void {
  admitted.refuse({ what: 'request', to: `${headers[':method'] ?? ''} ${host}:${port}`, rule, reason, wouldAllow });
}

/** How the body of a request goes on: with the length that it says, or in pieces. */
function sending({ method = '', headers }: HttpMessage, stream: ServerHttp2Stream): Parameters<Onward['ask']>[0] {
  const length = headers['content-length'];
  const lengths = length !== undefined ? { 'content-length': length } : stream.endAfterHeaders ? {} : { 'transfer-encoding': 'chunked' };
  return { method, lengths, endStream: stream.endAfterHeaders, trailers: false, client: stream };
}

function fieldsOf(raw: readonly string[]): Readonly<Record<string, string | string[]>> {
  return Object.fromEntries(Object.entries(passedOn(raw)).map(([name, values]) => [name, values.length === 1 ? (values[0] ?? '') : values]));
}
