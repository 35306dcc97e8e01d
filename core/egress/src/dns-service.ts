import type { Socket as UdpSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import type { Admitted } from './admitted.ts';
import { RCODE, readFramed, readQuery, writeAnswer, writeFramed, writeRefusal, type Query, type RefusedQuery } from './dns.ts';
import { canonicalHost } from './host.ts';

/** Short, so that a change of rules is seen; what it stood for, an address goes on standing for. */
const TTL_SECONDS = 5;
/** Longest that a TCP connection to the resolver may say nothing. */
const TCP_IDLE_MS = 5_000;
const TYPE_AND_CLASS_BYTES = 4;

type Find = (address: string | undefined) => Admitted | undefined;

/** Answers for the names that a sandbox may speak to, and says of every other that there is none. Nothing is passed on. */
function answerQuery(bytes: Uint8Array, admitted: Admitted | undefined): Buffer | null {
  const query = readQuery(bytes);
  if (query === null || admitted === undefined) return null;
  if ('refused' in query) {
    admitted.refuse({ what: 'name', to: nameOf(query), rule: null, reason: `no query for a host name: answered with code ${query.refused}` });
    return writeRefusal(query);
  }
  const address = standIn(query, admitted);
  return writeAnswer(query, { rcode: address === null ? RCODE.nxDomain : RCODE.noError, addresses: address === null ? [] : [address], ttlSeconds: TTL_SECONDS });
}

/** What was asked for, as far as it can be read. */
function nameOf({ question }: RefusedQuery): string {
  return question.length === 0 ? 'a malformed query' : question.toString('latin1', 0, question.length - TYPE_AND_CLASS_BYTES);
}

function standIn({ name }: Query, admitted: Admitted): string | null {
  const parsed = canonicalHost(name);
  const decision = admitted.decideName(name);
  if ('refused' in parsed || decision.effect === 'deny') {
    const { rule = null, reason, wouldAllow } = decision.effect === 'deny' ? decision : { reason: 'not a name', wouldAllow: 'a host name' };
    admitted.refuse({ what: 'name', to: name, rule, reason, wouldAllow });
    return null;
  }
  const address = admitted.names.addressOf(parsed.host);
  if (address === null) admitted.refuse({ what: 'name', to: name, rule: null, reason: 'the sandbox has as many names as it gets' });
  return address;
}

export function serveDnsUdp(socket: UdpSocket, find: Find): void {
  socket.on('message', (bytes, from) => {
    const answer = answerQuery(bytes, find(from.address));
    if (answer !== null) socket.send(answer, from.port, from.address);
  });
}

export function serveDnsTcp(server: Server, find: Find): void {
  server.on('connection', (socket: Socket) => {
    const admitted = find(socket.remoteAddress);
    if (admitted === undefined || !admitted.take(socket)) return void socket.resetAndDestroy();
    let held: Buffer = Buffer.alloc(0);
    let waiting: NodeJS.Timeout | undefined;
    // One sandbox that asks without end, or reads no answers, waits, and the others do not.
    const work = (): void => {
      waiting = undefined;
      while (!socket.destroyed) {
        const framed = readFramed(held);
        if ('refused' in framed) return void socket.destroy();
        if ('need' in framed) break;
        const waitMs = socket.writableNeedDrain ? Infinity : admitted.queries.take();
        if (waitMs > 0) {
          socket.pause();
          if (waitMs < Infinity) waiting = setTimeout(work, waitMs);
          return;
        }
        held = held.subarray(framed.next);
        const answer = answerQuery(framed.message, admitted);
        if (answer === null) return void socket.destroy();
        socket.write(writeFramed(answer));
      }
      socket.resume();
    };
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => clearTimeout(waiting));
    socket.on('end', () => socket.end());
    socket.on('drain', () => waiting ?? work());
    socket.on('data', (piece: Buffer) => {
      held = held.length === 0 ? piece : Buffer.concat([held, piece]);
      if (waiting === undefined) work();
    });
  });
}
