import type { Connection } from './connection.ts';
import { CaissonError, invalidAnswer } from './errors.ts';
import { eventData, openEvents, type EventStream } from './events.ts';
import type { ExecInfo, ExecRequest, OutputEvent } from './generated.ts';
import { askJson, lost, pause, WORKED_MS, type Ask } from './http.ts';
import { problemOf } from './problem.ts';
import type { ServerEvent } from './sse.ts';

/** Bytes that a command wrote. */
export interface OutputChunk {
  readonly stream: 'stdout' | 'stderr';
  /** Bytes of both streams together that came before these. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Names one exec. */
export interface ExecPlace {
  readonly sandbox: string;
  readonly exec: string;
}

export const execsPath = (sandbox: string): string => `/v1/sandboxes/${encodeURIComponent(sandbox)}/execs`;
export const execPath = ({ sandbox, exec }: ExecPlace): string => `${execsPath(sandbox)}/${encodeURIComponent(exec)}`;

export interface Started {
  readonly info: ExecInfo;
  /** What follows, from offset 0 on. */
  readonly events: EventStream;
}

export interface StartRequest {
  readonly sandbox: string;
  readonly request: ExecRequest;
  /** Under which the same start is asked for again when the connection breaks: the command is started once. */
  readonly key: string;
}

/** Starts a command, once, however often the connection breaks, and follows it in the same request. */
export function startExec(connection: Connection, start: StartRequest): Promise<Started> {
  return startedOnce(connection, start, (ask) => startedBy(connection, ask));
}

/** Starts a command, once, however often the connection breaks, and leaves it. */
export function startUnfollowed(connection: Connection, start: StartRequest): Promise<ExecInfo> {
  return startedOnce(connection, start, (ask) => askJson(connection, ask));
}

async function startedOnce<T>(connection: Connection, { sandbox, request, key }: StartRequest, once: (ask: Ask) => Promise<T>): Promise<T> {
  const ask: Ask = { method: 'POST', path: execsPath(sandbox), json: request, headers: { 'idempotency-key': key }, repeatable: true, patience: 'brief' };
  const patience = patienceOf(connection);
  for (;;) {
    try {
      return await once(ask);
    } catch (error) {
      await patience.failed(error);
    }
  }
}

async function startedBy(connection: Connection, ask: Ask): Promise<Started> {
  const events = await openEvents(connection, ask);
  try {
    const event = await events.next();
    if (event?.event === 'started') return { info: eventData(event) as ExecInfo, events };
    if (event === null || event.event === 'drain') throw lost(connection, 'it ended before the command had started');
    throw event.event === 'problem' ? eventProblem(event) : invalidAnswer(`the first event of an exec was ${event.event}`);
  } catch (error) {
    events[Symbol.dispose]();
    throw error;
  }
}

export interface FollowOptions {
  /** Offset to begin at. Default 0. */
  readonly from?: number;
  readonly signal?: AbortSignal | undefined;
  /** A stream that is open already, and begins at `from`. */
  readonly events?: EventStream;
}

/**
 * What a command writes, each byte once and in order, and then its end. A connection that breaks is opened again where it
 * broke off, for as long as the connection's `reconnectMs` without progress.
 */
export async function* follow(connection: Connection, place: ExecPlace, { from = 0, signal, events }: FollowOptions = {}): AsyncGenerator<OutputChunk, ExecInfo> {
  const patience = patienceOf(connection, signal);
  let next = from;
  let open = events;
  try {
    for (;;) {
      let event: ServerEvent;
      try {
        open ??= await openEvents(connection, { method: 'GET', path: `${execPath(place)}/output`, query: { from: next }, repeatable: true, patience: 'brief', signal });
        event = await nextOf(connection, open, signal);
      } catch (error) {
        open?.[Symbol.dispose]();
        open = undefined;
        await patience.failed(error);
        continue;
      }
      if (event.event === 'end') {
        open.finish();
        open = undefined;
        return eventData(event) as ExecInfo;
      }
      const chunk = event.event === 'output' ? chunkOf(eventData(event) as OutputEvent, next) : null;
      if (chunk === null) continue;
      next = chunk.offset + chunk.bytes.byteLength;
      yield chunk;
      patience.progressed();
    }
  } finally {
    open?.[Symbol.dispose]();
  }
}

/** The next event. An abort ends the wait for it, and the stream. @throws CaissonError CONNECTION_LOST at the end of the stream */
async function nextOf(connection: Connection, events: EventStream, signal: AbortSignal | undefined): Promise<ServerEvent> {
  const close = (): void => events[Symbol.dispose]();
  signal?.addEventListener('abort', close, { once: true });
  if (signal?.aborted === true) close();
  try {
    const event = await events.next();
    if (event === null || event.event === 'drain') throw lost(connection, 'it ended before the command did');
    if (event.event === 'problem') throw eventProblem(event);
    return event;
  } finally {
    signal?.removeEventListener('abort', close);
  }
}

interface Patience {
  /** Waits before another try. @throws the error when it is none that passes, or the connection has been away for too long */
  failed(error: unknown): Promise<void>;
  progressed(): void;
}

function patienceOf(connection: Connection, signal?: AbortSignal): Patience {
  let awaySinceMs: number | undefined;
  let lastMs = performance.now();
  let repetition = 0;
  const progressed = (): void => {
    awaySinceMs = undefined;
    repetition = 0;
    lastMs = performance.now();
  };
  return {
    progressed,
    async failed(error) {
      signal?.throwIfAborted();
      if (!isPassing(error)) throw error;
      const nowMs = performance.now();
      if (isLost(error) && nowMs - lastMs >= WORKED_MS) progressed();
      awaySinceMs ??= nowMs;
      if (nowMs - awaySinceMs >= connection.reconnectMs) throw error;
      await pause(repetition++, signal);
      lastMs = performance.now();
    },
  };
}

const isLost = (error: unknown): boolean => error instanceof CaissonError && error.code === 'CONNECTION_LOST';
/** Whether the connection failed, or was refused for now: the same may succeed a little later. */
export const isPassing = (error: unknown): boolean => error instanceof CaissonError && ['CONNECTION_LOST', 'DAEMON_UNREACHABLE', 'DRAINING'].includes(error.code);

function eventProblem(event: ServerEvent): CaissonError {
  const body = eventData(event) as { readonly status?: unknown };
  return problemOf(body, typeof body.status === 'number' ? body.status : 500);
}

/** What of an event is new after `next`; null when nothing is. @throws CaissonError ANSWER_INVALID when bytes are missing */
function chunkOf({ stream, offset, data }: OutputEvent, next: number): OutputChunk | null {
  if ((stream !== 'stdout' && stream !== 'stderr') || !Number.isSafeInteger(offset) || typeof data !== 'string') throw invalidAnswer('an event of output that is none');
  if (offset > next) throw invalidAnswer(`the output from ${next} to ${offset} is missing`);
  const bytes = Buffer.from(data, 'base64');
  const known = next - offset;
  return known >= bytes.length ? null : { stream, offset: offset + known, bytes: bytes.subarray(known) };
}
