import { addressOf, isWithin, parseCidr, type Address, type Cidr } from './address.ts';

/**
 * What an address is for. Only `public` may be connected to without an exception of the policy. `embedded`: an IPv6 address
 * that stands for an IPv4 one, and that something on the way turns into it. `shared`: behind the NAT of a provider.
 */
export type AddressKind =
  | 'public' | 'private' | 'loopback' | 'link-local' | 'metadata' | 'shared' | 'multicast' | 'reserved' | 'unspecified' | 'documentation'
  | 'benchmark' | 'embedded';

export interface AddressUse {
  readonly kind: AddressKind;
  readonly why: string;
}

type Row = readonly [cidr: string, kind: AddressKind, why: string];

/** First row wins. IANA IPv4 and IPv6 Special-Purpose Address Registries; what clouds serve credentials at comes first. */
const ROWS: readonly Row[] = [
  ['169.254.169.0/24', 'metadata', 'serves metadata, credentials and DNS of AWS, Azure, Google, OpenStack and others'],
  ['169.254.170.0/24', 'metadata', 'serves credentials of containers at AWS'],
  ['169.254.42.42/32', 'metadata', 'serves metadata at Scaleway'],
  ['169.254.0.23/32', 'metadata', 'serves metadata at Tencent'],
  ['100.100.100.200/32', 'metadata', 'serves metadata at Alibaba'],
  ['168.63.129.16/32', 'metadata', 'is the wire server of Azure'],
  ['192.0.0.192/32', 'metadata', 'serves metadata at Oracle'],
  ['fd00:ec2::/32', 'metadata', 'serves metadata, credentials and DNS at AWS'],
  ['fd20:ce::254/128', 'metadata', 'serves metadata at Google'],
  ['fd00:c1::a9fe:a9fe/128', 'metadata', 'serves metadata at Oracle'],
  ['fd00:42::42/128', 'metadata', 'serves metadata at Scaleway'],
  ['fd00:a9fe:a9fe::1/128', 'metadata', 'serves metadata at Akamai'],
  ['fe80::a9fe:a9fe/128', 'metadata', 'serves metadata of OpenStack'],

  ['0.0.0.0/8', 'unspecified', 'this host on this network (RFC 791 §3.2): Linux connects it to itself'],
  ['10.0.0.0/8', 'private', 'private (RFC 1918)'],
  ['100.64.0.0/10', 'shared', 'shared address space of a provider (RFC 6598)'],
  ['127.0.0.0/8', 'loopback', 'loopback (RFC 1122 §3.2.1.3)'],
  ['169.254.0.0/16', 'link-local', 'link-local (RFC 3927)'],
  ['172.16.0.0/12', 'private', 'private (RFC 1918)'],
  ['192.0.0.0/24', 'reserved', 'protocol assignments of the IETF (RFC 6890)'],
  ['192.0.2.0/24', 'documentation', 'documentation (RFC 5737)'],
  ['192.31.196.0/24', 'reserved', 'AS112, where answers for nobody come from (RFC 7535)'],
  ['192.52.193.0/24', 'reserved', 'automatic multicast tunnelling (RFC 7450)'],
  ['192.88.99.0/24', 'reserved', 'relays of 6to4, deprecated (RFC 7526)'],
  ['192.168.0.0/16', 'private', 'private (RFC 1918)'],
  ['192.175.48.0/24', 'reserved', 'AS112, where answers for nobody come from (RFC 7534)'],
  ['198.18.0.0/15', 'benchmark', 'benchmarks (RFC 2544); the addresses that the gate gives to names lie here'],
  ['198.51.100.0/24', 'documentation', 'documentation (RFC 5737)'],
  ['203.0.113.0/24', 'documentation', 'documentation (RFC 5737)'],
  ['224.0.0.0/4', 'multicast', 'multicast (RFC 5771)'],
  ['240.0.0.0/4', 'reserved', 'reserved, and broadcast at its end (RFC 1112 §4, RFC 8190)'],

  ['::/128', 'unspecified', 'unspecified (RFC 4291 §2.5.2): Linux connects it to itself'],
  ['::1/128', 'loopback', 'loopback (RFC 4291 §2.5.3)'],
  ['::ffff:0:0/96', 'embedded', 'IPv4-mapped (RFC 4291 §2.5.5.2)'],
  ['::ffff:0:0:0/96', 'embedded', 'IPv4-translated (RFC 2765 §2.1)'],
  ['::/96', 'embedded', 'IPv4-compatible, deprecated (RFC 4291 §2.5.5.1)'],
  ['64:ff9b::/96', 'embedded', 'NAT64 (RFC 6052 §2.1)'],
  ['64:ff9b:1::/48', 'embedded', 'local NAT64 (RFC 8215)'],
  ['2001::/32', 'embedded', 'Teredo (RFC 4380)'],
  ['2002::/16', 'embedded', '6to4 (RFC 3056)'],
  ['2001:2::/48', 'benchmark', 'benchmarks (RFC 5180)'],
  ['2001::/23', 'reserved', 'protocol assignments of the IETF (RFC 2928)'],
  ['2001:db8::/32', 'documentation', 'documentation (RFC 3849)'],
  ['2620:4f:8000::/48', 'reserved', 'AS112, where answers for nobody come from (RFC 7534)'],
  ['3fff::/20', 'documentation', 'documentation (RFC 9637)'],
  ['fc00::/7', 'private', 'unique local (RFC 4193)'],
  ['fe80::/10', 'link-local', 'link-local (RFC 4291 §2.5.6)'],
  ['fec0::/10', 'private', 'site-local, deprecated (RFC 3879)'],
  ['ff00::/8', 'multicast', 'multicast (RFC 4291 §2.7)'],
];

const RANGES: readonly { readonly range: Cidr; readonly use: AddressUse }[] = ROWS.map(([cidr, kind, why]) => ({ range: rangeOf(cidr), use: { kind, why } }));
const GLOBAL_UNICAST = rangeOf('2000::/3');
const LOW_32 = 0xffff_ffffn;
/** RFC 5214 §6.1: an interface identifier of 0000:5efe or 0200:5efe and an IPv4 address, behind any prefix. */
const ISATAP = [0x0000_5efen, 0x0200_5efen];

export function kindOf(address: Address): AddressKind {
  return useOf(address).kind;
}

/** The kind of an address and where that is laid down. IPv6 outside 2000::/3, and what is in no list, is reserved. */
export function useOf(address: Address): AddressUse {
  const listed = RANGES.find(({ range }) => isWithin(range, address));
  if (listed !== undefined) return listed.use;
  if (isIsatap(address)) return { kind: 'embedded', why: 'ISATAP (RFC 5214)' };
  if (address.family === 6 && !isWithin(GLOBAL_UNICAST, address)) return { kind: 'reserved', why: 'outside of global unicast (RFC 4291 §2.4)' };
  return { kind: 'public', why: 'globally reachable' };
}

/**
 * The IPv4 addresses that an IPv6 address stands for; none for one that stands for itself. Null where they cannot be known: a
 * network that uses 64:ff9b:1::/48 chooses where in it they lie (RFC 6052 §2.2).
 */
export function embeddedIn(address: Address): readonly Address[] | null {
  const { family, bits } = address;
  if (family === 4) return [];
  const v4 = (value: bigint): Address => addressOf(4, value & LOW_32);
  if (isWithin(LOCAL_NAT64, address)) return null;
  if (isWithin(TEREDO, address)) return [v4(bits >> 64n), v4(bits ^ LOW_32)];
  if (isWithin(SIX_TO_FOUR, address)) return isIsatap(address) ? [v4(bits >> 80n), v4(bits)] : [v4(bits >> 80n)];
  return useOf(address).kind === 'embedded' || isIsatap(address) ? [v4(bits)] : [];
}

const LOCAL_NAT64 = rangeOf('64:ff9b:1::/48');
const TEREDO = rangeOf('2001::/32');
const SIX_TO_FOUR = rangeOf('2002::/16');

function isIsatap({ family, bits }: Address): boolean {
  return family === 6 && ISATAP.includes((bits >> 32n) & LOW_32);
}

function rangeOf(text: string): Cidr {
  const range = parseCidr(text);
  if (range === null) throw new TypeError(`${text} is no range`);
  return range;
}
