import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { Turn } from './turn.ts';

export interface RelayOptions {
  readonly client: Socket;
  readonly upstream: Socket;
  /** What was read of the client already. */
  readonly head: Buffer;
  /** Told of bytes before they pass; false: they may not, and the connection is cut. */
  readonly pass: (direction: 'out' | 'in', bytes: number) => boolean;
  /** Share of the event loop that this connection has together with others of its sandbox. Default: one of its own. */
  readonly turn?: Turn;
}

/** A connection in which no byte passes for this long is given up: the other end is gone, or holds it for nothing. */
const IDLE_MS = 3_600_000;

/** Carries bytes both ways, each way to its own end, until both have ended. Resolves when both sockets are closed. */
export function relay({ client, upstream, head, pass, turn = new Turn() }: RelayOptions): Promise<void> {
  const cut = (): void => {
    client.destroy();
    upstream.destroy();
  };
  const closed = [client, upstream].map((socket) => new Promise<void>((resolve) => {
    socket.setTimeout(IDLE_MS, cut);
    socket.on('error', cut);
    socket.once('close', (hadError) => {
      if (hadError || !socket.readableEnded) cut();
      resolve();
    });
    if (socket.closed) resolve();
  }));
  if (client.destroyed || upstream.destroyed) cut();
  else {
    carry({ from: client, to: upstream, head, turn, cut, pass: (bytes) => pass('out', bytes) });
    carry({ from: upstream, to: client, turn, cut, pass: (bytes) => pass('in', bytes) });
  }
  return Promise.all(closed).then(() => undefined);
}

/** One way of a connection. `pass` is told of bytes before they pass; false: they may not, and `cut` is called. */
export interface Way {
  readonly from: Readable;
  readonly to: Writable;
  readonly head?: Buffer;
  readonly turn: Turn;
  readonly pass: (bytes: number) => boolean;
  readonly cut: () => void;
}

/** One way of a connection: as fast as the other end takes it and the sandbox's share of a turn allows, to the end of `from`. */
export function carry({ from, to, head, turn, pass, cut }: Way): void {
  let isFull = false; // the other end takes no more
  let isWaiting = false; // for the next turn
  let isCut = false; // what still comes is dropped
  const goOn = (): void => {
    if (!isFull && !isWaiting) from.resume();
  };
  const hand = (chunk: Buffer): void => {
    if (isCut) return;
    isCut = !pass(chunk.length);
    if (isCut) return cut();
    isFull = !to.write(chunk);
    if (!isWaiting && !turn.spend(chunk.length)) {
      isWaiting = true;
      turn.wait(() => {
        isWaiting = false;
        goOn();
      });
    }
    if (isFull || isWaiting) from.pause();
  };
  if (head !== undefined && head.length > 0) hand(head);
  from.on('data', hand);
  to.on('drain', () => {
    isFull = false;
    goOn();
  });
  from.on('end', () => to.end());
  goOn();
}
