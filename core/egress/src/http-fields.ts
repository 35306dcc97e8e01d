import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';

/** RFC 9110 §7.6.1, and what is between the client and the gate alone. */
export const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

/** Header fields that go on to the other side, each as often as it came. Host and whatever frames the message are written anew. */
export function passedOn(rawHeaders: readonly string[]): Readonly<Record<string, string[]>> {
  const pairs = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [{ name: name.toLowerCase(), value: rawHeaders[at + 1] ?? '' }] : []));
  const ofThisHop = new Set(pairs.flatMap(({ name, value }) => (name === 'connection' ? value.toLowerCase().split(',').map((token) => token.trim()) : [])));
  const fields: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (const { name, value } of pairs) {
    if (!HOP_BY_HOP.has(name) && !ofThisHop.has(name) && name !== 'host') (fields[name] ??= []).push(value);
  }
  return fields;
}

/** How long the body is, as the parser has understood it. */
export function lengthFields({ headers }: Pick<IncomingMessage, 'headers'>): OutgoingHttpHeaders {
  if (headers['content-length'] !== undefined) return { 'content-length': headers['content-length'] };
  return headers['transfer-encoding'] === undefined ? {} : { 'transfer-encoding': 'chunked' };
}

/** The head of a response as it came: for a connection that is another protocol's from here on. */
export function headText({ statusCode, statusMessage, rawHeaders }: Pick<IncomingMessage, 'statusCode' | 'statusMessage' | 'rawHeaders'>): string {
  const lines = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${rawHeaders[at + 1] ?? ''}`] : []));
  return [`HTTP/1.1 ${statusCode ?? 502} ${statusMessage ?? ''}`, ...lines, '', ''].join('\r\n');
}

/** The head of a response whose body ends with the connection. */
export function closingHead({ statusCode, statusMessage, rawHeaders }: IncomingMessage): string {
  const fields = Object.entries(passedOn(rawHeaders)).flatMap(([name, values]) => [values ?? []].flat().flatMap((value) => [name, String(value)]));
  return headText({ statusCode, statusMessage, rawHeaders: [...fields, 'connection', 'close'] });
}
