import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressOfBytes, readRefusedPackets, type RefusedPacket } from '@caisson/egress';
import { CAPTURED } from './nflog-captured.ts';

const brief = ({ source, destination, protocol, port, prefix }: RefusedPacket): string => `${source} ${protocol} ${destination} ${port} ${prefix}`;

test('what a kernel logged is read: every packet of every datagram, with IP options too', () => {
  assert.deepEqual(CAPTURED.map((datagram) => readRefusedPackets(datagram).map(brief)), [
    [
      '192.0.2.1 udp 198.51.100.7 53 refused',
      '192.0.2.1 udp 198.51.100.8 5353 refused',
      '2001:db9::1 udp 2001:db8::7 443 refused',
      '192.0.2.1 tcp 198.51.100.9 22 refused',
    ],
    ['2001:db9::1 tcp 2001:db8::9 80 refused', '192.0.2.1 icmp 198.51.100.10 null refused', '127.0.0.1 udp 127.0.0.1 9999 inbound'],
  ]);
  const packets = CAPTURED.flatMap(readRefusedPackets);
  assert.deepEqual(packets.map(({ family }) => family), ['ipv4', 'ipv4', 'ipv6', 'ipv4', 'ipv6', 'ipv4', 'ipv4']);
  assert.deepEqual(packets.map(({ interfaceIndex }) => interfaceIndex), [null, null, null, null, null, null, 1]);
});

function attribute(type: number, data: Uint8Array): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + data.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, data, Buffer.alloc(-(4 + data.length) & 3)]);
}

function packetMessage(payload: Uint8Array, { type = 0x0400, etherType = payload.length > 0 && (payload[0] ?? 0) >> 4 === 6 ? 0x86dd : 0x0800 } = {}): Buffer {
  const packetHeader = Buffer.of(etherType >> 8, etherType & 0xff, 1, 0);
  const body = Buffer.concat([Buffer.of(2, 0, 0, 7), attribute(1, packetHeader), attribute(4, Buffer.of(0, 0, 1, 2)), attribute(10, Buffer.from('refused\0')), attribute(9, payload)]);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(type, 4);
  return Buffer.concat([header, body]);
}

const PORTS = Buffer.of(0x90, 0x00, 0x1f, 0x90, 0, 0, 0, 0);

function ipv4({ protocol = 6, words = 5, fragment = 0, behind = PORTS }: { protocol?: number; words?: number; fragment?: number; behind?: Buffer }): Buffer {
  return Buffer.concat([Buffer.of(0x40 | words, 0, 0, 60, 0, 0, fragment >> 8, fragment & 0xff, 64, protocol, 0, 0, 10, 0, 0, 2, 203, 0, 113, 9), Buffer.alloc(Math.max(0, words - 5) * 4, 1), behind]);
}

/** `headers`: the number of each extension header, and its bytes but for the first, which says what follows. */
function ipv6(headers: readonly (readonly [number, Buffer])[], last: number, behind = PORTS): Buffer {
  const numbers = [...headers.map(([number]) => number), last];
  const fixed = Buffer.concat([Buffer.of(0x60, 0, 0, 0, 0, 40, numbers[0] ?? 59, 64), Buffer.from('20010db9000000000000000000000001', 'hex'), Buffer.from('20010db8000000000000000000000007', 'hex')]);
  return Buffer.concat([fixed, ...headers.map(([, rest], index) => Buffer.concat([Buffer.of(numbers[index + 1] ?? 59), rest])), behind]);
}

const eight = Buffer.alloc(7);
const SHAPES: readonly (readonly [string, Buffer, string])[] = [
  ['TCP', ipv4({}), '10.0.0.2 tcp 203.0.113.9 8080 refused'],
  ['another protocol', ipv4({ protocol: 47 }), '10.0.0.2 47 203.0.113.9 null refused'],
  ['ICMPv6 where there is no IPv6', ipv4({ protocol: 58 }), '10.0.0.2 58 203.0.113.9 null refused'],
  ['all options that fit', ipv4({ words: 15 }), '10.0.0.2 tcp 203.0.113.9 8080 refused'],
  ['a first fragment', ipv4({ fragment: 0x2000, protocol: 17 }), '10.0.0.2 udp 203.0.113.9 8080 refused'],
  ['a later fragment, which has no ports', ipv4({ fragment: 0x2001, protocol: 17 }), '10.0.0.2 udp 203.0.113.9 null refused'],
  ['a copy that ends in the ports', ipv4({ behind: PORTS.subarray(0, 3) }), '10.0.0.2 tcp 203.0.113.9 null refused'],
  ['options that end behind the copy', ipv4({ words: 15 }).subarray(0, 40), '10.0.0.2 tcp 203.0.113.9 null refused'],
  ['TCP over IPv6', ipv6([], 6), '2001:db9::1 tcp 2001:db8::7 8080 refused'],
  ['ICMPv6', ipv6([], 58), '2001:db9::1 icmp 2001:db8::7 null refused'],
  ['ICMP of IPv4 over IPv6', ipv6([], 1), '2001:db9::1 1 2001:db8::7 null refused'],
  ['hop-by-hop options before UDP', ipv6([[0, eight]], 17), '2001:db9::1 udp 2001:db8::7 8080 refused'],
  ['three extension headers', ipv6([[0, eight], [43, eight], [60, Buffer.concat([Buffer.of(1), Buffer.alloc(14)])]], 17), '2001:db9::1 udp 2001:db8::7 8080 refused'],
  ['an authentication header, whose unit is another', ipv6([[51, Buffer.concat([Buffer.of(1), Buffer.alloc(10)])]], 6), '2001:db9::1 tcp 2001:db8::7 8080 refused'],
  ['a first fragment of IPv6', ipv6([[44, Buffer.of(0, 0, 1, 0, 0, 0, 1)]], 17), '2001:db9::1 udp 2001:db8::7 8080 refused'],
  ['a later fragment of IPv6', ipv6([[44, Buffer.of(0, 0, 8, 0, 0, 0, 1)]], 17), '2001:db9::1 udp 2001:db8::7 null refused'],
  ['a later fragment of IPv6, whose bytes are no header', ipv6([[44, Buffer.of(0, 0, 8, 0, 0, 0, 1)]], 60, Buffer.concat([Buffer.of(17), eight, PORTS])), '2001:db9::1 60 2001:db8::7 null refused'],
  ['a fragment header whose unused byte is not zero', ipv6([[44, Buffer.of(9, 0, 1, 0, 0, 0, 1)]], 17), '2001:db9::1 udp 2001:db8::7 8080 refused'],
  ['an extension header that ends behind the copy', ipv6([[0, Buffer.of(255, 0, 0, 0, 0, 0, 0)]], 17), '2001:db9::1 udp 2001:db8::7 null refused'],
  ['an extension header that is not in the copy', ipv6([], 60, Buffer.alloc(0)), '2001:db9::1 60 2001:db8::7 null refused'],
];
for (const [what, packet, expected] of SHAPES) {
  test(`a packet is seen that has ${what}`, () => {
    const [seen, ...more] = readRefusedPackets(packetMessage(packet));
    assert.ok(seen !== undefined && more.length === 0);
    assert.equal(brief(seen), expected);
    assert.equal(seen.interfaceIndex, 258);
  });
}

test('what shows no addresses, or is no packet, is passed over and hides nothing behind it', () => {
  const good = packetMessage(ipv4({}));
  const none = [
    packetMessage(Buffer.alloc(0)), packetMessage(ipv4({}).subarray(0, 19)), packetMessage(ipv6([], 6).subarray(0, 39)), packetMessage(ipv4({ words: 4 })),
    packetMessage(Buffer.of(0x50, 0, 0, 0)), packetMessage(ipv4({}), { etherType: 0x0806 }), packetMessage(ipv4({}), { etherType: 0x86dd }), packetMessage(ipv4({}), { type: 3 }),
  ];
  for (const message of none) {
    assert.deepEqual(readRefusedPackets(message), []);
    assert.equal(readRefusedPackets(Buffer.concat([message, good])).length, 1);
  }
  assert.equal(readRefusedPackets(packetMessage(ipv4({}), { etherType: 0 })).length, 1);
});

test('addresses are written as everybody writes them', () => {
  fc.assert(fc.property(fc.array(fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 15 })), { minLength: 8, maxLength: 8 }), (groups) => {
    const bytes = Buffer.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
    assert.equal(`[${addressOfBytes(bytes)?.text}]`, new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]/`).hostname);
  }), { numRuns: 3_000 });
  assert.equal(addressOfBytes(Buffer.of(198, 18, 0, 255))?.text, '198.18.0.255');
});
