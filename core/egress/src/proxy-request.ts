import { DENIALS_URL } from './plan.ts';
import { readHead, valuesOf, type Refusal, type RequestHead } from './proxy-head.ts';

/** Where a client wants to go. The host is as it was sent, an IPv6 address in its brackets: nothing says yet that it is a name. */
export interface Authority {
  readonly host: string;
  readonly port: number;
}

/** A request that names its server in its target (RFC 9112 §3.2.2). */
export interface AbsoluteRequest extends Authority, Omit<RequestHead, 'target'> {
  /** Path and query, as the server is asked for them. Begins with a slash. */
  readonly target: string;
}

export type ProxyHead =
  | { readonly need: 'more' }
  | { readonly connect: Authority; readonly restAt: number }
  | { readonly absolute: AbsoluteRequest; readonly restAt: number }
  /** The gate itself is asked what it refused. */
  | { readonly denials: true; readonly restAt: number }
  | Refusal;

/** No user, no percent sign and nothing else that one reader ends a host with and another does not. */
const AUTHORITY = /^([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9]\d{0,4}))?$/;
const ABSOLUTE = /^http:\/\/([^/?#]*)([^#]*)$/i;
/** As a client asks that takes the gate for a server, and as one that is told that it is its proxy. */
const DENIALS = new Set(['/denials', DENIALS_URL]);
const HTTP_PORT = 80;
const PORT_MAX = 65_535;

const refuse = (reason: string): Refusal => ({ refused: 400, reason });

/**
 * Reads what a program sends that takes the gate for an HTTP proxy: `CONNECT host:port` (RFC 9110 §9.3.6) or a request whose
 * target is a whole `http:` address. `restAt` is where that which follows the head begins. A head may have 16 KiB.
 */
export function readProxyHead(bytes: Uint8Array): ProxyHead {
  const read = readHead(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (!('head' in read)) return read;
  const { method, target } = read.head;
  if (method === 'GET' && DENIALS.has(target)) return { denials: true, restAt: read.restAt };
  const asked = method === 'CONNECT' ? readConnect(read.head) : readAbsolute(read.head);
  return 'refused' in asked ? asked : { ...asked, restAt: read.restAt };
}

function readConnect(head: RequestHead): { readonly connect: Authority } | Refusal {
  const { host, port } = readAuthority(head.target) ?? {};
  if (host === undefined) return refuse('a target that is not a host and a port');
  if (port === undefined) return refuse('no port');
  if (head.body !== 0) return refuse('CONNECT with a body');
  return refuseHost(head, { host, port }) ?? { connect: { host, port } };
}

function readAbsolute({ target, ...head }: RequestHead): { readonly absolute: AbsoluteRequest } | Refusal {
  const [, authority = '', path = ''] = ABSOLUTE.exec(target) ?? [];
  if (authority === '') return refuse('a target that is neither of CONNECT nor a whole http: address');
  const { host, port = HTTP_PORT } = readAuthority(authority) ?? {};
  if (host === undefined) return refuse('an address whose host is none');
  if (head.version === '1.1' && valuesOf(head.headers, 'host').length === 0) return refuse('no Host');
  return refuseHost(head, { host, port }) ?? { absolute: { ...head, host, port, target: path.startsWith('/') ? path : `/${path}` } };
}

/** A host and the port, if there is one. Null: neither, or something more. */
function readAuthority(text: string): { readonly host: string; readonly port?: number } | null {
  const [, host, digits] = AUTHORITY.exec(text) ?? [];
  if (host === undefined) return null;
  if (digits === undefined) return { host };
  return Number(digits) <= PORT_MAX ? { host, port: Number(digits) } : null;
}

/** Host and target are one place. Clients leave the port out of Host, of CONNECT too; another host they never have. */
function refuseHost({ headers }: Pick<RequestHead, 'headers'>, { host, port }: Authority): Refusal | null {
  const values = valuesOf(headers, 'host');
  if (values.length > 1) return refuse('more than one Host');
  if (values[0] === undefined) return null;
  const said = readAuthority(values[0]);
  if (said?.host.toLowerCase() !== host.toLowerCase() || (said.port ?? port) !== port) return refuse('a Host that is not the target');
  return null;
}
