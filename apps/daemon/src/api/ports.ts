import { pipeline } from 'node:stream/promises';
import { CaissonError } from '@caisson/contract';
import type { Upgrade } from './upgrade.ts';

/** The protocol that a client names to be connected to a port of a sandbox. */
export const TCP_PROTOCOL = 'caisson-tcp';

/** Becomes a connection to a TCP port of the sandbox's own loopback: after the 101 the bytes are the port's. */
export async function connectPort({ rooms, params, caller, streams, asking, socket, head }: Upgrade): Promise<void> {
  const number = /^[1-9]\d{0,4}$/.test(params['port'] ?? '') ? Number(params['port']) : 0;
  if (number < 1 || number > 65_535) throw new CaissonError('REQUEST_INVALID', { detail: 'port: must be 1 to 65535' });
  using stream = streams.open(caller);
  const far = await rooms.sandboxes.dial(params['sandbox'] ?? '', number, asking);
  const cut = (): void => {
    socket.destroy();
    far.destroy();
  };
  stream.signal.addEventListener('abort', cut, { once: true });
  try {
    if (stream.signal.aborted) return cut();
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${TCP_PROTOCOL}\r\n\r\n`);
    if (head.length > 0) far.write(head);
    await Promise.all([pipeline(socket, far), pipeline(far, socket)]);
  } catch {
    cut(); // a connection that broke is over for both sides; there is nobody left to tell
  }
}
