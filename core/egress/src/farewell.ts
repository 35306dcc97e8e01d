import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Longest that a client may take to hear a last word. */
const LINGER_MS = 1_000;

/**
 * Says a last word and lets go of the connection, whether the client ever ends its half or not: half a connection costs as
 * much as a whole one. What still comes is taken and dropped, since an unread byte would take the word back (RFC 1122 §4.2.2.13).
 */
export function farewell(client: Socket, word: Uint8Array | string): void {
  const timer = setTimeout(() => client.destroy(), LINGER_MS);
  client.once('close', () => clearTimeout(timer));
  client.end(word);
  client.resume();
}

/**
 * Says a last word, whose length its head tells, in answer to a request of which some may still come: that is taken and dropped
 * before the connection is let go of, for the same reason (RFC 9112 §9.6).
 */
export function lastAnswer(response: ServerResponse, word: string): void {
  const { req: request } = response;
  if (request.complete) return void response.end(word);
  response.write(word);
  const end = (): void => void response.end();
  const timer = setTimeout(end, LINGER_MS);
  response.once('close', () => clearTimeout(timer));
  request.once('end', end);
  request.resume();
}
