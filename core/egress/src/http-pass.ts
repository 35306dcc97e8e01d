import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { EgressDenied } from '@caisson/contract';
import type { OpenConnection } from './admitted.ts';
import type { GateRooms } from './call.ts';
import { denial } from './denial.ts';
import { EchoGuard, GRPC, holdsAny, type Framing } from './echo.ts';
import type { HttpContext, PassingRequest } from './http-decide.ts';
import { carry, type Way } from './relay.ts';

export const CAME_BACK = 'the answer holds a secret of its server, or is compressed so that this cannot be seen';
const BYTES_PASSED = 'as many bytes have passed as the rule allows';

interface Opened extends Pick<HttpContext, 'admitted' | 'meant' | 'secure'> {
  readonly client: Socket;
  readonly cut: OpenConnection['cut'];
}

/** Counts a connection on which requests are read until it closes. One to the proxy is to no one host: it is cut when the rules change, and the client makes another. */
export function openConnection({ admitted, meant, secure, client, cut }: Opened, { wallMs, nextId }: Pick<GateRooms, 'wallMs' | 'nextId'>): OpenConnection {
  const connection: OpenConnection = {
    id: nextId(), protocol: secure ? 'https' : 'http', layers: [], host: meant?.host ?? '', port: meant?.port ?? 0, startedMs: wallMs(), leases: new Set(), bytes: { out: 0, in: 0 }, cut,
  };
  admitted.connections.set(connection.id, connection);
  client.once('close', () => {
    admitted.connections.delete(connection.id);
    admitted.passed.connections += 1;
    admitted.passed.out += connection.bytes.out;
    admitted.passed.in += connection.bytes.in;
  });
  return connection;
}

/** Counts bytes against the rules. @returns whether they may pass */
function passBytes({ context: { admitted, connection }, request: { layers }, target: { host, port } }: PassingRequest, direction: 'out' | 'in', bytes: number): boolean {
  const { denied } = admitted.meter.pass(layers, bytes);
  if (denied !== null) admitted.refuse({ what: 'request', to: `${host}:${port}`, rule: denied.rule, reason: denied.reason, wouldAllow: denied.wouldAllow });
  else connection.bytes[direction] += bytes;
  return denied === null;
}

export function wayOf(passing: PassingRequest, direction: 'out' | 'in'): Pick<Way, 'turn' | 'pass'> {
  return { turn: passing.context.admitted.turn, pass: (bytes) => passBytes(passing, direction, bytes) };
}

interface Body {
  readonly from: Readable;
  readonly to: Writable;
  readonly passing: PassingRequest;
  readonly cut: (denied: EgressDenied) => void;
}

/** Sends a body on: as it was read, where it was, and else as it comes. One whose length was not said is cut where it becomes longer than it may be. */
export function passBody({ from, to, passing, cut }: Body): void {
  const { request: { bodyBytes, rule }, context: { admitted }, target: { host, port }, read } = passing;
  const passed = denial(BYTES_PASSED, 'a greater bytes', rule);
  if (read !== null) {
    if (passBytes(passing, 'out', read.body.length)) to.end(read.body);
    else cut(passed);
    return;
  }
  let sent = 0;
  let tooLong: EgressDenied | null = null;
  carry({
    from, to, turn: admitted.turn,
    pass: (bytes) => {
      sent += bytes;
      if (bodyBytes === null || sent <= bodyBytes) return passBytes(passing, 'out', bytes);
      tooLong = denial(`the body is longer than the ${bodyBytes} bytes that the rule allows`, 'a greater bodyBytes', rule);
      admitted.refuse({ what: 'request', to: `${host}:${port}`, rule, reason: tooLong.reason, wouldAllow: tooLong.wouldAllow });
      return false;
    },
    cut: () => cut(tooLong ?? passed),
  });
}

/**
 * What a server answers, as long as no secret that goes to it comes back in that: it is for the server, and not for who asked.
 * Null: it has come back in the head, or what follows cannot be read.
 */
export function withoutSecrets(reply: Pick<IncomingMessage, 'headers' | 'rawHeaders' | 'statusMessage'>, passing: PassingRequest, cut: () => void, body: Readable, framing: Framing | null = framingOf(reply)): Readable | null {
  const { echoes } = passing.injected;
  if (echoes.length === 0) return body;
  const encodings = [reply.headers['content-encoding'], reply.headers['grpc-encoding']].map((encoding) => [encoding ?? 'identity'].flat().join().toLowerCase());
  if (encodings.some((encoding) => encoding !== 'identity') || holdsAny([reply.statusMessage, ...reply.rawHeaders].join('\n'), echoes)) {
    cameBack(passing);
    body.destroy();
    return null;
  }
  const guard = new EchoGuard(echoes, framing);
  guard.on('error', () => {
    cameBack(passing);
    body.destroy();
    cut();
  });
  body.once('close', () => guard.destroyed || body.readableEnded || guard.destroy());
  return body.pipe(guard);
}

/** A message of gRPC is not to wait for the next. */
function framingOf({ headers }: Pick<IncomingMessage, 'headers'>): Framing | null {
  return headers['content-type']?.startsWith('application/grpc') === true ? GRPC : null;
}

/** Whether fields that follow a body may pass: no secret that went out comes back in them. */
export function mayFollow(rawTrailers: readonly string[], passing: PassingRequest): boolean {
  if (!holdsAny(rawTrailers.join('\n'), passing.injected.echoes)) return true;
  cameBack(passing);
  return false;
}

function cameBack({ context: { admitted }, target: { host, port } }: PassingRequest): void {
  admitted.refuse({ what: 'answer', to: `${host}:${port}`, rule: null, reason: CAME_BACK });
}
