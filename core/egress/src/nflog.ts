import { textOfBytes } from './address.ts';
import { Cursor } from './cursor.ts';

/** A packet that the kernel refused, as far as the copy that it logged says. */
export interface RefusedPacket {
  readonly family: 'ipv4' | 'ipv6';
  readonly source: string;
  readonly destination: string;
  /** `tcp`, `udp`, `icmp` (ICMPv6 too), or the number of another protocol (RFC 5237, RFC 8200 §4). */
  readonly protocol: string;
  /** Destination port of TCP and UDP. Null: another protocol, a later fragment, or a copy that ends before it. */
  readonly port: number | null;
  /** Index of the interface by which it came. */
  readonly interfaceIndex: number | null;
  /** What the rule that logged it calls itself. */
  readonly prefix: string | null;
}

/** linux/netlink.h: headers and attributes begin at multiples of four, in the byte order of the host. */
const MESSAGE_HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
const ATTRIBUTE_TYPE = 0x3fff;
/** struct nfgenmsg of linux/netfilter/nfnetlink.h. */
const FAMILY_HEADER_BYTES = 4;
/** NFNL_SUBSYS_ULOG and NFULNL_MSG_PACKET. */
const MESSAGE_PACKET = 0x0400;
/** linux/netfilter/nfnetlink_log.h */
const ATTRIBUTE = { packetHeader: 1, interfaceIn: 4, payload: 9, prefix: 10 } as const;
/** NF_LOG_PREFIXLEN */
const PREFIX_BYTES_MAX = 128;
/** linux/if_ether.h, by the version of IP. Zero: a packet that never had a link-layer header. */
const ETHER_TYPE: Readonly<Record<number, number>> = { 4: 0x0800, 6: 0x86dd };

/**
 * Reads the packets of one datagram from an nfnetlink_log socket (linux/netfilter/nfnetlink_log.h) of a little-endian host. The
 * headers are the kernel's, the copies of packets are a sandbox's. What is no packet, or shows no addresses, is passed over.
 */
export function readRefusedPackets(bytes: Uint8Array): readonly RefusedPacket[] {
  return pieces(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), { headerBytes: MESSAGE_HEADER_BYTES, lengthBytes: 4 })
    .filter((message) => message.readUInt16LE(4) === MESSAGE_PACKET && message.length >= MESSAGE_HEADER_BYTES + FAMILY_HEADER_BYTES)
    .flatMap((message) => readMessage(message.subarray(MESSAGE_HEADER_BYTES + FAMILY_HEADER_BYTES)) ?? []);
}

/** Cuts what begins with its own length. Ends at the first length that cannot be: nothing behind it has a known beginning. */
function pieces(bytes: Buffer, { headerBytes, lengthBytes }: { readonly headerBytes: number; readonly lengthBytes: 2 | 4 }): readonly Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = bytes.readUIntLE(at, lengthBytes);
    if (length < headerBytes || at + length > bytes.length) break;
    found.push(bytes.subarray(at, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  return found;
}

function readMessage(bytes: Buffer): RefusedPacket | null {
  const found = pieces(bytes, { headerBytes: ATTRIBUTE_HEADER_BYTES, lengthBytes: 2 });
  const attributes = new Map(found.map((attribute) => [attribute.readUInt16LE(2) & ATTRIBUTE_TYPE, attribute.subarray(ATTRIBUTE_HEADER_BYTES)]));
  const payload = attributes.get(ATTRIBUTE.payload) ?? Buffer.alloc(0);
  const etherType = attributes.get(ATTRIBUTE.packetHeader)?.subarray(0, 2) ?? Buffer.alloc(0);
  const version = (payload[0] ?? 0) >> 4;
  if (etherType.length === 2 && ![0, ETHER_TYPE[version]].includes(etherType.readUInt16BE(0))) return null;
  const packet = version === 4 ? readIpv4(payload) : version === 6 ? readIpv6(payload) : null;
  if (packet === null) return null;
  const index = attributes.get(ATTRIBUTE.interfaceIn);
  return { ...packet, interfaceIndex: index?.length === 4 ? index.readUInt32BE(0) : null, prefix: text(attributes.get(ATTRIBUTE.prefix)) };
}

function text(bytes: Buffer | undefined): string | null {
  if (bytes === undefined) return null;
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, Math.min(end === -1 ? bytes.length : end, PREFIX_BYTES_MAX));
}

type Packet = Omit<RefusedPacket, 'interfaceIndex' | 'prefix'>;

/** RFC 791 §3.1 */
function readIpv4(copy: Buffer): Packet | null {
  const cursor = new Cursor(copy);
  const headerBytes = (cursor.u8() & 0xf) * 4;
  cursor.take(5);
  const isLaterFragment = (cursor.u16() & 0x1fff) !== 0;
  cursor.u8();
  const number = cursor.u8();
  cursor.u16();
  const [source, destination] = [cursor.take(4), cursor.take(4)];
  if (cursor.short || headerBytes < cursor.at) return null;
  cursor.take(headerBytes - cursor.at);
  const protocol = PROTOCOL[number] ?? String(number);
  return { family: 'ipv4', source: textOfBytes(source), destination: textOfBytes(destination), protocol, port: isLaterFragment ? null : readPort(cursor, protocol) };
}

const PROTOCOL: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' };
const PROTOCOL_V6: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 58: 'icmp' };

/** Extension headers of IPv6 that another header follows (IANA, "IPv6 Extension Header Types"), and the unit of their length. */
const FRAGMENT_HEADER = 44;
const AUTHENTICATION_HEADER = 51;
const EXTENSION_HEADERS: ReadonlySet<number> = new Set([0, 43, FRAGMENT_HEADER, AUTHENTICATION_HEADER, 60, 135, 139, 140]);

/** RFC 8200 §3 and §4 */
function readIpv6(copy: Buffer): Packet | null {
  const cursor = new Cursor(copy);
  cursor.take(6);
  let number = cursor.u8();
  cursor.u8();
  const [source, destination] = [cursor.take(16), cursor.take(16)];
  if (cursor.short) return null;
  let isLaterFragment = false;
  while (EXTENSION_HEADERS.has(number) && !isLaterFragment && cursor.left >= 8) {
    const at = number;
    number = cursor.u8();
    const length = cursor.u8();
    isLaterFragment = at === FRAGMENT_HEADER && cursor.u16() >> 3 !== 0;
    cursor.take(restOf(at, length));
  }
  const protocol = PROTOCOL_V6[number] ?? String(number);
  return { family: 'ipv6', source: textOfBytes(source), destination: textOfBytes(destination), protocol, port: isLaterFragment ? null : readPort(cursor, protocol) };
}

/** Bytes of an extension header behind those that were read: a fragment header has no length (RFC 8200 §4.5, RFC 4302 §2.2). */
function restOf(header: number, length: number): number {
  if (header === FRAGMENT_HEADER) return 4;
  return (header === AUTHENTICATION_HEADER ? (length + 2) * 4 : (length + 1) * 8) - 2;
}

function readPort(cursor: Cursor, protocol: string): number | null {
  if (protocol !== 'tcp' && protocol !== 'udp') return null;
  cursor.u16();
  const port = cursor.u16();
  return cursor.short ? null : port;
}
