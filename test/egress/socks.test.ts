import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSocksGreeting, readSocksRequest, SOCKS_REPLY, writeSocksReply } from '@caisson/egress';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const request = (rest: string): Buffer => latin1(`\x05\x01\0${rest}`);
const named = (name: string, port = '\x01\xbb'): Buffer => request(`\x03${String.fromCharCode(name.length)}${name}${port}`);

test('of the methods on offer none is chosen, which must be there', () => {
  for (const greeting of ['\x05\x01\0', '\x05\x02\0\x02', '\x05\x03\x01\x02\0']) {
    assert.deepEqual(readSocksGreeting(latin1(`${greeting}rest`)), { answer: Buffer.of(5, 0), restAt: greeting.length });
  }
  for (const greeting of ['\x05\x01\x02', '\x05\0', `\x05\xff${'\x02'.repeat(255)}`]) {
    const read = readSocksGreeting(latin1(greeting));
    assert.deepEqual('refused' in read && read.answer, Buffer.of(5, 0xff));
  }
});

test('SOCKS4, SOCKS4a and what is no SOCKS are refused at the first byte, without an answer', () => {
  assert.deepEqual(readSocksGreeting(Buffer.of(4)), { refused: 'SOCKS4', answer: null });
  assert.deepEqual(readSocksGreeting(latin1('\x04\x01\x01\xbb\0\0\0\x01user\0api.example.test\0')), { refused: 'SOCKS4', answer: null });
  assert.deepEqual(readSocksGreeting(latin1('G')), { refused: 'not SOCKS5', answer: null });
  assert.deepEqual(readSocksRequest(Buffer.of(1)), { refused: 'not SOCKS5', answer: null });
});

test('a name is given as it was sent, and the rest is left alone', () => {
  for (const name of ['api.example.test', 'API.example.test.', '127.0.0.1', 'user@host', '0x7f.1', 'a'.repeat(255)]) {
    assert.deepEqual(readSocksRequest(Buffer.concat([named(name), latin1('hello')])), { request: { type: 'name', host: name, port: 443 }, restAt: 7 + name.length });
  }
});

test('an address is told apart from a name', () => {
  assert.deepEqual(readSocksRequest(request('\x01\x0a\0\0\x07\0\x16')), { request: { type: 'ipv4', host: '10.0.0.7', port: 22 }, restAt: 10 });
  assert.deepEqual(readSocksRequest(request(`\x04${'\0'.repeat(10)}\xff\xff\x0a\0\0\x07\0\x16`)), { request: { type: 'ipv6', host: '::ffff:a00:7', port: 22 }, restAt: 22 });
});

const HOSTILE: readonly (readonly [string, Buffer, RegExp, number])[] = [
  ['BIND, at its byte', Buffer.of(5, 2), /^command 2/, SOCKS_REPLY.commandNotSupported],
  ['UDP ASSOCIATE', latin1('\x05\x03\0\x01\0\0\0\0\0\0'), /^command 3/, SOCKS_REPLY.commandNotSupported],
  ['a command that there is not', Buffer.of(5, 0xf0), /^command 240/, SOCKS_REPLY.commandNotSupported],
  ['a reserved byte', Buffer.of(5, 1, 1), /reserved byte/, SOCKS_REPLY.failure],
  ['an address type that there is not', Buffer.of(5, 1, 0, 2), /^address type 2/, SOCKS_REPLY.addressTypeNotSupported],
  ['a name of no bytes', named(''), /no bytes/, SOCKS_REPLY.failure],
  ['a NUL in the name', named('api.example.test\0.evil.test'), /not printable ASCII/, SOCKS_REPLY.failure],
  ['a NUL in the name, before all of it is there', request('\x03\xff\0'), /not printable ASCII/, SOCKS_REPLY.failure],
  ['a line end in the name', named('a\r\nb'), /not printable ASCII/, SOCKS_REPLY.failure],
  ['a name that is not ASCII', named('b\xfccher.test'), /not printable ASCII/, SOCKS_REPLY.failure],
  ['port 0', named('a.test', '\0\0'), /^port 0$/, SOCKS_REPLY.failure],
];
for (const [what, bytes, reason, reply] of HOSTILE) {
  test(`a request is refused that has ${what}, with the reply for it`, () => {
    const read = readSocksRequest(bytes);
    assert.ok('refused' in read, JSON.stringify(read));
    assert.match(read.refused, reason);
    assert.deepEqual(read.answer, Buffer.of(5, reply, 0, 1, 0, 0, 0, 0, 0, 0));
  });
}

test('at every byte but the last, more is needed', () => {
  for (const bytes of [named('api.example.test'), request('\x01\x0a\0\0\x07\0\x16'), request(`\x04${'\x20'.repeat(16)}\0\x16`)]) {
    for (let length = 0; length < bytes.length; length++) assert.deepEqual(readSocksRequest(bytes.subarray(0, length)), { need: 'more' }, `${length} bytes`);
  }
  for (let length = 0; length < 4; length++) assert.deepEqual(readSocksGreeting(Buffer.of(5, 2, 2, 0).subarray(0, length)), { need: 'more' });
});

test('a reply says nothing of our own addresses', () => {
  assert.deepEqual(writeSocksReply(SOCKS_REPLY.succeeded), Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
});
