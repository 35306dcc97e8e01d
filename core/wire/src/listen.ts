import { chmodSync, chownSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';

export interface Listening extends AsyncDisposable {
  readonly connections: ReadonlySet<Socket>;
}

/**
 * Listens on a Unix socket. The file's mode is 0600 and its owner the one peer that may connect: access to the
 * socket is the authority to speak. A socket file left by a dead process is replaced.
 */
export async function listenUnix(
  path: string,
  { owner, group }: { readonly owner?: number | undefined; readonly group?: number | undefined },
  onConnection: (socket: Socket) => void,
): Promise<Listening> {
  const connections = new Set<Socket>();
  const server: Server = createServer((socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
    onConnection(socket);
  });
  await bindUnix(server, path, { owner, group });
  return {
    connections,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Has a server of any protocol listen on a Unix socket, on the terms of `listenUnix`. */
export async function bindUnix(
  server: Server,
  path: string,
  { owner, group }: { readonly owner?: number | undefined; readonly group?: number | undefined },
): Promise<void> {
  rmSync(path, { force: true });
  const listening = new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', resolve);
  });
  // The umask is the whole process's: bind(2) makes the file within this one call, before anything else can run.
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await listening;
  if (group !== undefined) {
    chownSync(path, -1, group);
    chmodSync(path, 0o660);
  }
  if (owner !== undefined) chownSync(path, owner, -1);
}
