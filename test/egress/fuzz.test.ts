import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClientHelloReader, parseAddress, readClientHello, readFramed, readProxyHead, readQuery, readRefusedPackets, readServerAnswer, readSocksGreeting, readSocksRequest, writeAnswer, writeFramed, writeRefusal } from '@caisson/egress';
import { leastMs } from '../least.ts';
import { dnsQuery, opt, wireName } from './dns-bytes.ts';
import { a, cname, reply } from './dns-server.ts';
import { extension, helloMessage, record, records, serverName, vector16, vector8 } from './hello-bytes.ts';
import { CAPTURED } from './nflog-captured.ts';

const SEED = Number(process.env['CAISSON_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = 3_000;
/** Longest that any reader may take over any input of at most 64 KiB, in milliseconds; they take microseconds. */
const CALL_MS_MAX = 250;

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** The message with which a kernel ends a datagram of several; it says nothing. */
const NLMSG_DONE_BYTES = 20;

interface Reader {
  readonly name: string;
  readonly read: (bytes: Buffer) => object | null;
  readonly valid: readonly Buffer[];
  /** What begins like something valid and then is anything: how far readers come by themselves. */
  readonly beginnings: readonly Buffer[];
  /** From so many bytes on there is a verdict, whatever they are. Null: the reader never waits. */
  readonly verdictBytes: number | null;
}

/** An answer is written to whatever was read, for what is echoed comes from the sandbox too. */
function readAndAnswer(bytes: Buffer): object | null {
  const query = readQuery(bytes);
  if (query === null) return query;
  const answer = 'refused' in query ? writeRefusal(query) : writeAnswer(query, { rcode: 0, addresses: ['198.18.0.1'], ttlSeconds: 1 });
  assert.ok(answer.length >= 12 && answer.length <= 512 && readQuery(answer) === null && answer.readUInt16BE(0) === bytes.readUInt16BE(0));
  return query;
}

const HELLO = records(helloMessage({ extensions: Buffer.concat([serverName('api.example.test'), extension(16, vector16(vector8(latin1('h2')))), extension(43, vector8(Buffer.of(3, 4, 3, 3)))]) }), 60);

const ASKED = dnsQuery({ id: 0 });
const CHAINED = reply(ASKED, { answers: [cname('b.test'), a('93.184.216.34', { owner: wireName('b.test') }), a('93.184.216.35', { owner: Buffer.of(0xc0, 12 + 22 + 12) })] });

/** What a server of names answered; whatever comes of it are addresses, or words of ours. */
function readAnswered(bytes: Buffer): object {
  const read = readServerAnswer(bytes, 0, { name: 'api.example.test', type: 1 });
  if ('records' in read) for (const { address, ttl } of read.records) assert.ok(parseAddress(address)?.family === 4 && ttl >= 0 && ttl < 2 ** 31);
  return read;
}

const READERS: readonly Reader[] = [
  { name: 'an answer of DNS', read: readAnswered, valid: [reply(ASKED, { answers: [a('93.184.216.34')] }), CHAINED], beginnings: [reply(ASKED).subarray(0, 12), reply(ASKED, { counts: [1, 9, 9, 9] }), Buffer.concat([reply(ASKED, { counts: [1, 200, 0, 0] }), Buffer.of(0xc0, 12)])], verdictBytes: null },
  { name: 'DNS', read: readAndAnswer, valid: [dnsQuery(), dnsQuery({ behind: opt(), name: wireName('a_b.c-d.test') })], beginnings: [dnsQuery().subarray(0, 12), dnsQuery({ behind: opt() }).subarray(0, 36)], verdictBytes: null },
  { name: 'DNS over TCP', read: readFramed, valid: [writeFramed(dnsQuery())], beginnings: [Buffer.of(0)], verdictBytes: 4_098 },
  { name: 'a ClientHello', read: readClientHello, valid: [HELLO, records(helloMessage())], beginnings: [HELLO.subarray(0, 5), HELLO.subarray(0, 9), HELLO.subarray(0, 48)], verdictBytes: 65_541 },
  {
    name: 'an HTTP proxy', read: readProxyHead,
    valid: [latin1('CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nX: y\r\n\r\n'), latin1('GET http://a.test/p?q HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n')],
    beginnings: [latin1('CONNECT '), latin1('GET http://a.test/ HTTP/1.1\r\nHost: '), latin1('GET http://a.test/ HTTP/1.0\r\n')], verdictBytes: 16_384,
  },
  { name: 'a greeting of SOCKS', read: readSocksGreeting, valid: [Buffer.of(5, 2, 2, 0)], beginnings: [Buffer.of(5)], verdictBytes: 257 },
  { name: 'a request of SOCKS', read: readSocksRequest, valid: [latin1('\x05\x01\0\x03\x06a.test\x01\xbb'), latin1(`\x05\x01\0\x04${'\x20'.repeat(16)}\x01\xbb`)], beginnings: [Buffer.of(5, 1, 0), Buffer.of(5, 1, 0, 3)], verdictBytes: 262 },
  { name: 'refused packets', read: (bytes) => ({ packets: readRefusedPackets(bytes) }), valid: CAPTURED.map((datagram) => datagram.subarray(0, -NLMSG_DONE_BYTES)), beginnings: CAPTURED.flatMap((datagram) => [datagram.subarray(0, 20), datagram.subarray(0, 60)]), verdictBytes: null },
];

const isWaiting = (read: object | null): boolean => read !== null && 'need' in read;
const isVerdict = (read: object | null): boolean => read === null || ['need', 'refused', 'name', 'hello', 'message', 'connect', 'absolute', 'answer', 'request', 'packets', 'records', 'absent'].some((key) => key in read);

/** Reads, holding the reader to its promises: a verdict of its kind, in time, and no waiting beyond its bound. */
function hold({ read, verdictBytes }: Reader, bytes: Buffer): object | null {
  let found: object | null = null;
  const tookMs = leastMs(CALL_MS_MAX, () => void (found = read(bytes)));
  assert.ok(tookMs < CALL_MS_MAX, `${tookMs} ms for ${bytes.length} bytes`);
  assert.ok(isVerdict(found), JSON.stringify(found));
  assert.ok(!isWaiting(found) || (verdictBytes !== null && bytes.length < verdictBytes), `waits after ${bytes.length} bytes`);
  return found;
}

const noise = fc.uint8Array({ maxLength: 400 });
const change = fc.tuple(fc.nat(), fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 2, 3, 0x0a, 0x0d, 0x20, 0x7f, 0x80, 0xc0, 0xff)), fc.constantFrom('set', 'insert', 'remove', 'double'));
const changes = fc.array(change, { minLength: 1, maxLength: 6 });

function mutated(original: Buffer, all: readonly (readonly [number, number, string])[]): Buffer {
  return all.reduce<Buffer>((bytes, [position, value, how]) => {
    const at = position % Math.max(1, bytes.length);
    const [before, behind] = [bytes.subarray(0, at), bytes.subarray(how === 'insert' || how === 'double' ? at : at + 1)];
    const middle = how === 'remove' ? Buffer.alloc(0) : how === 'double' ? bytes.subarray(at, at + 1 + (value % 16)) : Buffer.of(value);
    return Buffer.concat([before, middle, behind]);
  }, original);
}

for (const reader of READERS) {
  const { name, valid, beginnings, verdictBytes } = reader;

  test(`${name}: bytes at random, and behind a good beginning, end in a verdict`, () => {
    fc.assert(fc.property(fc.constantFrom(Buffer.alloc(0), ...beginnings), noise, (beginning, bytes) => {
      hold(reader, Buffer.concat([beginning, bytes]));
    }), { numRuns: RUNS, seed: SEED });
  });

  test(`${name}: what is cut off at any byte is not taken for whole`, () => {
    for (const whole of valid) {
      const found = hold(reader, whole);
      assert.ok(found !== null && !('refused' in found) && !isWaiting(found), JSON.stringify(found));
      for (let length = 0; length < whole.length; length++) {
        const cut = hold(reader, whole.subarray(0, length));
        if (verdictBytes !== null) assert.ok(isWaiting(cut), `${length} of ${whole.length} bytes: ${JSON.stringify(cut)}`);
        else assert.notDeepEqual(cut, found);
      }
    }
  });

  test(`${name}: every byte set to every value ends in a verdict`, () => {
    for (const whole of valid) {
      for (let at = 0; at < Math.min(whole.length, 200); at++) {
        for (let value = 0; value < 256; value++) {
          const bytes = Buffer.from(whole);
          bytes.writeUInt8(value, at);
          hold(reader, bytes);
        }
      }
    }
  });

  test(`${name}: bytes set, added, removed and doubled end in a verdict, good or bad`, () => {
    let good = 0;
    fc.assert(fc.property(fc.constantFrom(...valid), changes, (original, all) => {
      const found = hold(reader, mutated(original, all));
      if (found !== null && !('refused' in found) && !isWaiting(found)) good++;
    }), { numRuns: RUNS, seed: SEED });
    assert.ok(good > RUNS / 100, `${good} of ${RUNS} were good: the changes are too rough`);
  });

  test(`${name}: 64 KiB of one thing over and over end in a verdict, at once`, () => {
    const things = ['\0', ' ', '\t', '\r', '\n', '\r\n', '\r\n ', ':', 'a', 'a:', 'a:\r\n', 'a: \t', 'http://', '/', '\x01a', '?', '\x05\x01', '\xff', '\x16\x03\x01\0\x01\x01', '\0\0\0\x04', '\x04\0\0\0'];
    for (const thing of things) for (const beginning of [Buffer.alloc(0), ...beginnings]) hold(reader, Buffer.concat([beginning, latin1(thing.repeat(Math.ceil(66_000 / thing.length)))]));
  });
}

test('a ClientHello: the pieces that it comes in make no difference, whatever it is', () => {
  fc.assert(fc.property(fc.constantFrom(HELLO, records(helloMessage())), changes, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }), (original, all, sizes) => {
    const bytes = mutated(original, all);
    const reader = new ClientHelloReader();
    let state: unknown = { need: 'more' };
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const size = sizes[turn % sizes.length] ?? 1;
      state = reader.push(bytes.subarray(at, at + size));
      at += size;
    }
    assert.deepEqual(state, bytes.length === 0 ? { need: 'more' } : readClientHello(bytes));
  }), { numRuns: RUNS, seed: SEED });
});

test('a ClientHello: records of any size that promise a long message are refused at the bound', () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 16_384 }), { minLength: 1, maxLength: 8 }), (sizes) => {
    const reader = new ClientHelloReader();
    reader.push(record(Buffer.of(1, 0, 0xff, 0xff)));
    let sent = 9;
    for (let turn = 0; sent < 65_541; turn++) {
      const next = record(Buffer.alloc(sizes[turn % sizes.length] ?? 1));
      sent += next.length;
      if (!('need' in reader.push(next))) return;
    }
    assert.fail(`still waiting after ${sent} bytes`);
  }), { numRuns: 100, seed: SEED });
});

test('an answer of DNS: names that point at names that point are read in time, or not at all', () => {
  const ladder = Buffer.concat(Array.from({ length: 8_000 }, (_, at) => Buffer.of(0xc0 | ((12 + 2 * at) >> 8), (12 + 2 * at) & 0xff)));
  const owners = Array.from({ length: 500 }, (_, at) => a('93.184.216.34', { owner: Buffer.of(0xff, 0xff - at % 16) }));
  const message = reply(ASKED, { counts: [1, 501, 0, 0], answers: [Buffer.concat([Buffer.of(0), Buffer.from([0, 16, 0, 1, 0, 0, 0, 0]), Buffer.of(ladder.length >> 8, ladder.length & 255), ladder]), ...owners] });
  const tookMs = leastMs(CALL_MS_MAX, () => assert.ok('refused' in readServerAnswer(message, 0, { name: 'api.example.test', type: 1 })));
  assert.ok(tookMs < CALL_MS_MAX, `${tookMs} ms`);
});

test('an answer of DNS: what is said of a name is found whatever stands around it, and of no other name', () => {
  const label = fc.stringMatching(/^[a-z0-9]{1,20}$/);
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
  fc.assert(fc.property(name, name, fc.array(name, { maxLength: 12 }), fc.ipV4(), (wanted, other, hops, address) => {
    fc.pre(new Set([wanted, other, ...hops]).size === hops.length + 2);
    const query = dnsQuery({ id: 0, name: wireName(wanted) });
    const chain = [wanted, ...hops];
    const links = hops.map((to, at) => cname(to, { owner: wireName(chain[at] ?? '') }));
    const others = [a('10.0.0.1', { owner: wireName(other) }), a('10.0.0.2', { owner: wireName(wanted.toUpperCase()), kind: 3 })];
    const message = reply(query, { answers: [...others, a(address, { owner: wireName((chain.at(-1) ?? '').toUpperCase()) }), ...links.toReversed()] });
    assert.deepEqual(readServerAnswer(message, 0, { name: wanted, type: 1 }), { records: [{ address, ttl: 60 }] });
  }), { numRuns: 500, seed: SEED });
});
