import { connect, type Socket } from 'node:net';
import type { AddressException } from './address-judge.ts';

/** An address that was checked: this one is connected to, and not the name again. */
export interface Checked {
  readonly address: string;
  readonly family: 4 | 6;
  readonly exception: AddressException | null;
}

/** Longest for one address, and addresses that are tried. */
const CONNECT_MS = 10_000;
const ADDRESSES_TRIED = 3;
const KEEP_ALIVE_MS = 60_000;

export type Dialled = { readonly socket: Socket; readonly to: Checked } | { readonly failed: string };

/** Connects to an address that was checked: the first that answers, in their order. */
export async function dial(addresses: readonly Checked[], port: number, signal: AbortSignal): Promise<Dialled> {
  let failed = 'it has no address';
  for (const to of addresses.slice(0, ADDRESSES_TRIED)) {
    const dialled = await dialOne(to, port, signal);
    if (typeof dialled !== 'string') return { socket: dialled, to };
    failed = `${to.address}: ${dialled}`;
    if (signal.aborted) break;
  }
  return { failed };
}

function dialOne({ address, family }: Checked, port: number, signal: AbortSignal): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, family, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    const settle = (result: Socket | string): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      socket.off('connect', connected);
      if (typeof result === 'string') socket.destroy();
      resolve(result);
    };
    const connected = (): void => settle(socket);
    const abort = (): void => settle('given up');
    const timer = setTimeout(() => settle(`no answer within ${CONNECT_MS} ms`), CONNECT_MS);
    socket.on('connect', connected);
    socket.on('error', (error: NodeJS.ErrnoException) => settle(error.code ?? error.message)); // stays: a socket without one throws
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}
