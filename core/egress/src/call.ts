import type { Socket } from 'node:net';
import type { EgressDenied } from '@caisson/contract';
import type { Admitted } from './admitted.ts';
import type { Resolve } from './resolve.ts';

/** One attempt of a sandbox to connect to a name, by whatever door it came. */
export interface Call {
  readonly admitted: Admitted;
  readonly client: Socket;
  readonly host: string;
  readonly port: number;
  /** Bytes that the client sent after it had said where to. */
  readonly head: Buffer;
  /** Tells the client that it may go on, where it waits for that. */
  readonly accept: () => void;
  /** Tells the client that it may not, or that nobody answers, as far as its door has words for that, and ends the connection. */
  readonly deny: (denied: EgressDenied) => void;
  readonly fail: (why: string) => void;
}

/** What a connection needs of the gate. */
export interface GateRooms {
  readonly resolve: Resolve;
  readonly nowMs: () => number;
  /** Wall time in milliseconds since 1970 UTC. */
  readonly wallMs: () => number;
  /** The next number of a connection. */
  readonly nextId: () => number;
  /** Serves a connection on which every request is decided. */
  readonly serveHttp: (call: Call) => void;
  /** The same for what has come out of a TLS connection that the gate has ended. */
  readonly serveHttps: (call: Pick<Call, 'admitted' | 'client' | 'host' | 'port'>) => void;
}
