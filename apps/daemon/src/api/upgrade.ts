import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Problem } from '@caisson/contract';
import type { Asking } from '@caisson/sandbox';
import type { Caller } from './access.ts';
import type { ApiRooms } from './rooms.ts';
import type { Streams } from './streams.ts';

/** A request to become a connection of another protocol, from a caller who may. */
export interface Upgrade {
  readonly caller: Caller;
  readonly asking: Asking;
  readonly params: Readonly<Record<string, string>>;
  readonly query: string;
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly rooms: ApiRooms;
  readonly streams: Streams;
  /** What the caller is told of what was thrown when it has its connection. */
  told(thrown: unknown): Problem;
  /** How often an attached client is asked whether it is there. */
  readonly pingMs: number;
}
