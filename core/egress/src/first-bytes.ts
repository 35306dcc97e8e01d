import type { Socket } from 'node:net';

/** Longest that the beginning of a connection may take, however slowly its bytes come. */
const FIRST_MS = 10_000;

export type First<T> = { readonly value: T; readonly bytes: Buffer } | { readonly gone: string };

/**
 * Reads from the beginning of a connection until `read` has seen enough; the socket is paused then, and `bytes` is all that
 * was read. `read` gets what has come since the last call, and all of it; null: more is needed. It bounds how much that is.
 */
export function readFirst<T>(socket: Socket, head: Buffer, read: (piece: Buffer, all: () => Buffer) => T | null): Promise<First<T>> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let settled = false;
    const all = (): Buffer => {
      if (pieces.length > 1) pieces.splice(0, pieces.length, Buffer.concat(pieces));
      return pieces[0] ?? Buffer.alloc(0);
    };
    const settle = (first: First<T>): void => {
      settled = true;
      clearTimeout(timer);
      socket.off('data', take).off('end', gone).off('close', gone);
      socket.pause();
      resolve(first);
    };
    const take = (piece: Buffer): void => {
      pieces.push(piece);
      const value = read(piece, all);
      if (value !== null) settle({ value, bytes: all() });
    };
    const gone = (): void => settle({ gone: 'the client went away' });
    const timer = setTimeout(() => settle({ gone: `the client did not say within ${FIRST_MS} ms what it wants` }), FIRST_MS);
    if (socket.destroyed) return gone();
    if (head.length > 0) take(head);
    if (settled) return;
    socket.on('data', take).once('end', gone).once('close', gone);
    socket.resume();
  });
}
