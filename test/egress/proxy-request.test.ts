import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readProxyHead, type ProxyHead } from '@caisson/egress';

const read = (text: string): ProxyHead => readProxyHead(Buffer.from(text, 'latin1'));
const connect = (target: string, ...headers: readonly string[]): string => [`CONNECT ${target} HTTP/1.1`, ...headers, '', ''].join('\r\n');
const get = (target: string, ...headers: readonly string[]): string => [`GET ${target} HTTP/1.1`, ...headers, '', ''].join('\r\n');

test('CONNECT names a host and a port, as they were sent, and what follows is left alone', () => {
  const head = connect('API.example.test:443', 'Host: api.EXAMPLE.test:443', 'Proxy-Connection: Keep-Alive', 'User-Agent: curl/7.88.1');
  assert.deepEqual(read(`${head}\x16\x03\x01`), { connect: { host: 'API.example.test', port: 443 }, restAt: head.length });
  assert.deepEqual(read('CONNECT a.test:22 HTTP/1.0\r\n\r\n'), { connect: { host: 'a.test', port: 22 }, restAt: 30 });
});

test('a Host without a port, which some clients of CONNECT send, is the same place', () => {
  assert.ok('connect' in read(connect('a.test:8443', 'Host: a.test')));
  assert.ok('connect' in read(connect('a.test:443', 'Content-Length: 0')));
});

test('an address is handed on in its brackets or dots, for others to refuse', () => {
  for (const host of ['127.0.0.1', '2130706433', '0x7f.1', '[::1]', '[::ffff:10.0.0.1]', 'localhost', 'a.test.', '-']) {
    assert.deepEqual(read(connect(`${host}:80`, `Host: ${host}:80`)), { connect: { host, port: 80 }, restAt: connect(`${host}:80`, `Host: ${host}:80`).length });
  }
});

test('a request for a whole address is read: host, port, what to ask for, headers and body', () => {
  const head = get('http://a.test:8080/p/q?x=1', 'Host: a.test:8080', 'X-Two:\t b\xfc \t', 'X-Two: c', 'x-empty:', 'Content-Length: 12');
  assert.deepEqual(read(`${head}{"a": true}\n`), {
    absolute: {
      method: 'GET', version: '1.1', host: 'a.test', port: 8080, target: '/p/q?x=1', body: 12,
      headers: [['Host', 'a.test:8080'], ['X-Two', 'b\xfc'], ['X-Two', 'c'], ['x-empty', ''], ['Content-Length', '12']],
    },
    restAt: head.length,
  });
});

test('without a port it is 80, without a path the root, and a body can come in chunks', () => {
  for (const [target, asked] of [['http://a.test', '/'], ['HTTP://a.test?q', '/?q'], ['http://a.test:80/', '/']] as const) {
    const state = read(get(target, 'Host: a.test', 'Transfer-Encoding: Chunked'));
    assert.ok('absolute' in state, JSON.stringify(state));
    assert.deepEqual([state.absolute.port, state.absolute.target, state.absolute.body], [80, asked, 'chunked']);
  }
});

const TARGETS: readonly (readonly [string, RegExp])[] = [
  ['a.test', /^no port$/], ['a.test:', /host and a port/], ['a.test:0', /host and a port/], ['a.test:65536', /host and a port/], ['a.test:0443', /host and a port/],
  ['a.test:+443', /host and a port/], ['a.test:443:80', /host and a port/], [':443', /host and a port/], ['user@a.test:443', /host and a port/],
  ['user:secret@a.test:443', /host and a port/], ['a.test%00.evil.test:443', /host and a port/], ['a%2etest:443', /host and a port/], ['http://a.test:443', /host and a port/],
  ['a.test:443/path', /host and a port/], ['a.test\\evil.test:443', /host and a port/], ['a.test,evil.test:443', /host and a port/], ['::1:443', /host and a port/],
  ['[::1%25lo]:443', /host and a port/], ['[::1:443', /host and a port/], ['b\xfccher.test:443', /request line/], ['a.test\0:443', /request line/],
  [' a.test:443', /request line/], ['a.test:443 ', /request line/], ['a.test\t:443', /request line/], [`${'a'.repeat(256)}:443`, /host and a port/], ['*', /host and a port/],
];
for (const [target, reason] of TARGETS) {
  test(`CONNECT to ${JSON.stringify(target).slice(0, 60)} is refused`, () => {
    const state = read(connect(target));
    assert.ok('refused' in state, JSON.stringify(state));
    assert.equal(state.refused, 400);
    assert.match(state.reason, reason);
  });
}

const HOSTILE: readonly (readonly [string, string, RegExp, number?])[] = [
  ['TLS', '\x16\x03\x01', /not a request/],
  ['SOCKS5', '\x05\x01\0', /not a request/],
  ['an empty line first', '\r\nGET / HTTP/1.1\r\n\r\n', /not a request/],
  ['a path alone', get('/', 'Host: a.test'), /neither of CONNECT nor/],
  ['a target that is an asterisk', get('*', 'Host: a.test'), /neither of CONNECT nor/],
  ['an https: address', get('https://a.test/', 'Host: a.test'), /neither of CONNECT nor/],
  ['an ftp: address', get('ftp://a.test/', 'Host: a.test'), /neither of CONNECT nor/],
  ['an address without a host', get('http:///a.test', 'Host: a.test'), /neither of CONNECT nor/],
  ['an address with a fragment', get('http://a.test/#@evil.test', 'Host: a.test'), /neither of CONNECT nor/],
  ['an address with a user', get('http://a.test@evil.test/', 'Host: evil.test'), /whose host is none/],
  ['an address with a backslash', get('http://a.test\\@evil.test/', 'Host: a.test'), /whose host is none/],
  ['an address with an empty port', get('http://a.test:/', 'Host: a.test'), /whose host is none/],
  ['connect in small letters', 'connect a.test:443 HTTP/1.1\r\n\r\n', /neither of CONNECT nor/],
  ['no Host', get('http://a.test/'), /^no Host$/],
  ['another Host', get('http://a.test/', 'Host: evil.test'), /not the target/],
  ['another Host of CONNECT', connect('a.test:443', 'Host: evil.test:443'), /not the target/],
  ['another port in Host', connect('a.test:443', 'Host: a.test:80'), /not the target/],
  ['a Host with a dot at its end', connect('a.test:443', 'Host: a.test.:443'), /not the target/],
  ['an empty Host', connect('a.test:443', 'Host:'), /not the target/],
  ['a Host that is a list', connect('a.test:443', 'Host: a.test, evil.test'), /not the target/],
  ['a Host with a user', connect('a.test:443', 'Host: user@a.test'), /not the target/],
  ['two Hosts', connect('a.test:443', 'Host: a.test', 'Host: evil.test'), /more than one Host/],
  ['the same Host twice', connect('a.test:443', 'Host: a.test', 'hOST: a.test'), /more than one Host/],
  ['a length and an encoding', get('http://a.test/', 'Host: a.test', 'Content-Length: 5', 'Transfer-Encoding: chunked'), /Content-Length and Transfer-Encoding/],
  ['two lengths', get('http://a.test/', 'Host: a.test', 'Content-Length: 5', 'content-length: 5'), /two lengths/],
  ['two encodings', get('http://a.test/', 'Host: a.test', 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'), /two lengths/],
  ['a list of lengths', get('http://a.test/', 'Host: a.test', 'Content-Length: 5, 5'), /no number/],
  ['a signed length', get('http://a.test/', 'Host: a.test', 'Content-Length: +5'), /no number/],
  ['a length in hexadecimal', get('http://a.test/', 'Host: a.test', 'Content-Length: 0x5'), /no number/],
  ['an empty length', get('http://a.test/', 'Host: a.test', 'Content-Length:'), /no number/],
  ['a length beyond numbers', get('http://a.test/', 'Host: a.test', `Content-Length: ${'9'.repeat(16)}`), /no number/],
  ['an encoding that is not chunked', get('http://a.test/', 'Host: a.test', 'Transfer-Encoding: gzip, chunked'), /other than chunked/],
  ['an encoding that is nearly chunked', get('http://a.test/', 'Host: a.test', 'Transfer-Encoding: \x0bchunked'), /header line/],
  ['chunks in HTTP/1.0', 'GET http://a.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', /other than chunked/],
  ['CONNECT with a body', connect('a.test:443', 'Content-Length: 1'), /with a body/],
  ['CONNECT with chunks', connect('a.test:443', 'Transfer-Encoding: chunked'), /with a body/],
  ['a line that ends with LF alone', 'CONNECT a.test:443 HTTP/1.1\n', /CR LF/],
  ['a header line that ends with LF alone', connect('a.test:443', 'X: y\nHost: evil.test'), /header line/],
  ['a CR alone', connect('a.test:443', 'X: y\rHost: evil.test'), /header line/],
  ['a folded header', connect('a.test:443', 'X: y', ' z'), /header line/],
  ['a folded first header', connect('a.test:443', '\tz'), /header line/],
  ['a blank before the colon', connect('a.test:443', 'Host : a.test'), /header line/],
  ['a header without a name', connect('a.test:443', ': a'), /header line/],
  ['a header without a colon', connect('a.test:443', 'Host'), /header line/],
  ['a NUL in a header', connect('a.test:443', 'X: a\0b'), /header line/],
  ['a control character in a header', connect('a.test:443', 'X: a\x1bb'), /header line/],
  ['DEL in a header', connect('a.test:443', 'X: a\x7fb'), /header line/],
  ['a NUL in the name of a header', connect('a.test:443', 'Ho\0st: a'), /header line/],
  ['two blanks in the request line', 'CONNECT  a.test:443 HTTP/1.1\r\n\r\n', /request line/],
  ['a tab in the request line', 'CONNECT\ta.test:443 HTTP/1.1\r\n\r\n', /request line/],
  ['no version', 'CONNECT a.test:443\r\n\r\n', /request line/],
  ['HTTP/2.0', 'CONNECT a.test:443 HTTP/2.0\r\n\r\n', /version 2\.0/, 505],
  ['HTTP/1.2', 'CONNECT a.test:443 HTTP/1.2\r\n\r\n', /version 1\.2/, 505],
  ['HTTP/1.10', 'CONNECT a.test:443 HTTP/1.10\r\n\r\n', /request line/],
  ['http in small letters', 'CONNECT a.test:443 http/1.1\r\n\r\n', /request line/],
  ['a head of 16 KiB that does not end', `CONNECT a.test:443 HTTP/1.1\r\nX: ${'a'.repeat(16_384 - 32)}`, /more than 16384 bytes/, 431],
  ['a head that ends behind 16 KiB', connect('a.test:443', `X: ${'a'.repeat(16_384)}`), /more than 16384 bytes/, 431],
];
for (const [what, text, reason, status = 400] of HOSTILE) {
  test(`a client is refused that sends ${what}`, () => {
    const state = read(text);
    assert.ok('refused' in state, JSON.stringify(state).slice(0, 200));
    assert.match(state.reason, reason);
    assert.equal(state.refused, status);
  });
}

test('a head of exactly 16 KiB is read, and at every byte but the last more is needed', () => {
  const fixed = connect('a.test:443', 'Host: a.test', 'X: ').length;
  const head = connect('a.test:443', 'Host: a.test', `X: ${'a'.repeat(16_384 - fixed)}`);
  assert.equal(head.length, 16_384);
  assert.ok('connect' in read(head));
  const short = connect('a.test:443', 'Host: a.test');
  for (let length = 0; length < short.length; length++) assert.deepEqual(read(short.slice(0, length)), { need: 'more' }, `${length} bytes`);
});
