import { Cursor } from './cursor.ts';

/** What a TLS client says in the clear before anything is encrypted (RFC 8446 §4.1.2). Texts are as they were sent. */
export interface ClientHello {
  /** Printable ASCII, not checked any further: it may be an address, or end in a dot (RFC 6066 §3). Null: none is named. */
  readonly serverName: string | null;
  /** Protocols in the order of preference (RFC 7301 §3.1), one byte per character. */
  readonly alpn: readonly string[];
  /** Versions on offer, 0x0304 being TLS 1.3; numbers that are none are there too (RFC 8701). */
  readonly versions: readonly number[];
  /**
   * Whether there is an encrypted hello (RFC 9849) or its forerunner: the server may then take another name than `serverName`
   * for meant. Browsers send one filled at random to every server, and nobody but the server can tell.
   */
  readonly ech: boolean;
}

export type HelloState = { readonly need: 'more' } | { readonly hello: ClientHello } | { readonly refused: string };

/** Most bytes that a hello may take, records and all. Key shares of post-quantum groups need a few KiB, never this. */
const HELLO_BYTES_MAX = 65_536;
/** Most records that it may come in: each costs, however small, and no client needs more than a few. */
const HELLO_RECORDS_MAX = 64;
/** RFC 8446 §5.1 */
const RECORD_HEADER_BYTES = 5;
const RECORD_BYTES_MAX = 16_384;
const CONTENT_HANDSHAKE = 22;
/** RFC 8446 §4 */
const CLIENT_HELLO = 1;
const RANDOM_BYTES = 32;
const SESSION_ID_BYTES_MAX = 32;
const SERVER_NAME_BYTES_MAX = 255;
const HOST_NAME = 0;
/** 0xffce is encrypted_server_name, which a few servers still read. */
const EXTENSION = { serverName: 0, alpn: 16, supportedVersions: 43, encryptedServerName: 0xffce, encryptedClientHello: 0xfe0d } as const;

/**
 * Reads a ClientHello from what a client sends, in whatever pieces it comes: one message over several records too (RFC 8446 §5.1).
 * Holds at most 64 KiB and takes every byte once, so that the cost is linear however small the pieces are. It is as strict as the
 * strictest server: where two readers could see different names there is no name but a refusal. A verdict stays what it is.
 */
export class ClientHelloReader {
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES);
  #headerHas = 0;
  #recordLeft = 0;
  #received = 0;
  #records = 0;
  #message = Buffer.alloc(0);
  #messageHas = 0;
  #state: HelloState = { need: 'more' };

  /** Takes the next bytes. What follows the record in which the hello ends is not looked at: it belongs to the server. */
  push(chunk: Uint8Array): HelloState {
    const cursor = new Cursor(chunk);
    while ('need' in this.#state && cursor.left > 0) this.#state = this.#recordLeft === 0 ? this.#readHeader(cursor) : this.#readRecord(cursor);
    return this.#state;
  }

  #readHeader(cursor: Cursor): HelloState {
    const piece = cursor.take(Math.min(RECORD_HEADER_BYTES - this.#headerHas, cursor.left));
    piece.copy(this.#header, this.#headerHas);
    this.#headerHas += piece.length;
    const refused = refuseHeader(this.#header.subarray(0, this.#headerHas), this.#received > 0);
    if (refused !== null) return { refused };
    if (this.#headerHas < RECORD_HEADER_BYTES) return { need: 'more' };
    this.#recordLeft = this.#header.readUInt16BE(3);
    this.#received += RECORD_HEADER_BYTES + this.#recordLeft;
    this.#headerHas = 0;
    this.#records += 1;
    if (this.#records > HELLO_RECORDS_MAX) return { refused: `a ClientHello in more than ${HELLO_RECORDS_MAX} records` };
    return this.#received > HELLO_BYTES_MAX ? { refused: `a ClientHello of more than ${HELLO_BYTES_MAX} bytes` } : { need: 'more' };
  }

  #readRecord(cursor: Cursor): HelloState {
    const piece = cursor.take(Math.min(this.#recordLeft, cursor.left));
    this.#recordLeft -= piece.length;
    this.#append(piece);
    const head = new Cursor(this.#message.subarray(0, this.#messageHas));
    if (head.u8() !== CLIENT_HELLO) return { refused: 'a handshake that does not begin with a ClientHello' };
    const length = head.u24();
    if (head.short) return { need: 'more' };
    if (length > HELLO_BYTES_MAX) return { refused: `a ClientHello of more than ${HELLO_BYTES_MAX} bytes` };
    if (head.left + this.#recordLeft > length) return { refused: 'bytes behind the ClientHello in its record' };
    return head.left === length ? readBody(head.take(length)) : { need: 'more' };
  }

  /** Room is doubled, so that a byte is moved twice at most on average. */
  #append(piece: Buffer): void {
    const needed = this.#messageHas + piece.length;
    if (needed > this.#message.length) {
      const larger = Buffer.alloc(Math.max(needed, Math.min(this.#message.length * 2, HELLO_BYTES_MAX)));
      this.#message.copy(larger, 0, 0, this.#messageHas);
      this.#message = larger;
    }
    piece.copy(this.#message, this.#messageHas);
    this.#messageHas = needed;
  }
}

/** Reads a whole hello at once. For bytes that are still coming a reader is kept: this begins anew each time. */
export function readClientHello(bytes: Uint8Array): HelloState {
  return new ClientHelloReader().push(bytes);
}

/** What is wrong with the bytes of a record header that are there, which may be one. */
function refuseHeader(header: Buffer, isFollowing: boolean): string | null {
  const [type = CONTENT_HANDSHAKE, major = 3, third] = header;
  if (type !== CONTENT_HANDSHAKE) {
    if (isFollowing) return `a record of type ${type} inside the ClientHello`;
    // SSLv2 has a length of two bytes whose first bit is set, then the type of the message (RFC 6101 appendix E).
    if (type < 0x80) return 'not TLS';
    return third === undefined ? null : third === CLIENT_HELLO ? 'a hello of SSLv2' : 'not TLS';
  }
  if (major !== 3) return 'not TLS';
  if (header.length < RECORD_HEADER_BYTES) return null;
  const length = header.readUInt16BE(3);
  if (length === 0) return 'an empty record';
  return length > RECORD_BYTES_MAX ? `a record of ${length} bytes` : null;
}

function readBody(body: Buffer): HelloState {
  const cursor = new Cursor(body);
  const version = cursor.u16();
  cursor.take(RANDOM_BYTES);
  const [sessionId, ciphers, compressions] = [cursor.vector8(), cursor.vector16(), cursor.vector8()];
  if (cursor.short) return MALFORMED;
  if (version >> 8 !== 3) return { refused: `TLS version ${version}` };
  if (sessionId.length > SESSION_ID_BYTES_MAX || ciphers.length === 0 || ciphers.length % 2 !== 0 || !compressions.includes(0)) return MALFORMED;
  // Extensions may be missing altogether, as clients of TLS 1.0 leave them out (RFC 5246 §7.4.1.2).
  const extensions = cursor.left === 0 ? Buffer.alloc(0) : cursor.vector16();
  return cursor.exact ? readExtensions(new Cursor(extensions), version) : MALFORMED;
}

const MALFORMED: HelloState = { refused: 'a ClientHello whose lengths disagree' };

function readExtensions(cursor: Cursor, version: number): HelloState {
  const found = new Map<number, Buffer>();
  while (cursor.left > 0) {
    const type = cursor.u16();
    if (found.has(type)) return { refused: `extension ${type} twice` };
    found.set(type, cursor.vector16());
  }
  if (cursor.short) return MALFORMED;
  const serverName = readServerName(found.get(EXTENSION.serverName));
  if (typeof serverName === 'object' && serverName !== null) return serverName;
  const alpn = readAlpn(found.get(EXTENSION.alpn));
  const versions = readVersions(found.get(EXTENSION.supportedVersions), version);
  if (alpn === null || versions === null) return MALFORMED;
  return { hello: { serverName, alpn, versions, ech: found.has(EXTENSION.encryptedClientHello) || found.has(EXTENSION.encryptedServerName) } };
}

/** RFC 6066 §3. One name, of the one type there is: which of several a server takes is its own affair. */
function readServerName(data: Buffer | undefined): string | null | { readonly refused: string } {
  if (data === undefined) return null;
  const cursor = new Cursor(data);
  const list = new Cursor(cursor.vector16());
  const [type, name] = [list.u8(), list.vector16()];
  if (!cursor.exact || list.short || name.length === 0) return { refused: 'a server name whose lengths disagree' };
  if (list.left > 0) return { refused: 'more than one server name' };
  if (type !== HOST_NAME) return { refused: `a server name of type ${type}` };
  if (name.length > SERVER_NAME_BYTES_MAX) return { refused: `a server name of ${name.length} bytes` };
  if (!name.every((byte) => byte > 0x20 && byte < 0x7f)) return { refused: 'a server name that is not printable ASCII' };
  return name.toString('latin1');
}

/** RFC 7301 §3.1 */
function readAlpn(data: Buffer | undefined): readonly string[] | null {
  if (data === undefined) return [];
  const cursor = new Cursor(data);
  const list = new Cursor(cursor.vector16());
  const protocols: string[] = [];
  while (list.left > 0) protocols.push(list.vector8().toString('latin1'));
  return !cursor.exact || list.short || protocols.length === 0 || protocols.includes('') ? null : protocols;
}

/** RFC 8446 §4.2.1. Where there is no such extension the version of the hello is the only one. */
function readVersions(data: Buffer | undefined, version: number): readonly number[] | null {
  if (data === undefined) return [version];
  const cursor = new Cursor(data);
  const list = new Cursor(cursor.vector8());
  const versions: number[] = [];
  while (list.left > 0) versions.push(list.u16());
  return !cursor.exact || list.short || versions.length === 0 ? null : versions;
}
