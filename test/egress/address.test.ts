import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import { NetworkPolicy } from '@caisson/contract';
import { addressOfBytes, isWithin, judgeAddress, kindOf, parseAddress, parseCidr, type Address, type AddressKind } from '@caisson/egress';
import fc from 'fast-check';

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed, `${text} is an address`);
  return parsed;
}

const REASON = 'a reason for the evidence';
const open = (...cidrs: readonly string[]): readonly { cidr: string; reason: string }[] => cidrs.map((cidr) => ({ cidr, reason: REASON }));
const isOpen = (text: string, ...cidrs: readonly string[]): boolean => 'ok' in judgeAddress(address(text), open(...cidrs));

const v4Bytes = fc.uint8Array({ minLength: 4, maxLength: 4 });
const v6Bytes = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  // Runs of zeros, as addresses in use have.
  fc.array(fc.constantFrom(0, 0, 0, 1, 0xff, 0x20), { minLength: 16, maxLength: 16 }).map((bytes) => Uint8Array.from(bytes)),
);
const bytes = fc.oneof(v4Bytes, v6Bytes);

/** Ends of the ranges and what lies next to them: a table that is off by one bit fails here. */
const KINDS: readonly (readonly [AddressKind, readonly string[]])[] = [
  ['public', [
    '1.1.1.1', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255', '128.0.0.0', '169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0', '192.0.3.0',
    '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '223.255.255.255', '168.63.129.15', '2001:200::', '2001:4860:4860::8888', '2606:4700::1111', '2003::', '2001:db7:ffff::', '2001:db9::', '3ffe::', '3fff:1000::',
  ]],
  ['private', ['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255', 'fc00::', 'fd12:3456::1', 'fdff:ffff::', 'fec0::1']],
  ['loopback', ['127.0.0.0', '127.0.0.1', '127.255.255.255', '::1']],
  ['link-local', ['169.254.0.0', '169.254.1.1', '169.254.255.255', 'fe80::1', 'febf:ffff::']],
  ['metadata', [
    '169.254.169.254', '169.254.169.253', '169.254.170.2', '169.254.170.23', '169.254.42.42', '169.254.0.23', '100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fd00:c1::a9fe:a9fe',
    'fd00:42::42', 'fe80::a9fe:a9fe',
  ]],
  ['shared', ['100.64.0.0', '100.127.255.255']],
  ['multicast', ['224.0.0.1', '239.255.255.255', 'ff02::1', 'ffff::']],
  ['reserved', ['192.0.0.0', '192.0.0.9', '192.88.99.1', '192.31.196.1', '192.52.193.1', '192.175.48.1', '240.0.0.0', '255.255.255.255', '100::', '100:0:0:1::', '2001:1::1', '2001:20::', '2001:1ff::', '2620:4f:8000::', '5f00::', '4000::', '1fff::', '::1:0:0:0', '8000::', 'fe00::']],
  ['unspecified', ['0.0.0.0', '0.0.0.1', '0.255.255.255', '::']],
  ['documentation', ['192.0.2.1', '198.51.100.1', '203.0.113.255', '2001:db8::1', '3fff::', '3fff:fff::']],
  ['benchmark', ['198.18.0.0', '198.19.255.255', '2001:2::1']],
  ['embedded', [
    '::ffff:8.8.8.8', '::ffff:127.0.0.1', '::ffff:0:8.8.8.8', '::8.8.8.8', '::2', '64:ff9b::8.8.8.8', '64:ff9b:1::', '64:ff9b:1:ffff::8.8.8.8', '2001::', '2001:0:4136:e378:8000:63bf:3fff:fdd2', '2002:7f00:1::', '2002:808:808::',
    '2606:4700::5efe:10.0.0.1', '2606:4700::200:5efe:8.8.8.8',
  ]],
];

for (const [kind, texts] of KINDS) {
  test(`addresses that are ${kind} are ${kind === 'public' ? 'connected to' : 'refused, with kind and reason'}`, () => {
    for (const text of texts) {
      assert.equal(kindOf(address(text)), kind, text);
      const judgement = judgeAddress(address(text), []);
      if (kind === 'public') assert.deepEqual(judgement, { ok: true, exception: null });
      else assert.match('refused' in judgement ? judgement.refused : 'open', new RegExp(`is ${kind}: .`), text);
    }
  });
}

test('an address is read in its plain forms only', () => {
  const refused = [
    '', '127.1', '127.0.1', '2130706433', '0x7f.0.0.1', '0177.0.0.1', '127.0.0.01', '127.0.0.256', '127.0.0.1.', ' 127.0.0.1', '127.0.0.1\n', '127.0.0.1\0', '1.2.3.4.5', '1..2.3', '１.1.1.1', '[::1]', 'fe80::1%eth0', 'fe80::1%25eth0', ':', ':::', '::1::',
    '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8::', '::1:2:3:4:5:6:7:8', ':1:2:3:4:5:6:7', '1:2:3:4:5:6:7:', '12345::', '::g', '::1.2.3', '::1.2.3.256', '::1.2.3.4:5', '1.2.3.4::', '::ffff:127.1', '::ffff:0177.0.0.1', '::/0', '::1/128',
  ];
  for (const text of refused) assert.equal(parseAddress(text), null, JSON.stringify(text));
});

test('an address has one text, and that text reads as the same address', () => {
  fc.assert(fc.property(bytes, (given) => {
    const made = addressOfBytes(given);
    assert.ok(made);
    assert.equal(isIP(made.text), made.family);
    assert.deepEqual(parseAddress(made.text), made);
    assert.deepEqual(parseAddress(made.text.toUpperCase()), made);
  }), { numRuns: 3_000 });
  for (const length of [0, 3, 5, 15, 17]) assert.equal(addressOfBytes(new Uint8Array(length)), null);
});

test('the text of an IPv6 address is that of RFC 5952', () => {
  const cases = [
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], ['0:0:0:0:0:0:0:0', '::'], ['0:0:0:0:0:0:0:1', '::1'], ['1:0:0:0:0:0:0:0', '1::'],
    ['::ffff:1.2.3.4', '::ffff:102:304'], ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'], ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ] as const;
  for (const [text, canonical] of cases) assert.equal(address(text).text, canonical);
});

test('what is read as an address is one to Node too, and what Node reads without a zone is read', () => {
  const piece = fc.constantFrom('0', '1', 'ffff', 'a9fe', ':', '::', '.', '127', '255', '256', '1.2.3.4', '%', 'g', '00001', '/');
  let read = 0;
  fc.assert(fc.property(fc.oneof(fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join('')), bytes.map((given) => addressOfBytes(given)?.text ?? '')), (text) => {
    const parsed = parseAddress(text);
    if (parsed !== null) read++;
    assert.equal(parsed?.family ?? 0, text.includes('%') ? 0 : isIP(text), text);
  }), { numRuns: 10_000 });
  assert.ok(read > 1_000, `${read} addresses were tried`);
});

test('whatever is given is an address or null', () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.constant(':'.repeat(1_000_000))), (text) => {
    assert.equal(parseAddress(text) === null, isIP(text) === 0 || text.includes('%'));
  }));
});

/** Every way to write an IPv4 address into an IPv6 one that something on the way takes out again. */
const EMBEDDINGS: readonly (readonly [string, (v4: bigint) => bigint])[] = [
  ['mapped', (v4) => (0xffffn << 32n) | v4],
  ['translated', (v4) => (0xffffn << 48n) | v4],
  ['compatible', (v4) => v4],
  ['NAT64', (v4) => (0x0064_ff9bn << 96n) | v4],
  ['local NAT64', (v4) => (0x0064_ff9b_0001n << 80n) | v4],
  ['6to4', (v4) => (0x2002n << 112n) | (v4 << 80n)],
  ['Teredo by client', (v4) => (0x2001_0000n << 96n) | (0x0808_0808n << 64n) | (v4 ^ 0xffff_ffffn)],
  ['Teredo by server', (v4) => (0x2001_0000n << 96n) | (v4 << 64n) | (0x0808_0808n ^ 0xffff_ffffn)],
  ['ISATAP', (v4) => (0x2606_4700n << 96n) | (0x5efen << 32n) | v4],
];

function embed(wrap: (v4: bigint) => bigint, v4: Address): Address {
  const made = parseAddress(wrap(v4.bits).toString(16).padStart(32, '0').replace(/(.{4})(?=.)/g, '$1:'));
  assert.ok(made);
  return made;
}

for (const [form, wrap] of EMBEDDINGS) {
  test(`an IPv4 address inside an IPv6 one is refused whatever it is: ${form}`, () => {
    fc.assert(fc.property(v4Bytes, (given) => {
      const v4 = addressOfBytes(given);
      assert.ok(v4);
      assert.ok('refused' in judgeAddress(embed(wrap, v4), []));
    }));
  });

  test(`an exception for IPv6 does not open the IPv4 addresses inside: ${form}`, () => {
    for (const text of ['127.0.0.1', '10.0.0.7', '169.254.169.254', '100.100.100.200', '0.0.0.0', '192.168.1.1']) {
      assert.ok('refused' in judgeAddress(embed(wrap, address(text)), open('::/0', '::/1', '8000::/1')), text);
    }
    assert.equal('ok' in judgeAddress(embed(wrap, address('8.8.8.8')), open('::/0')), form !== 'local NAT64');
  });
}

test('an exception opens a range, and comes back with its reason', () => {
  assert.deepEqual(judgeAddress(address('10.1.2.3'), open('192.168.0.0/16', '10.1.0.0/16')), { ok: true, exception: { cidr: '10.1.0.0/16', reason: REASON } });
  assert.ok(!isOpen('10.2.0.0', '10.1.0.0/16'));
  assert.ok(isOpen('fd00::1', 'fd00::/8'));
  assert.ok(isOpen('fe80::1', 'fe80::/10'));
  assert.ok(isOpen('100.64.0.1', '0.0.0.0/0'));
  assert.ok(!isOpen('10.1.2.3', '::/0'), 'a range of IPv6 speaks of no IPv4 address');
});

test('a public address needs no exception and never has one', () => {
  assert.deepEqual(judgeAddress(address('8.8.8.8'), open('0.0.0.0/0')), { ok: true, exception: null });
});

test('metadata is opened by a range of one address only', () => {
  for (const text of KINDS.find(([kind]) => kind === 'metadata')?.[1] ?? []) {
    const width = text.includes(':') ? 128 : 32;
    assert.ok(!isOpen(text, '0.0.0.0/0', '::/0', `${text}/${width - 1}`, '169.254.0.0/16', 'fd00::/8', 'fe80::/10'), text);
    assert.ok(isOpen(text, `${text}/${width}`), text);
  }
  const judgement = judgeAddress(address('169.254.169.254'), open('169.254.0.0/16'));
  assert.match('refused' in judgement ? judgement.refused : '', /169\.254\.0\.0\/16 does not open it: that takes \/32/);
});

test('loopback is opened by a range that is loopback throughout', () => {
  assert.ok(!isOpen('127.0.0.1', '0.0.0.0/0', '126.0.0.0/7', '::/0'));
  assert.ok(!isOpen('::1', '::/0', '::/127'));
  assert.ok(isOpen('127.0.0.1', '127.0.0.0/8') && isOpen('127.0.0.1', '127.0.0.1/32') && isOpen('::1', '::1/128'));
});

test('nothing opens the unspecified address', () => {
  assert.ok(!isOpen('0.0.0.0', '0.0.0.0/0', '0.0.0.0/32', '0.0.0.0/8'));
  assert.ok(!isOpen('::', '::/0', '::/128'));
});

test('local NAT64 is opened by a range of one address, since where IPv4 lies in it is not known', () => {
  assert.ok(!isOpen('64:ff9b:1::8.8.8.8', '64:ff9b:1::/48', '64:ff9b:1::/96', '8.8.8.8/32'));
  assert.ok(isOpen('64:ff9b:1::8.8.8.8', '64:ff9b:1::808:808/128'));
});

test('an address inside another is opened with it when each has its exception', () => {
  assert.ok(isOpen('64:ff9b::10.0.0.7', '64:ff9b::/96', '10.0.0.0/8'));
  assert.ok(!isOpen('64:ff9b::10.0.0.7', '10.0.0.0/8'));
  assert.ok(!isOpen('2001:0:a00:7::', '2001::/32', '10.0.0.0/8'), 'both addresses of Teredo count');
  assert.ok(!isOpen('fd00::5efe:10.0.0.7', 'fd00::/8'), 'ISATAP behind a private prefix');
});

test('more exceptions never close an address, and what they open lies in one of them', () => {
  const cidr = fc.tuple(bytes, fc.nat(128)).map(([given, prefix]) => `${addressOfBytes(given)?.text}/${given.length === 4 ? prefix % 33 : prefix}`);
  fc.assert(fc.property(bytes, fc.array(cidr, { maxLength: 4 }), cidr, (given, cidrs, more) => {
    const here = addressOfBytes(given);
    assert.ok(here);
    const few = judgeAddress(here, open(...cidrs));
    const many = judgeAddress(here, open(...cidrs, more));
    if ('ok' in few) assert.ok('ok' in many);
    if ('ok' in many && many.exception !== null) assert.ok(isWithin(parseCidr(many.exception.cidr) ?? { family: 4, bits: 0n, prefix: 32 }, here));
    if ('ok' in many && many.exception === null) assert.equal(kindOf(here), 'public');
  }), { numRuns: 3_000 });
});

test('a range holds what shares its prefix, and no address of the other family', () => {
  fc.assert(fc.property(bytes, fc.nat(128), fc.nat(127), (given, asked, bit) => {
    const here = addressOfBytes(given);
    assert.ok(here);
    const width = here.family === 4 ? 32 : 128;
    const prefix = asked % (width + 1);
    const range = parseCidr(`${here.text}/${prefix}`);
    assert.ok(range && isWithin(range, here));
    const flipped = { family: here.family, bits: here.bits ^ (1n << BigInt(width - 1 - (bit % width))) } as const;
    assert.equal(isWithin(range, flipped), bit % width >= prefix);
    assert.ok(!isWithin(range, { family: here.family === 4 ? 6 : 4, bits: here.bits }));
  }), { numRuns: 2_000 });
});

test('every range that the policy takes is one that is understood', () => {
  const piece = fc.constantFrom('0', '1', 'ffff', ':', '::', '.', '127', '1.2.3.4', '%', '/', '/8', '/0', '/128', '/032', '/8.127', '10.0.0.0', 'FD00::');
  let taken = 0;
  fc.assert(fc.property(fc.oneof(fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')), fc.tuple(bytes, fc.nat(130)).map(([given, prefix]) => `${addressOfBytes(given)?.text}/${prefix}`)), (cidr) => {
    if (!NetworkPolicy.safeParse({ unsafeAllowPrivate: open(cidr) }).success) return;
    taken++;
    assert.ok(parseCidr(cidr), cidr);
  }), { numRuns: 10_000 });
  assert.ok(taken > 1_000, `${taken} ranges were tried`);
  for (const cidr of ['10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '::/129', '10.0.0.0/08', '10/8', '10.0.0.0/8/8', ' 10.0.0.0/8', '10.0.0.0/-1', 'fe80::%1/10', 'fd00::/8.5', '::/1e1']) {
    assert.equal(parseCidr(cidr), null, cidr);
    assert.equal(NetworkPolicy.safeParse({ unsafeAllowPrivate: open(cidr) }).success, false, cidr);
  }
});
