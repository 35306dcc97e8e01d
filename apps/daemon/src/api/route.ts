import type { Readable } from 'node:stream';
import type { Problem } from '@caisson/contract';
import type { Asking } from '@caisson/sandbox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Caller, Right } from './access.ts';
import type { ApiRooms } from './rooms.ts';
import type { Streams } from './streams.ts';

/** One request of a known caller to a known route, parsed. */
export interface Call<Query = unknown, Body = unknown> {
  readonly caller: Caller;
  readonly asking: Asking;
  /** Parts of the path, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  readonly headers: FastifyRequest['headers'];
  /** The body as it arrives; for routes that take bytes. */
  readonly upload: Readable;
  readonly reply: FastifyReply;
  readonly rooms: ApiRooms;
  readonly streams: Streams;
  /** What the caller is told of what was thrown when the answer has begun. */
  told(thrown: unknown): Problem;
}

export type ByteType = 'application/octet-stream' | 'application/x-tar';

/** What the document says of the answer. */
export interface Answer {
  readonly status: 101 | 200 | 201 | 204;
  readonly schema?: z.ZodType;
  /** Type of the body. Default application/json; none for 204. */
  readonly type?: ByteType | 'text/event-stream';
  /** Server-sent events by name, with the schema of their data. */
  readonly events?: Readonly<Record<string, z.ZodType>>;
}

export interface Route<Query = unknown, Body = unknown> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As the document writes it, such as /v1/sandboxes/{sandbox}. */
  readonly path: string;
  /** One line: what it does. */
  readonly title: string;
  readonly right: Right;
  /** Query parameters. Default: none may be given. */
  readonly query?: z.ZodType<Query>;
  /** JSON body. Default: none may be given. */
  readonly body?: z.ZodType<Body>;
  /** The body is a stream of bytes. */
  readonly bytes?: ByteType;
  /** Whether a repeated request with the same Idempotency-Key gets the first answer. */
  readonly keyed?: boolean;
  /** What is put on record before it is done, for a change that no other room records. */
  readonly records?: string;
  readonly answers: readonly [Answer, ...Answer[]];
  /** Answers the call: what it resolves to is sent as JSON with the status of the first answer, unless the reply was taken. */
  handle(call: Call<Query, Body>): unknown;
}

/** A route whose handler knows the types of what its schemas let through. */
export function route<Query, Body>(made: Route<Query, Body>): Route {
  return made;
}

/** A part of the path that the pattern names. */
export function part(call: Pick<Call, 'params'>, name: string): string {
  return call.params[name] ?? '';
}

/** An object without the fields that are undefined. */
export function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
