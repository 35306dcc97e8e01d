import { textOfBytes } from './address.ts';
import { Cursor } from './cursor.ts';

/** Replies to a request (RFC 1928 §6). */
export const SOCKS_REPLY = {
  succeeded: 0, failure: 1, notAllowed: 2, networkUnreachable: 3, hostUnreachable: 4, connectionRefused: 5, commandNotSupported: 7, addressTypeNotSupported: 8,
} as const;
export type SocksReply = (typeof SOCKS_REPLY)[keyof typeof SOCKS_REPLY];

/** Where a client wants to go. */
export interface SocksRequest {
  /** How it named the host. Only `name` is a text of its own; an address was sent as bytes and is written out here. */
  readonly type: 'name' | 'ipv4' | 'ipv6';
  /** A name is printable ASCII as it was sent: it may still be an address, or end in a dot. */
  readonly host: string;
  readonly port: number;
}

const VERSION = 5;
const VERSION_4 = 4;
const METHOD = { none: 0, noneAcceptable: 0xff } as const;
const COMMAND_CONNECT = 1;
const ADDRESS = { ipv4: 1, name: 3, ipv6: 4 } as const;

/** What to answer before the connection is closed; null: nothing, for what came is not SOCKS5. */
interface Refusal {
  readonly refused: string;
  readonly answer: Buffer | null;
}

/**
 * Reads the methods that a client offers (RFC 1928 §3) and chooses none at all: who asks is known by the interface. `answer` goes
 * back to it, `restAt` is where its request begins. Takes at most 257 bytes.
 */
export function readSocksGreeting(bytes: Uint8Array): { readonly need: 'more' } | { readonly answer: Buffer; readonly restAt: number } | Refusal {
  const cursor = new Cursor(bytes);
  if (cursor.left === 0) return { need: 'more' };
  const version = cursor.u8();
  if (version !== VERSION) return { refused: version === VERSION_4 ? 'SOCKS4' : 'not SOCKS5', answer: null };
  if (cursor.left === 0) return { need: 'more' };
  const methods = cursor.vector8();
  if (cursor.short) return { need: 'more' };
  if (!methods.includes(METHOD.none)) return { refused: 'no method but those with a password or the like', answer: Buffer.of(VERSION, METHOD.noneAcceptable) };
  return { answer: Buffer.of(VERSION, METHOD.none), restAt: cursor.at };
}

/**
 * Reads a request (RFC 1928 §4). An address is read like a name and is for the caller to refuse, who records where to. `restAt` is
 * where that which follows begins. Takes at most 262 bytes; what cannot become a request is refused at the byte that shows it.
 */
export function readSocksRequest(bytes: Uint8Array): { readonly need: 'more' } | { readonly request: SocksRequest; readonly restAt: number } | Refusal {
  const cursor = new Cursor(bytes);
  const has = cursor.left;
  const [version, command, reserved, type] = [cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8()];
  if (has > 0 && version !== VERSION) return { refused: 'not SOCKS5', answer: null };
  if (has > 1 && command !== COMMAND_CONNECT) return refuse(`command ${command}: only CONNECT is served`, SOCKS_REPLY.commandNotSupported);
  if (has > 2 && reserved !== 0) return refuse('a reserved byte that is not zero', SOCKS_REPLY.failure);
  if (cursor.short) return { need: 'more' };
  const host = readHost(cursor, type);
  if ('refused' in host) return host;
  const port = cursor.u16();
  if (cursor.short) return { need: 'more' };
  return port === 0 ? refuse('port 0', SOCKS_REPLY.failure) : { request: { ...host, port }, restAt: cursor.at };
}

/** What is not all there yet is read as far as it goes: then the cursor is short, and nobody looks at it. */
function readHost(cursor: Cursor, type: number): Pick<SocksRequest, 'type' | 'host'> | Refusal {
  switch (type) {
    case ADDRESS.name: {
      const length = cursor.u8();
      const name = cursor.take(length);
      if (length === 0 && !cursor.short) return refuse('a name of no bytes', SOCKS_REPLY.failure);
      if (!name.every((byte) => byte > 0x20 && byte < 0x7f)) return refuse('a name that is not printable ASCII', SOCKS_REPLY.failure);
      return { type: 'name', host: name.toString('latin1') };
    }
    case ADDRESS.ipv4: return { type: 'ipv4', host: textOfBytes(Buffer.concat([cursor.take(4)], 4)) };
    case ADDRESS.ipv6: return { type: 'ipv6', host: textOfBytes(Buffer.concat([cursor.take(16)], 16)) };
    default: return refuse(`address type ${type}`, SOCKS_REPLY.addressTypeNotSupported);
  }
}

const refuse = (refused: string, reply: SocksReply): Refusal => ({ refused, answer: writeSocksReply(reply) });

/** A reply to a request (RFC 1928 §6). The address of our end is none of the client's business, and zeros. */
export function writeSocksReply(reply: SocksReply): Buffer {
  return Buffer.of(VERSION, reply, 0, ADDRESS.ipv4, 0, 0, 0, 0, 0, 0);
}
