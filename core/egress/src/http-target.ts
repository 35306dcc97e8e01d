import type { IncomingMessage } from 'node:http';
import { splitHostPort, type Refused } from './host.ts';
import type { Destination } from './layers.ts';

/** Where a request goes, and what it asks for there. */
export interface Target extends Destination {
  /** The request target in origin form, or `*`. */
  readonly path: string;
}

const HTTP_PORT = 80;

/**
 * Where a request goes. The connection, the target and Host must name one and the same place: what differs between them is
 * what another reader might go by. @param meant where the connection goes; null: it is one to the proxy
 */
export function targetOf({ url = '', rawHeaders }: Pick<IncomingMessage, 'url' | 'rawHeaders'>, meant: Destination | null): Target | Refused {
  const said = partsOf(url);
  if ('refused' in said) return said;
  const port = meant?.port ?? HTTP_PORT;
  const named = hostField(rawHeaders, port);
  if ('refused' in named) return named;
  const asked = said.authority === null ? null : splitHostPort(said.authority, port);
  if (asked !== null && 'refused' in asked) return { refused: `the host in its target: ${asked.refused}` };
  const place = meant ?? asked;
  if (place === null) return { refused: 'a proxy is asked for a whole http: address' };
  for (const other of [named, asked ?? place]) {
    if (other.host !== place.host || other.port !== place.port) return { refused: `it names ${other.host}:${other.port} and goes to ${place.host}:${place.port}` };
  }
  return { host: place.host, port: place.port, path: said.path };
}

/** RFC 9112 §3.2: origin, absolute and asterisk form. */
function partsOf(url: string): { readonly authority: string | null; readonly path: string } | Refused {
  if (url === '*' || url.startsWith('/')) return { authority: null, path: url };
  const [, authority, path = ''] = /^http:\/\/([^/?#]+)([^#]*)$/i.exec(url) ?? [];
  if (authority === undefined) return { refused: 'its target is neither a path nor an http: address' };
  return { authority, path: path.startsWith('/') ? path : `/${path}` };
}

/** The one field Host (RFC 9112 §3.2). */
function hostField(rawHeaders: readonly string[], defaultPort: number): Destination | Refused {
  const hosts = rawHeaders.flatMap((name, at) => (at % 2 === 0 && name.toLowerCase() === 'host' ? [rawHeaders[at + 1] ?? ''] : []));
  if (hosts.length !== 1) return { refused: `a request has one Host, and this one has ${hosts.length}` };
  const named = splitHostPort(hosts[0] ?? '', defaultPort);
  return 'refused' in named ? { refused: `its Host: ${named.refused}` } : named;
}
