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
