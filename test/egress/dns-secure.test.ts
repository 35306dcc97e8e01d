import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { openResolver, writeFramed } from '@caisson/egress';
import { a, cname, good, readAsked, reply, rr, serveDns, type DnsServer } from './dns-server.ts';

const NAME = 'dns.example.test';
const HOST = 'api.example.test';
const PUBLIC = '93.184.216.34';
const RESPONSE = { ':status': 200, 'content-type': 'application/dns-message' } as const;
const TIMEOUT_MS = 30_000;
const BOX = 'box';

type Transport = 'tls' | 'https';
type Answers = (query: Buffer) => Buffer;

const frame = (message: Buffer): Buffer => writeFramed(message);

/** A server that answers by either transport. */
function serve(transport: Transport, answers: Answers): Promise<DnsServer> {
  return transport === 'tls'
    ? serveDns({ tls: (query, socket) => void socket.write(frame(answers(query))) })
    : serveDns({ https: (query, stream) => respond(stream, answers(query)) });
}

function respond(stream: ServerHttp2Stream, body: Buffer, headers: Readonly<Record<string, string | number>> = RESPONSE): void {
  stream.respond(headers);
  stream.end(body);
}

const urlOf = (transport: Transport, { port }: { readonly port: number }, name = `#${NAME}`): string => `${transport}://127.0.0.1:${port}${transport === 'tls' ? '' : '/dns-query'}${name}`;

interface Asked {
  readonly host?: string;
  readonly name?: string;
  readonly more?: readonly string[];
}

/** What a resolver of its own makes of a name. */
async function ask(transport: Transport, server: DnsServer, { host = HOST, name = `#${NAME}`, more = [] }: Asked = {}): Promise<unknown> {
  using resolver = openResolver({ nowMs: () => performance.now() });
  const found = await resolver.resolve(host, { resolvers: [urlOf(transport, server, name), ...more], certificateAuthorities: [server.caPem] }, BOX);
  return 'addresses' in found ? found.addresses.map(({ address }) => address) : 'failed' in found ? found.failed : found.refused;
}

const wrong = (why: string, transport: Transport): RegExp => new RegExp(`^${HOST} has no address: the DNS server ${NAME} by ${transport}: ${why}`);

/** Answers that are none, each by what it changes in a good one. */
const SPOILT: readonly (readonly [what: string, answers: Answers, why: string])[] = [
  ['is to another name', (query) => reply(query, { name: 'evil.test', answers: [a(PUBLIC)] }), 'the answer is to another question'],
  ['is to another type', (query) => reply(query, { type: 16, answers: [a(PUBLIC)] }), 'the answer is to another question'],
  ['has two questions', (query) => reply(query, { counts: [2, 1, 0, 0], answers: [a(PUBLIC)] }), 'the answer is to another question'],
  ['has no question', (query) => reply(query, { counts: [0, 1, 0, 0], answers: [a(PUBLIC)] }), 'the answer is to another question'],
  ['is a question', (query) => reply(query, { flags: 0x0100, answers: [a(PUBLIC)] }), 'what came is no answer'],
  ['is cut short (TC)', (query) => reply(query, { flags: 0x8380, answers: [a(PUBLIC)] }), 'the answer is cut short'],
  ['ends within a record', (query) => reply(query, { answers: [a(PUBLIC)] }).subarray(0, -2), 'the answer is malformed'],
  ['promises more than there is', (query) => reply(query, { counts: [1, 2, 0, 0], answers: [a(PUBLIC)] }), 'the answer is malformed'],
  ['is two answers in one', (query) => Buffer.concat([reply(query, { answers: [a(PUBLIC)] }), reply(query, { answers: [a('151.101.1.1')] })]), 'something follows the answer'],
  ['has a pointer to itself', (query) => reply(query, { answers: [rr(1, Buffer.of(93, 184, 216, 34), { owner: Buffer.of(0xc0, 12 + 18 + 4) })] }), 'the answer is malformed'],
  ['has a pointer ahead', (query) => reply(query, { answers: [rr(1, Buffer.of(93, 184, 216, 34), { owner: Buffer.of(0xc0, 0x80) })] }), 'the answer is malformed'],
  ['has a pointer into its head', (query) => reply(query, { answers: [rr(1, Buffer.of(93, 184, 216, 34), { owner: Buffer.of(0xc0, 0) })] }), 'the answer is malformed'],
  ['has an address of five bytes', (query) => reply(query, { answers: [rr(1, Buffer.of(93, 184, 216, 34, 1))] }), 'the answer is malformed'],
  ['has 600 records', (query) => reply(query, { answers: Array.from({ length: 600 }, () => a(PUBLIC)) }), 'the answer has more than 64 records'],
  ['leads in a circle', (query) => reply(query, { answers: [cname('b.test'), cname(HOST, { owner: Buffer.from('\x01b\x04test\0', 'latin1') }), a(PUBLIC)] }), 'the answer leads over more than 16 names'],
  ['leads to itself', (query) => reply(query, { answers: [cname(HOST), a(PUBLIC)] }), 'the answer leads over more than 16 names'],
  ['says one name is two others', (query) => reply(query, { answers: [cname('b.test'), cname('c.test'), a(PUBLIC)] }), 'a name in the answer is two others'],
  ['says that it will not', (query) => reply(query, { flags: 0x8185 }), 'EREFUSED'],
];

for (const transport of ['tls', 'https'] as const) {
  describe(`names over ${transport}`, { timeout: 240_000 }, () => {
    test(`are answered by the server that proves its name, or its address where none is given (${transport})`, async () => {
      await using server = await serve(transport, good);
      assert.deepEqual(await ask(transport, server), [PUBLIC]);
      assert.deepEqual(await ask(transport, server, { name: '' }), [PUBLIC]);
      assert.ok(server.lengths.length === 4 && server.lengths.every((length) => length % 128 === 0), `questions are padded: ${server.lengths.join(' ')}`);
    });

    test(`are answered through a chain of names, with the shortest time to live on it (${transport})`, async () => {
      let clockMs = 0;
      let asked = 0;
      await using server = await serve(transport, (query) => {
        asked += 1;
        const owner = Buffer.from('\x01b\x04test\0', 'latin1');
        return reply(query, { answers: readAsked(query).type === 1 ? [a(PUBLIC, { owner, ttl: 20 }), cname('b.test', { ttl: 5 }), a('10.0.0.1', { owner: Buffer.from('\x01z\x04test\0', 'latin1') })] : [] });
      });
      using resolver = openResolver({ nowMs: () => clockMs });
      const resolve = (): Promise<unknown> => resolver.resolve(HOST, { resolvers: [urlOf(transport, server)], certificateAuthorities: [server.caPem] }, BOX);
      assert.deepEqual(await resolve(), { addresses: [{ address: PUBLIC, family: 4, exception: null }] }, 'and what no name leads to does not count');
      assert.equal(asked, 2);
      clockMs = 4_999;
      await resolve();
      assert.equal(asked, 2, 'it is remembered');
      clockMs = 5_001;
      await resolve();
      assert.equal(asked, 4, 'and no longer than it may be');
    });

    test(`that do not exist, or have no address, are told as such and not asked for again elsewhere (${transport})`, async () => {
      await using nobody = await serve(transport, (query) => reply(query, { flags: 0x8183 }));
      await using empty = await serve(transport, (query) => reply(query));
      await using other = await serve(transport, good);
      assert.equal(await ask(transport, nobody, { more: [urlOf(transport, other)] }), `${HOST} has no address: ENOTFOUND`);
      assert.equal(await ask(transport, empty, { more: [urlOf(transport, other)] }), `${HOST} has no address: ENODATA`);
      assert.equal(other.lengths.length, 0);
    });

    for (const [what, how, name] of [
      ['is signed by nobody', { isSelfSigned: true }, NAME], ['is for another name', { as: 'other.example.test' }, NAME],
      ['names it in its subject alone', { isNamedBySubject: true }, NAME], ['is for another address', { as: '127.0.0.2' }, '127.0.0.1'],
    ] as const) {
      test(`have no address where the certificate ${what}, and nothing is asked (${transport})`, async () => {
        await using server = await serve(transport, good);
        const given = name === NAME ? `#${NAME}` : '';
        assert.deepEqual(await ask(transport, server, { name: given }), [PUBLIC], 'control');
        const before = server.lengths.length;
        server.present(name, how);
        assert.match(String(await ask(transport, server, { name: given })), new RegExp(`^${HOST} has no address: the DNS server ${name} by ${transport}: the server has not proved its name`));
        assert.equal(server.lengths.length, before);
      });
    }

    for (const [what, answers, why] of SPOILT) {
      test(`have no address where the answer ${what} (${transport})`, async () => {
        let isGood = true;
        await using server = await serve(transport, (query) => (isGood ? good(query) : answers(query)));
        assert.deepEqual(await ask(transport, server), [PUBLIC], 'control');
        isGood = false;
        assert.match(String(await ask(transport, server)), wrong(why, transport));
        await using next = await serve(transport, good);
        using resolver = openResolver({ nowMs: () => performance.now() });
        const found = await resolver.resolve(HOST, { resolvers: [urlOf(transport, server), urlOf(transport, next)], certificateAuthorities: [server.caPem, next.caPem] }, BOX);
        assert.ok('addresses' in found, 'another server is asked');
      });
    }

    test(`that stand for addresses that are not public are refused, also when they did not a moment ago (${transport})`, async () => {
      for (const address of ['10.0.0.1', '127.0.0.1', '169.254.169.254', '100.64.0.1', '198.18.0.1']) {
        let turn = 0;
        await using server = await serve(transport, (query) => reply(query, { answers: readAsked(query).type === 1 ? [a(turn++ === 0 ? PUBLIC : address, { ttl: 0 })] : [] }));
        using resolver = openResolver({ nowMs: () => performance.now() });
        const policy = { resolvers: [urlOf(transport, server)], certificateAuthorities: [server.caPem] };
        assert.ok('addresses' in (await resolver.resolve(HOST, policy, BOX)), 'control');
        const second = await resolver.resolve(HOST, policy, BOX);
        assert.ok('refused' in second, JSON.stringify(second));
      }
      await using both = await serve(transport, (query) => reply(query, { answers: readAsked(query).type === 1 ? [a(PUBLIC), a('10.0.0.1')] : [rr(28, Buffer.from('fd00ec20000000000000000000000254', 'hex'))] }));
      assert.match(String(await ask(transport, both)), /stands for an address that is not public/);
    });

    test(`are asked over one connection that is used again, another when it has ended, and none is left at the end (${transport})`, async () => {
      await using server = await serve(transport, good);
      const resolver = openResolver({ nowMs: () => performance.now() });
      const resolve = (host: string): Promise<unknown> => resolver.resolve(host, { resolvers: [urlOf(transport, server)], certificateAuthorities: [server.caPem] }, BOX);
      await resolve('a.example.test');
      await resolve('b.example.test');
      assert.equal(server.connections.length, 1);
      server.connections[0]?.destroy();
      assert.ok('addresses' in ((await resolve('c.example.test')) as object), 'a connection that has gone is no failure');
      assert.equal(server.connections.length, 2);
      const last = server.connections[1] as TLSSocket;
      resolver[Symbol.dispose]();
      await closed(last);
    });

    test(`are left alone after a while: a connection on which nothing is asked is closed (${transport})`, { timeout: 60_000 }, async () => {
      await using server = await serve(transport, good);
      using resolver = openResolver({ nowMs: () => performance.now() });
      await resolver.resolve(HOST, { resolvers: [urlOf(transport, server)], certificateAuthorities: [server.caPem] }, BOX);
      await closed(server.connections[0] as TLSSocket, 40_000);
    });

    test(`have no address while the server drips or is silent, within a bounded time, and the next server is asked (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      const drip = async (write: (piece: Buffer) => unknown, bytes: Buffer): Promise<void> => {
        for (const byte of bytes) {
          if (write(Buffer.of(byte)) === false) return;
          await delay(200);
        }
      };
      await using slow = await (transport === 'tls'
        ? serveDns({ tls: (query, socket) => readAsked(query).type === 1 && void drip((piece) => !socket.destroyed && socket.write(piece), frame(good(query))) })
        : serveDns({ https: (query, stream) => {
          stream.respond(RESPONSE);
          void drip((piece) => !stream.destroyed && stream.write(piece), good(query));
        } }));
      await using other = await serve(transport, good);
      const started = performance.now();
      assert.match(String(await ask(transport, slow)), wrong('no answer within 2000 ms', transport));
      assert.ok(performance.now() - started < 15_000);
      using resolver = openResolver({ nowMs: () => performance.now() });
      const found = await resolver.resolve(HOST, { resolvers: [urlOf(transport, slow), urlOf(transport, other)], certificateAuthorities: [slow.caPem, other.caPem] }, BOX);
      assert.ok('addresses' in found);
    });

    test(`are never asked for in the open: a server that does not speak TLS, or is not there, gets no name (${transport})`, async () => {
      const seen: Buffer[] = [];
      const plain = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.on('data', (piece: Buffer) => {
          seen.push(piece);
          socket.end('no TLS here');
        });
      }).listen(0, '127.0.0.1');
      await once(plain, 'listening');
      using resolver = openResolver({ nowMs: () => performance.now() });
      const { port } = plain.address() as { port: number };
      const found = await resolver.resolve(HOST, { resolvers: [urlOf(transport, { port })] }, BOX);
      assert.ok('failed' in found);
      assert.ok(seen.length > 0 && seen.every((piece) => piece[0] === 0x16), 'only hellos of TLS');
      assert.ok(!Buffer.concat(seen).includes('example.test') || !Buffer.concat(seen).includes('api'), 'and no name that was asked for');
      plain.close();
      await once(plain, 'close');
      using again = openResolver({ nowMs: () => performance.now() });
      assert.match(JSON.stringify(await again.resolve(HOST, { resolvers: [urlOf(transport, { port })] }, BOX)), /ECONNREFUSED/);
    });

    test(`of many at once are all answered (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      await using server = await serve(transport, good);
      using resolver = openResolver({ nowMs: () => performance.now() });
      const found = await Promise.all(Array.from({ length: 300 }, (_, at) => resolver.resolve(`n${at}.example.test`, { resolvers: [urlOf(transport, server)], certificateAuthorities: [server.caPem] }, BOX)));
      assert.ok(found.every((each) => 'addresses' in each));
      assert.ok(server.connections.length <= 32);
    });
  });
}

async function closed(socket: TLSSocket, withinMs = 10_000): Promise<void> {
  for (const untilMs = performance.now() + withinMs; !socket.destroyed; await delay(20)) assert.ok(performance.now() < untilMs, 'the connection is still there');
}

describe('what is said over TLS alone', () => {
  const cases: readonly (readonly [what: string, say: (query: Buffer, socket: TLSSocket) => void, why: RegExp])[] = [
    ['with another id', (query, socket) => void socket.write(frame(reply(query, { id: readAsked(query).id ^ 1, answers: [a(PUBLIC)] }))), /answered what was not asked/],
    ['in a frame too short for a head', (_, socket) => void socket.write(Buffer.of(0, 3, 1, 2, 3)), /a message of 3 bytes/],
    ['in a frame that never ends', (_, socket) => void socket.write(Buffer.concat([Buffer.of(0xff, 0xff), Buffer.alloc(20_000)])), /no answer within/],
  ];
  for (const [what, say, why] of cases) {
    test(`${what} is no answer, and the connection is not used again`, { timeout: TIMEOUT_MS }, async () => {
      let isGood = true;
      await using server = await serveDns({ tls: (query, socket) => (isGood ? void socket.write(frame(good(query))) : say(query, socket)) });
      assert.deepEqual(await ask('tls', server), [PUBLIC], 'control');
      isGood = false;
      const before = server.connections.length;
      assert.match(String(await ask('tls', server)), why);
      assert.ok(server.connections.length >= before + 2);
    });
  }

  test('twice to one question ends the connection, and the second does not count', async () => {
    await using server = await serveDns({ tls: (query, socket) => void socket.write(Buffer.concat([frame(good(query)), frame(good(query, '151.101.1.1'))])) });
    const found = await ask('tls', server);
    assert.ok(!JSON.stringify(found).includes('151.101.1.1'), JSON.stringify(found));
    await closed(server.connections[0] as TLSSocket);
  });

  test('in pieces of any size, and in another order, is understood', async () => {
    const held: [TLSSocket, Buffer][] = [];
    await using server = await serveDns({
      tls(query, socket) {
        held.push([socket, frame(good(query))]);
        if (held.length === 2) for (const [to, bytes] of held.toReversed()) for (const byte of bytes) to.write(Buffer.of(byte));
      },
    });
    assert.deepEqual(await ask('tls', server), [PUBLIC]);
  });
});

describe('what is said over HTTPS alone', () => {
  const cases: readonly (readonly [what: string, say: (query: Buffer, stream: ServerHttp2Stream, port: number) => void, why: RegExp])[] = [
    ['as a redirect', (_, stream) => respond(stream, Buffer.alloc(0), { ':status': 307, location: '/good' }), /answered with status 307/],
    ['with an error and a message of DNS', (query, stream) => respond(stream, good(query), { ...RESPONSE, ':status': 500 }), /answered with status 500/],
    ['as JSON', (query, stream) => respond(stream, good(query), { ':status': 200, 'content-type': 'application/dns-json' }), /is not application\/dns-message/],
    ['without a type', (query, stream) => respond(stream, good(query), { ':status': 200 }), /is not application\/dns-message/],
    ['compressed', (query, stream) => respond(stream, good(query), { ...RESPONSE, 'content-encoding': 'gzip' }), /is encoded/],
    ['with another id', (query, stream) => respond(stream, reply(query, { id: 7, answers: [a(PUBLIC)] })), /to another question/],
    ['at a length of 64 KiB and more', (query, stream) => respond(stream, Buffer.concat([good(query), Buffer.alloc(65_536)])), /longer than 65535 bytes/],
    ['and reset', (_, stream) => {
      stream.respond(RESPONSE);
      stream.close(2);
    }, /(what came is no answer|cut short|ERR_HTTP2_STREAM_ERROR|ended the connection)/],
  ];
  for (const [what, say, why] of cases) {
    test(`${what} is no answer`, { timeout: TIMEOUT_MS }, async () => {
      let isGood = true;
      const paths: unknown[] = [];
      await using server = await serveDns({
        https(query, stream, headers) {
          paths.push(`${String(headers[':method'])} ${String(headers[':authority']).replace(/:\d+$/, '')}${String(headers[':path'])} ${String(headers['content-type'])}`);
          if (isGood) respond(stream, good(query));
          else say(query, stream, 0);
        },
      });
      assert.deepEqual(await ask('https', server), [PUBLIC], 'control');
      isGood = false;
      assert.match(String(await ask('https', server)), why);
      assert.deepEqual([...new Set(paths)], [`POST ${NAME}/dns-query application/dns-message`]);
    });
  }

  test('by a server without HTTP/2 is no answer', async () => {
    await using server = await serveDns({ https: () => undefined, protocols: ['http/1.1'] });
    assert.match(String(await ask('https', server)), /has not proved its name: .*ALPN|does not speak HTTP\/2|TLSV1_ALERT_NO_APPLICATION_PROTOCOL|ended the TLS handshake/);
  });

  test('from a cache counts as old as it is (RFC 8484 §5.1)', async () => {
    let clockMs = 0;
    await using server = await serveDns({ https: (query, stream) => respond(stream, good(query), { ...RESPONSE, age: 50 }) });
    using resolver = openResolver({ nowMs: () => clockMs });
    const resolve = (): Promise<unknown> => resolver.resolve(HOST, { resolvers: [urlOf('https', server)], certificateAuthorities: [server.caPem] }, BOX);
    await resolve();
    clockMs = 9_999;
    await resolve();
    assert.equal(server.lengths.length, 2);
    clockMs = 10_001;
    await resolve();
    assert.equal(server.lengths.length, 4);
  });
});
