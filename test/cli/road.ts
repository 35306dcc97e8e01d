import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';

/** Told before each piece goes on: which way it goes, and the request that this connection made last, as `PUT /v1/…`. It goes on when the promise resolves. */
export type BeforePiece = (way: 'there' | 'back', request: string) => Promise<void> | void;

/** A road, whose end here is the socket. */
export interface Road extends AsyncDisposable {
  readonly socket: string;
}

/** A road of its own to the API at the socket `to`: a socket at `at` on which pieces come as late as `before` says. */
export async function roadTo(to: string, at: string, before: BeforePiece): Promise<Road> {
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to);
    let request = '';
    const pass = async (from: Socket, into: Socket, way: 'there' | 'back'): Promise<void> => {
      for await (const piece of from as AsyncIterable<Buffer>) {
        if (way === 'there') request = /^[A-Z]+ \S+(?= HTTP\/)/.exec(piece.toString('latin1'))?.[0] ?? request;
        await before(way, request);
        if (!into.write(piece)) await once(into, 'drain');
      }
      into.end();
    };
    for (const socket of [near, far]) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      socket.on('error', () => undefined); // the other side is told by the close
    }
    near.once('close', () => far.destroy());
    pass(near, far, 'there').catch(() => far.destroy());
    pass(far, near, 'back').catch(() => near.destroy());
  });
  server.listen(at);
  await once(server, 'listening');
  return {
    socket: at,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
  };
}
