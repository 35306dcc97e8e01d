import type { ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CaissonError, problemOf } from '@caisson/contract';
import { problemBody } from './problems.ts';
import type { Call } from './route.ts';

const HEARTBEAT_MS = 15_000;
const HEAD = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-accel-buffering': 'no' };

/** One server-sent event (HTML §9.2). JSON has no line break, so the data is one line. */
export function eventText(event: string, data: unknown, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Calls back when who asked leaves before the answer is whole, and at once when they have left: what is closed does not say so again. */
export function whenLeft(response: ServerResponse, left: () => void): void {
  if (response.destroyed) left();
  else response.once('close', () => response.writableFinished || left());
}

/** What is told, as its source comes to be; it is asked for when the stream is open. */
type Events = (signal: AbortSignal) => AsyncIterable<string> | Promise<AsyncIterable<string>>;

/**
 * Answers with events until there are no more, the client leaves, its token is revoked or Caisson stops. What fails
 * before the first event is an ordinary problem; after it, an event `problem`. A slow client holds its source back. Who may
 * not open a stream, or has left, is refused before the source is asked for: nothing is begun whose course cannot be told.
 *
 * @param headWaits whether the head of the answer waits for the first event, which is sure to come soon. Default false.
 * @throws CaissonError RATE_LIMITED, DRAINING, CANCELLED
 */
export async function sendEvents(call: Call, events: Events, { headWaits = false } = {}): Promise<void> {
  using stream = call.streams.open(call.caller);
  const { reply } = call;
  const response = reply.raw;
  whenLeft(response, () => stream.end(new CaissonError('CANCELLED', { detail: 'the caller went away' })));
  stream.signal.throwIfAborted();
  const iterator = (await events(stream.signal))[Symbol.asyncIterator]();
  const first = iterator.next();
  const isThere = headWaits || (await Promise.race([first.then(() => true), nextTurn(false)]));
  reply.hijack();
  response.writeHead(200, HEAD);
  if (!isThere) response.flushHeaders(); // otherwise they go with the first event
  const heartbeat = setInterval(() => response.writableNeedDrain || response.write(': \n\n'), HEARTBEAT_MS);
  try {
    for (let next = await first; next.done !== true && !stream.signal.aborted; next = await iterator.next()) {
      if (!response.write(next.value)) await drained(response, stream.signal);
    }
  } catch (error) {
    if (!stream.signal.aborted) response.write(eventText('problem', problemBody(call.told(error))));
  } finally {
    clearInterval(heartbeat);
    await iterator.return?.().catch(() => undefined);
    lastWord(response, stream.signal);
  }
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (response.destroyed || signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  response.on('drain', done).on('close', done);
  signal.addEventListener('abort', done);
  await promise;
  response.off('drain', done).off('close', done); // a stream may wait a million times
  signal.removeEventListener('abort', done);
}

function lastWord(response: ServerResponse, signal: AbortSignal): void {
  const { reason } = signal;
  if (!signal.aborted || !(reason instanceof CaissonError)) return void response.end();
  if (reason.code === 'DRAINING') return void response.end(eventText('drain', {}));
  if (reason.code === 'TOKEN_INVALID') response.write(eventText('problem', problemBody(problemOf(reason))));
  response.destroy();
}
