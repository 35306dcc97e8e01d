/** One IP address. Two of them are the same when family and bits are. */
export interface Address {
  readonly family: 4 | 6;
  readonly bits: bigint;
  /** Dotted quad, or the form of RFC 5952 §4: small letters, the longest run of zeros as `::`, never a dotted quad inside. */
  readonly text: string;
}

/** A range of addresses. Bits behind the prefix are zero. */
export interface Cidr {
  readonly family: 4 | 6;
  readonly bits: bigint;
  readonly prefix: number;
}

export const WIDTH = { 4: 32, 6: 128 } as const;
/** Longest text of an address: eight groups of four, or six and a dotted quad (INET6_ADDRSTRLEN without its NUL). */
const TEXT_CHARS_MAX = 45;
const OCTET = '(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])';
const QUAD = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`);

/**
 * An address from its text: four decimal octets without leading zeros, or RFC 4291 §2.2, all three forms. Anything else that
 * some program takes for an address (127.1, 0x7f.1, octal, a zone, brackets) is null.
 */
export function parseAddress(text: string): Address | null {
  if (text.length > TEXT_CHARS_MAX) return null;
  const quad = quadBits(text);
  if (quad !== null) return addressOf(4, quad);
  const groups = groupsOf(text);
  return groups === null ? null : addressOf(6, groups.reduce((bits, group) => (bits << 16n) | BigInt(group), 0n));
}

/** The address that 4 or 16 bytes in the order of the network are, as in an answer of DNS; null for any other number. */
export function addressOfBytes(bytes: Uint8Array): Address | null {
  if (bytes.length !== 4 && bytes.length !== 16) return null;
  return addressOf(bytes.length === 4 ? 4 : 6, bytes.reduce((bits, byte) => (bits << 8n) | BigInt(byte), 0n));
}

/** The text of 4 or 16 bytes in the order of the network. */
export function textOfBytes(bytes: Uint8Array): string {
  return addressOfBytes(bytes)?.text ?? '';
}

export function addressOf(family: 4 | 6, bits: bigint): Address {
  return { family, bits, text: family === 4 ? quadText(bits) : groupText(bits) };
}

/** A range as `address/prefix`; bits behind the prefix are taken away. Null for what is not one. */
export function parseCidr(text: string): Cidr | null {
  const match = /^([0-9A-Fa-f:.]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = match?.[1] === undefined ? null : parseAddress(match[1]);
  const prefix = Number(match?.[2]);
  if (address === null || prefix > WIDTH[address.family]) return null;
  const behind = BigInt(WIDTH[address.family] - prefix);
  return { family: address.family, bits: (address.bits >> behind) << behind, prefix };
}

export function isWithin({ family, bits, prefix }: Cidr, address: Pick<Address, 'family' | 'bits'>): boolean {
  const behind = BigInt(WIDTH[family] - prefix);
  return family === address.family && address.bits >> behind === bits >> behind;
}

function quadBits(text: string): bigint | null {
  const match = QUAD.exec(text);
  return match === null ? null : match.slice(1).reduce((bits, octet) => (bits << 8n) | BigInt(octet), 0n);
}

/** The eight groups of an IPv6 address. `::` stands for one group or more (RFC 5952 §4.2.2 asks writers for two; readers take one). */
function groupsOf(text: string): readonly number[] | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const before = halfGroups(halves[0] ?? '', halves.length === 1);
  const after = halves.length === 1 ? [] : halfGroups(halves[1] ?? '', true);
  if (before === null || after === null) return null;
  const missing = 8 - before.length - after.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  return [...before, ...Array.from({ length: missing }, () => 0), ...after];
}

/** Groups of one side of `::`; only the last may be a dotted quad, which is two. */
function halfGroups(half: string, isLast: boolean): readonly number[] | null {
  if (half === '') return [];
  const groups: number[] = [];
  const parts = half.split(':');
  for (const [at, part] of parts.entries()) {
    const quad = isLast && at === parts.length - 1 ? quadBits(part) : null;
    if (quad !== null) groups.push(Number(quad >> 16n), Number(quad & 0xffffn));
    else if (/^[0-9A-Fa-f]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return null;
  }
  return groups;
}

function quadText(bits: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join('.');
}

function groupText(bits: bigint): string {
  const groups = Array.from({ length: 8 }, (_, at) => ((bits >> BigInt(112 - 16 * at)) & 0xffffn).toString(16));
  let best = { at: 0, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (groups[at + length] === '0') length++;
    if (length > best.length) best = { at, length };
  }
  if (best.length === 1) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}
