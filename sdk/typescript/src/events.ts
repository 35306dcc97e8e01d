import type { IncomingMessage } from 'node:http';
import type { Connection } from './connection.ts';
import { CaissonError, invalidAnswer } from './errors.ts';
import { askStream, lost, type Ask } from './http.ts';
import { eventParser, type ServerEvent } from './sse.ts';

/** The API says something at least every 15 seconds; a connection that is silent for longer is lost. */
const SILENCE_MOST_MS = 45_000;

/** Events as they come. Disposing of it closes the connection, and ends a wait for the next one. */
export interface EventStream extends Disposable {
  /** The next event; null at the end of the stream. @throws CaissonError CONNECTION_LOST, ANSWER_INVALID */
  next(): Promise<ServerEvent | null>;
  /** Lets go of a stream whose last event has come: its connection is used again. */
  finish(): void;
}

/** Longest that the end of a stream may take to come after its last event. */
const END_MOST_MS = 1_000;

/** Opens a stream of events. @throws CaissonError as `askStream` does */
export async function openEvents(connection: Connection, ask: Ask): Promise<EventStream> {
  const response = await askStream(connection, { ...ask, headers: { ...ask.headers, accept: 'text/event-stream' } });
  if (response.headers['content-type']?.startsWith('text/event-stream') !== true) {
    response.destroy();
    throw invalidAnswer(`${ask.path} answered with no event stream`);
  }
  const events = eventsOf(connection, response);
  return {
    async next() {
      const { value } = await events.next();
      return value ?? null;
    },
    finish() {
      const late = setTimeout(() => response.destroy(), END_MOST_MS);
      events.next().catch(() => undefined).finally(() => clearTimeout(late));
    },
    [Symbol.dispose]: () => void response.destroy(),
  };
}

async function* eventsOf(connection: Connection, response: IncomingMessage): AsyncGenerator<ServerEvent, void> {
  const parse = eventParser();
  const watch = (): NodeJS.Timeout => setTimeout(() => response.destroy(new Error(`nothing came for ${SILENCE_MOST_MS} ms`)), SILENCE_MOST_MS);
  let silence = watch();
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      clearTimeout(silence); // the time that the caller takes is not silence
      yield* parse(chunk);
      silence = watch();
    }
  } catch (error) {
    throw error instanceof CaissonError ? error : lost(connection, error);
  } finally {
    clearTimeout(silence);
  }
}

/** @throws CaissonError ANSWER_INVALID */
export function eventData({ event, data }: ServerEvent): unknown {
  try {
    return JSON.parse(data);
  } catch (error) {
    throw invalidAnswer(`an event ${event} that is not JSON`, error);
  }
}
