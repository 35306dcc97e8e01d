import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { RCODE, readFramed, readQuery, writeAnswer, writeFramed, writeRefusal, type Answer, type Query, type RefusedQuery } from '@caisson/egress';
import { dnsQuery, opt, wireName, type QuerySpec } from './dns-bytes.ts';
import { u16 } from './hello-bytes.ts';

function queryOf(bytes: Buffer): Query {
  const read = readQuery(bytes);
  assert.ok(read !== null && !('refused' in read), JSON.stringify(read));
  return read;
}

function refusalOf(bytes: Buffer): RefusedQuery {
  const read = readQuery(bytes);
  assert.ok(read !== null && 'refused' in read, JSON.stringify(read));
  return read;
}

const FOUND: Answer = { rcode: RCODE.noError, addresses: ['198.18.0.7'], ttlSeconds: 60 };
const QUESTION = Buffer.concat([wireName('api.example.test'), u16(1), u16(1)]);

test('a query is read: name, type and what is echoed', () => {
  const query = queryOf(dnsQuery());
  assert.deepEqual(query, { id: 0xbeef, opcode: 0, recursionDesired: true, question: QUESTION, edns: null, name: 'api.example.test', type: 1 });
  assert.deepEqual(queryOf(dnsQuery({ behind: opt() })).edns, { version: 0, dnssecOk: true });
  assert.equal(queryOf(dnsQuery({ flags: 0, behind: opt({ data: Buffer.alloc(0), flags: 0 }) })).recursionDesired, false);
});

test('a name is given and echoed byte for byte, in whatever case it comes', () => {
  fc.assert(fc.property(fc.array(fc.stringMatching(/^[A-Za-z0-9_-]{1,63}$/), { maxLength: 3 }), fc.integer({ min: 0, max: 0xffff }), (labels, id) => {
    const bytes = dnsQuery({ id, name: wireName(labels.join('.')) });
    const query = queryOf(bytes);
    assert.equal(query.name, labels.join('.'));
    const answer = writeAnswer(query, FOUND);
    assert.deepEqual(answer.subarray(12, bytes.length), bytes.subarray(12));
    assert.equal(answer.readUInt16BE(0), id);
  }), { numRuns: 500 });
});

test('an answer is exactly these bytes: RA and not AA, and the question is pointed to', () => {
  const answer = writeAnswer(queryOf(dnsQuery({ behind: opt() })), FOUND);
  assert.equal(answer.toString('hex'), [
    'beef8180', '0001000100000001', QUESTION.toString('hex'), 'c00c00010001', '0000003c', '0004c6120007', '00002904d0', '00008000', '0000',
  ].join(''));
});

test('there being nothing is said with how long that may be remembered', () => {
  const soa = ['0000060001', '00000005', '0016', '0000', '00000001', '00000005'.repeat(4)].join('');
  for (const [rcode, type, flags] of [[RCODE.nxDomain, 1, '8183'], [RCODE.noError, 28, '8180'], [RCODE.noError, 65, '8180'], [RCODE.noError, 16, '8180'], [RCODE.noError, 255, '8180']] as const) {
    const bytes = dnsQuery({ type });
    const answer = writeAnswer(queryOf(bytes), { rcode, addresses: ['198.18.0.7'], ttlSeconds: 5 });
    assert.equal(answer.toString('hex'), `beef${flags}0001000000010000${bytes.subarray(12).toString('hex')}${soa}`);
  }
});

test('no answer is longer than every resolver takes, and of many addresses as many as fit are given', () => {
  const longest = wireName(Array.from({ length: 4 }, (_, index) => 'x'.repeat(index === 3 ? 61 : 63)).join('.'));
  assert.equal(longest.length, 255);
  for (const behind of [Buffer.alloc(0), opt()]) {
    for (const name of [wireName('a.test'), longest]) {
      const answer = writeAnswer(queryOf(dnsQuery({ name, behind })), { ...FOUND, addresses: Array.from({ length: 200 }, (_, index) => `198.18.0.${index}`) });
      assert.ok(answer.length <= 512 && answer.length > 512 - 16, `${answer.length} bytes`);
    }
  }
});

test('what is no query is dropped, or two servers would answer each other for ever', () => {
  for (const bytes of [Buffer.alloc(0), dnsQuery().subarray(0, 11), dnsQuery({ flags: 0x8100 }), dnsQuery({ flags: 0xa800 })]) assert.equal(readQuery(bytes), null);
  const query = queryOf(dnsQuery({ behind: opt() }));
  assert.equal(readQuery(writeAnswer(query, FOUND)), null);
  assert.equal(readQuery(writeRefusal(refusalOf(dnsQuery({ kind: 3 })))), null);
});

const MALFORMED: readonly (readonly [string, QuerySpec])[] = [
  ['no question', { counts: [0, 0, 0, 0] }],
  ['two questions', { counts: [2, 0, 0, 0] }],
  ['an answer', { counts: [1, 1, 0, 0], behind: opt() }],
  ['an authority', { counts: [1, 0, 1, 0], behind: opt() }],
  ['two additional records', { counts: [1, 0, 0, 2], behind: Buffer.concat([opt(), opt()]) }],
  ['an additional record that is not EDNS', { behind: opt({ type: 250 }) }],
  ['EDNS of a name', { behind: opt({ owner: wireName('a') }) }],
  ['EDNS of a label that is cut off', { behind: opt({ owner: Buffer.of(1) }) }],
  ['an option that ends behind the record', { behind: opt({ data: Buffer.of(0, 10, 0, 9, 1) }) }],
  ['half an option', { behind: opt({ data: Buffer.of(0, 10, 0) }) }],
  ['EDNS that is not there', { counts: [1, 0, 0, 1] }],
  ['a byte behind the question', { counts: [1, 0, 0, 0], behind: Buffer.of(0) }],
  ['a byte behind EDNS', { behind: Buffer.concat([opt(), Buffer.of(0)]) }],
  ['a name that is a pointer to itself', { name: Buffer.of(0xc0, 12) }],
  ['a name that ends in a pointer', { name: Buffer.of(1, 0x61, 0xc0, 12) }],
  ['a label of a kind that there is not', { name: Buffer.of(0x41, 0x61, 0) }],
  ['a label of 64 bytes', { name: Buffer.concat([Buffer.of(64), Buffer.alloc(64, 0x61), Buffer.of(0)]) }],
  ['a pointer that could be a label', { name: Buffer.concat([Buffer.of(0xc0), Buffer.alloc(0xc0, 0x61), Buffer.of(0)]) }],
  ['a label longer than the message', { name: Buffer.of(63, 0x61) }],
  ['a name that does not end', { name: Buffer.of(1, 0x61) }],
  ['a name of 256 bytes', { name: wireName(Array.from({ length: 4 }, (_, index) => 'x'.repeat(index === 3 ? 62 : 63)).join('.')) }],
];
for (const [what, spec] of MALFORMED) {
  test(`a query is malformed that has ${what}`, () => {
    const refusal = refusalOf(dnsQuery(spec));
    assert.equal(refusal.refused, RCODE.formErr);
    assert.equal(writeRefusal(refusal).toString('hex'), 'beef81810000000000000000');
  });
}

test('other operations, classes and versions of EDNS are answered with the code for each', () => {
  for (const opcode of [1, 2, 4, 5, 6, 15]) assert.equal(writeRefusal(refusalOf(dnsQuery({ flags: (opcode << 11) | 0x0100 }))).readUInt16BE(2), 0x8184 | (opcode << 11));
  for (const kind of [0, 3, 4, 254, 255]) {
    const answer = writeRefusal(refusalOf(dnsQuery({ kind })));
    assert.equal(answer.readUInt16BE(2), 0x8185);
    assert.deepEqual(answer.subarray(12), dnsQuery({ kind }).subarray(12));
  }
  const answer = writeRefusal(refusalOf(dnsQuery({ behind: opt({ version: 1 }) })));
  assert.equal(answer.toString('hex'), `beef81800001000000000001${QUESTION.toString('hex')}00002904d0010080000000`);
});

test('a name that no host can have does not exist: dots, NUL and blanks inside a label, and bytes that are not ASCII', () => {
  for (const label of ['a.b', 'a\0', 'a b', 'b\xfccher', '*', '\\', '%00', '\xad']) {
    const name = Buffer.concat([Buffer.of(label.length), Buffer.from(label, 'latin1'), wireName('example.test')]);
    const refusal = refusalOf(dnsQuery({ name }));
    assert.equal(refusal.refused, RCODE.nxDomain, JSON.stringify(label));
    assert.deepEqual(writeRefusal(refusal).subarray(12), dnsQuery({ name }).subarray(12));
  }
});

test('over TCP messages are cut out by their length, and those that cannot be queries are refused at it', () => {
  const two = Buffer.concat([writeFramed(dnsQuery({ id: 1 })), writeFramed(dnsQuery({ id: 2, behind: opt() }))]);
  const first = readFramed(two);
  assert.ok('message' in first);
  const second = readFramed(two.subarray(first.next));
  assert.ok('message' in second);
  assert.deepEqual([first.message, second.message].map((message) => readQuery(message)?.id), [1, 2]);
  assert.equal(first.next + second.next, two.length);
  for (let length = 0; length < first.next; length++) assert.deepEqual(readFramed(two.subarray(0, length)), { need: 'more' });
  for (const length of [0, 11, 4_097, 65_535]) assert.deepEqual(readFramed(u16(length)), { refused: `a DNS message of ${length} bytes` });
});

test('c-ares, the resolver of Node, understands every answer', async () => {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, { address, port }) => {
    const query = readQuery(bytes);
    if (query === null) return;
    if ('refused' in query) return socket.send(writeRefusal(query), port, address);
    const isKnown = query.name.toLowerCase() === 'api.example.test';
    socket.send(writeAnswer(query, { rcode: isKnown ? RCODE.noError : RCODE.nxDomain, addresses: ['198.18.0.7', '198.18.0.8'], ttlSeconds: 7 }), port, address);
  });
  await new Promise<void>((bound) => socket.bind(0, '127.0.0.1', bound));
  try {
    const resolver = new Resolver({ timeout: 2_000, tries: 1 });
    resolver.setServers([`127.0.0.1:${socket.address().port}`]);
    assert.deepEqual(await resolver.resolve4('API.example.test', { ttl: true }), [{ address: '198.18.0.7', ttl: 7 }, { address: '198.18.0.8', ttl: 7 }]);
    for (const ask of [resolver.resolve6('api.example.test'), resolver.resolveTxt('api.example.test'), resolver.resolveAny('api.example.test'), resolver.resolveMx('api.example.test')]) {
      await assert.rejects(ask, { code: 'ENODATA' });
    }
    for (const ask of [resolver.resolve4('evil.test'), resolver.resolve6('evil.test')]) await assert.rejects(ask, { code: 'ENOTFOUND' });
  } finally {
    socket.close();
  }
});
