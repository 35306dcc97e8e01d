import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowArgument, EgressRule, HostName } from '@caisson/contract';
import { canonicalHost, parseAddress, splitHostPort } from '@caisson/egress';
import fc from 'fast-check';

const hostOf = (text: string): string | null => {
  const parsed = canonicalHost(text);
  return 'host' in parsed ? parsed.host : null;
};

const label = fc.stringMatching(/^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,8}[A-Za-z0-9_])?$/);
/** Names, and texts that are nearly names. */
const nearly = fc.oneof(
  fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.')),
  fc.array(fc.oneof(label, fc.constantFrom('', '-', '0x7f', '0x', '127', '01', 'xn--nxasmq6b', 'a'.repeat(63), 'a'.repeat(64), '%00', 'é', 'K', '\0', ' ', '@', '*')), { minLength: 1, maxLength: 6 })
    .chain((parts) => fc.constantFrom('.', '..', '。', '').map((dot) => parts.join(dot))),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.array(label, { minLength: 20, maxLength: 60 }).map((labels) => labels.join('.')),
).chain((text) => fc.constantFrom(text, `${text}.`, text.toUpperCase()));

test('what comes back as a host is a HostName of the contract, and comes back unchanged when it is given again', () => {
  fc.assert(fc.property(nearly, (text) => {
    const host = hostOf(text);
    if (host === null) return;
    assert.ok(HostName.safeParse(host).success, host);
    assert.equal(hostOf(host), host);
  }), { numRuns: 5_000 });
});

test('every HostName of the contract is a host as it stands', () => {
  let names = 0;
  fc.assert(fc.property(nearly.map((text) => text.toLowerCase().replace(/\.$/, '')), (text) => {
    if (!HostName.safeParse(text).success) return;
    names++;
    assert.equal(hostOf(text), text);
  }), { numRuns: 5_000 });
  assert.ok(names > 500, `${names} names were tried`);
});

test('case and one dot of the root are all that two spellings of a host may differ in', () => {
  for (const text of ['api.example.com', 'API.Example.COM', 'api.example.com.', 'API.EXAMPLE.COM.']) assert.equal(hostOf(text), 'api.example.com');
  fc.assert(fc.property(nearly, (text) => {
    const host = hostOf(text);
    if (host !== null) assert.equal(text.replace(/\.$/, '').replace(/[A-Z]/g, (c) => c.toLowerCase()), host);
  }), { numRuns: 2_000 });
});

/** Each is read as something else by some program: resolvers, proxies, C strings, URL parsers. */
const TRICKS: readonly (readonly [string, string, RegExp])[] = [
  ['a NUL that ends the name for C', 'evil.example\0.example.com', /NUL/],
  ['a NUL at the end', 'example.com\0', /NUL/],
  ['an escaped NUL', 'evil.example%00.example.com', /%/],
  ['an escaped dot', 'evil%2eexample.com', /%/],
  ['a user before the host', 'example.com@evil.example', /@/],
  ['a user with password', 'user:pw@evil.example', /@/],
  ['an escaped @', 'example.com%40evil.example', /%/],
  ['two dots of the root', 'example.com..', /empty label/],
  ['the root alone', '.', /empty label/],
  ['nothing', '', /not empty/],
  ['a leading dot', '.example.com', /empty label/],
  ['an empty label', 'api..example.com', /empty label/],
  ['a line break', 'example.com\r\nHost: evil.example', /control/],
  ['a line break at the end', 'example.com\n', /control/],
  ['a tab', 'example.com\tevil.example', /control/],
  ['DEL', 'example.com\x7f', /control/],
  ['a space', 'example.com evil.example', /space/],
  ['a leading space', ' example.com', /space/],
  ['a name in another script', 'exämple.com', /ASCII/],
  ['a Cyrillic letter', 'ex\u0430mple.com', /ASCII/],
  ['the Kelvin sign, which small letters make k', '\u212aube.example.com', /ASCII/],
  ['the long s, which capitals make S', 'te\u017ft.example.com', /ASCII/],
  ['the dotted capital I', '\u0130.example.com', /ASCII/],
  ['a full-width letter', '\uff45xample.com', /ASCII/],
  ['an ideographic full stop', 'example\u3002com', /ASCII/],
  ['a full-width full stop', 'example\uff0ecom', /ASCII/],
  ['a soft hyphen', 'exam\u00adple.com', /ASCII/],
  ['a zero-width joiner', 'exam\u200dple.com', /ASCII/],
  ['circled digits that stand for an address', '\u2460\u2461\u2466.0.0.1', /ASCII/],
  ['a lone surrogate', 'example\ud800.com', /ASCII/],
  ['a port', 'example.com:443', /colon/],
  ['brackets', '[example.com]', /bracket/],
  ['a path', 'example.com/evil', /URL/],
  ['a backslash', 'evil.example\\.example.com', /URL/],
  ['a query', 'evil.example?.example.com', /URL/],
  ['a fragment', 'evil.example#.example.com', /URL/],
  ['a star', '*.example.com', /letters/],
  ['a comma', 'a,b.example.com', /letters/],
  ['a quote', 'a".example.com', /letters/],
  ['a label of 64', `${'a'.repeat(64)}.com`, /63/],
  ['a name of 254', `${'a.'.repeat(126)}ab`, /253/],
  ['a name of 254 and the dot of the root', `${'a.'.repeat(126)}ab.`, /253/],
  ['a megabyte', 'a'.repeat(1_048_576), /253/],
  ['a leading hyphen', '-example.com', /hyphen/],
  ['a hyphen at the end', 'example-.com', /hyphen/],
];

const ADDRESSES: readonly (readonly [string, string])[] = [
  ['a dotted quad', '127.0.0.1'], ['a dotted quad with the dot of the root', '127.0.0.1.'], ['two parts', '127.1'], ['three parts', '127.0.1'],
  ['one number', '2130706433'], ['one number with a dot', '2130706433.'], ['a number beyond 32 bits', '4294967296'], ['octal', '0177.0.0.1'],
  ['octal in one', '017700000001'], ['hex', '0x7f000001'], ['hex in capitals', '0X7F000001'], ['hex in parts', '0x7f.0x0.0x0.0x1'],
  ['a hex part at the end', '127.0.0.0x1'], ['an empty hex', '0x'], ['an empty hex at the end', '127.0x'], ['mixed', '0x7f.1'], ['zero', '0'],
  ['metadata', '169.254.169.254'], ['metadata as a number', '2852039166'], ['metadata in octal', '0251.0376.0251.0376'], ['metadata in hex', '0xa9fea9fe'],
  ['five numbers', '1.2.3.4.5'], ['an octet too great', '256.256.256.256'], ['digits no octal has', '08.09.1.1'],
  ['a name that ends in a number', 'example.com.1'],
];

const ADDRESSES_V6: readonly string[] = [
  '::1', '[::1]', '::ffff:127.0.0.1', '[::ffff:7f00:1]', '::127.0.0.1', 'fe80::1%eth0', '[fe80::1%25eth0]', '64:ff9b::7f00:1', '2002:7f00:1::', '::', '0:0:0:0:0:0:0:1',
];

for (const [what, text, reason] of TRICKS) {
  test(`${what} is no host`, () => {
    const parsed = canonicalHost(text);
    assert.ok('refused' in parsed, JSON.stringify(parsed));
    assert.match(parsed.refused, reason);
  });
}

for (const [what, text] of ADDRESSES) {
  test(`an address is no host: ${what}`, () => {
    const parsed = canonicalHost(text);
    assert.ok('refused' in parsed);
    assert.match(parsed.refused, /read as an address/);
    assert.equal(HostName.safeParse(text).success, false);
  });
}

test('no spelling of an IPv6 address is a host', () => {
  for (const text of ADDRESSES_V6) assert.match(JSON.stringify(canonicalHost(text)), /refused/, text);
});

test('what the URL parser of a browser takes for an address is never a host', () => {
  const number = fc.oneof(fc.nat(300).map(String), fc.nat(0xffff_ffff).map(String), fc.nat(0xffff_ffff).map((n) => `0x${n.toString(16)}`), fc.nat(0xffff).map((n) => `0${n.toString(8)}`), fc.constantFrom('0x', '0X1f', ''));
  let addresses = 0;
  fc.assert(fc.property(fc.array(number, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('.')), (text) => {
    const url = URL.parse(`http://${text}/`);
    if (url !== null && parseAddress(url.hostname) !== null) {
      addresses++;
      assert.equal(hostOf(text), null, text);
    }
  }), { numRuns: 5_000 });
  assert.ok(addresses > 500, `${addresses} addresses were tried`);
});

test('a host is to the URL parser of a browser the same host', () => {
  fc.assert(fc.property(nearly, (text) => {
    const host = hostOf(text);
    // It checks punycode besides; a name in punycode that is none it does not take, and never for another name.
    if (host !== null) assert.ok([host, undefined].includes(URL.parse(`http://${host}/`)?.hostname), host);
  }), { numRuns: 5_000 });
});

test('no refusal repeats what the sandbox wrote', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 3, maxLength: 60 }).map((text) => `\u0001${text}`), (text) => {
    const parsed = canonicalHost(text);
    assert.ok('refused' in parsed && !parsed.refused.includes(text));
  }));
});

test('host and port are parted at one colon, with a port in plain digits', () => {
  assert.deepEqual(splitHostPort('API.example.com.:8443'), { host: 'api.example.com', port: 8443 });
  assert.deepEqual(splitHostPort('api.example.com', 443), { host: 'api.example.com', port: 443 });
  assert.deepEqual(splitHostPort('api.example.com:80', 443), { host: 'api.example.com', port: 80 });
  assert.deepEqual(splitHostPort('api.example.com:65535'), { host: 'api.example.com', port: 65_535 });
  const refused = [
    'api.example.com', 'api.example.com:', ':443', ':', '', 'a:0', 'a:65536', 'a:99999', 'a:0443', 'a:+443', 'a:-1', 'a: 443', 'a:443 ', 'a:443\n', 'a:4e2', 'a:0x1bb', 'a:443:443',
    'a:\u0664\u0664\u0663', 'u@a:443', '[::1]:443', '::1:443', '127.0.0.1:443', '127.1:443', 'a:443/', 'a:443\0',
  ];
  for (const text of refused) assert.match(JSON.stringify(splitHostPort(text)), /refused/, text);
});

test('whatever is given, host and port are parted or refused, and what is parted is parted alike again', () => {
  fc.assert(fc.property(fc.tuple(nearly, fc.oneof(fc.nat(70_000).map(String), fc.string({ maxLength: 6 }))).map((parts) => parts.join(':')), (text) => {
    const parts = splitHostPort(text);
    if ('refused' in parts) return;
    assert.ok(parts.port >= 1 && parts.port <= 65_535);
    assert.deepEqual(splitHostPort(`${parts.host}:${parts.port}`), parts);
  }), { numRuns: 2_000 });
});

test('--allow takes a host, a port and a protocol, and nothing it does not understand', () => {
  assert.deepEqual(allowArgument('api.example.com'), { host: 'api.example.com' });
  assert.deepEqual(allowArgument('*.example.com:443'), { host: '*.example.com', port: 443 });
  assert.deepEqual(allowArgument('db.example.com:5432/tcp'), { host: 'db.example.com', port: 5432, protocol: 'tcp' });
  assert.deepEqual(allowArgument('api.example.com/http'), { host: 'api.example.com', protocol: 'http' });
  const refused = [
    '', '*', '*.com', '*:443', 'a*.example.com', 'https://api.example.com', 'api.example.com/path', 'api.example.com:443/', 'api.example.com:0', 'api.example.com:0443', 'api.example.com:65536',
    'api.example.com:99999', 'api.example.com:', 'api.example.com:443/udp', '10.0.0.1', '10.0.0.1:80', '127.1', '[::1]:443', '::1', 'API.example.com', 'a b', 'api.example.com.', 'u@api.example.com', 'api.example.com:443\n',
  ];
  for (const text of refused) {
    const rule = allowArgument(text);
    assert.ok('refused' in rule && rule.refused !== '', text);
  }
});

test('what --allow takes is a rule of the contract', () => {
  fc.assert(fc.property(fc.oneof(nearly, fc.tuple(nearly, fc.nat(70_000), fc.constantFrom('', '/tls', '/http', '/tcp', '/')).map(([host, port, protocol]) => `${host}:${port}${protocol}`)), (text) => {
    const rule = allowArgument(text);
    if (!('refused' in rule)) assert.ok(EgressRule.safeParse(rule).success);
  }), { numRuns: 2_000 });
});
