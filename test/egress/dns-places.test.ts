import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openResolver, writeFramed } from '@caisson/egress';
import { good, readAsked, reply, serveDns, type DnsServer } from './dns-server.ts';

const NAME = 'dns.example.test';
const PUBLIC = '93.184.216.34';
const FOUND = { addresses: [{ address: PUBLIC, family: 4, exception: null }] };
const TIMEOUT_MS = 60_000;

type Answers = (query: Buffer, write: (answer: Buffer) => void) => void;

function serve(transport: 'tls' | 'https', answers: Answers): Promise<DnsServer> {
  if (transport === 'tls') return serveDns({ tls: (query, socket) => answers(query, (answer) => void (socket.destroyed || socket.write(writeFramed(answer)))) });
  return serveDns({
    https: (query, stream) => answers(query, (answer) => {
      if (stream.destroyed) return;
      stream.respond({ ':status': 200, 'content-type': 'application/dns-message' });
      stream.end(answer);
    }),
  });
}

const policyOf = (transport: 'tls' | 'https', { port, caPem }: DnsServer): { readonly resolvers: readonly string[]; readonly certificateAuthorities: readonly string[] } => ({
  resolvers: [`${transport}://127.0.0.1:${port}${transport === 'tls' ? '' : '/dns-query'}#${NAME}`], certificateAuthorities: [caPem],
});
const named = (begin: string, count: number): readonly string[] => Array.from({ length: count }, (_, at) => `${begin}${at}.example.test`);

async function until(is: () => boolean, what: string): Promise<void> {
  for (const untilMs = performance.now() + 20_000; !is(); await delay(5)) assert.ok(performance.now() < untilMs, what);
}

for (const transport of ['tls', 'https'] as const) {
  describe(`places at a DNS server by ${transport}`, { timeout: 240_000 }, () => {
    test(`a name that is asked for 500 times at once is asked of the server once per type (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      await using server = await serve(transport, (query, write) => write(good(query)));
      using resolver = openResolver({ nowMs: () => performance.now() });
      const found = await Promise.all(Array.from({ length: 500 }, (_, at) => resolver.resolve('api.example.test', policyOf(transport, server), `box${at % 3}`)));
      assert.ok(found.every((each) => 'addresses' in each));
      assert.equal(server.lengths.length, 2);
    });

    test(`one sandbox takes no more than its share: others are answered while it waits (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      let slow = 0;
      let isOver = false;
      const held: (() => void)[] = [];
      await using server = await serve(transport, (query, write) => {
        if (!readAsked(query).name.startsWith('slow') || isOver) return write(good(query));
        slow += 1;
        held.push(() => write(good(query)));
      });
      using resolver = openResolver({ nowMs: () => performance.now() });
      const policy = policyOf(transport, server);
      assert.deepEqual(await resolver.resolve('first.example.test', policy, 'other'), FOUND, 'control');
      const asked = named('slow', 1_500).map((name) => resolver.resolve(name, policy, 'greedy'));
      await until(() => slow >= 256, 'it asks for its share');
      assert.deepEqual(await resolver.resolve('quick.example.test', policy, 'other'), FOUND);
      assert.equal(slow, 256, 'and for no more');
      isOver = true;
      for (const answer of held) answer();
      const found = await Promise.all(asked);
      assert.equal(found.filter((each) => 'addresses' in each).length, 128 + 1_024, 'who waits is answered in his turn');
      assert.match(JSON.stringify(found.at(-1)), /asks for too many names at once/);
      assert.deepEqual(await resolver.resolve('after.example.test', policy, 'greedy'), FOUND, 'and it can ask again');
    });

    test(`that one connection is refused does not end service on another (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      const held: (() => void)[] = [];
      await using server = await serve(transport, (query, write) => {
        if (readAsked(query).name.startsWith('held')) held.push(() => write(good(query)));
        else write(good(query));
      });
      using resolver = openResolver({ nowMs: () => 0 });
      const policy = policyOf(transport, server);
      assert.deepEqual(await resolver.resolve('first.example.test', policy, 'box'), FOUND, 'control');
      server.refuse();
      const asked = named('held', 45).map((name) => resolver.resolve(name, policy, 'box'));
      await until(() => held.length === 90, 'the connection is full');
      assert.match(JSON.stringify(await resolver.resolve('over.example.test', policy, 'box')), /ECONNREFUSED/, 'another is refused');
      for (const answer of held) answer();
      assert.ok((await Promise.all(asked)).every((each) => 'addresses' in each));
      assert.deepEqual(await resolver.resolve('next.example.test', policy, 'box'), FOUND);
      assert.equal(server.connections.length, 1);
    });

    test(`names without an address leave what is remembered (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      let times = 0;
      await using server = await serve(transport, (query, write) => {
        if (readAsked(query).name === 'kept.example.test') times += 1;
        write(readAsked(query).name === 'kept.example.test' ? good(query) : reply(query, { flags: 0x8183 }));
      });
      using resolver = openResolver({ nowMs: () => 0 });
      const policy = policyOf(transport, server);
      assert.deepEqual(await resolver.resolve('kept.example.test', policy, 'box'), FOUND);
      for (let from = 0; from < 4_096; from += 1_024) {
        const found = await Promise.all(named(`n${from}-`, 1_024).map((name) => resolver.resolve(name, policy, 'box')));
        assert.ok(found.every((each) => 'failed' in each && each.failed.includes('ENOTFOUND')), 'control');
      }
      assert.deepEqual(await resolver.resolve('kept.example.test', policy, 'box'), FOUND);
      assert.equal(times, 2);
    });

    test(`a server is not asked over a connection that another authority has proved, and what it said then does not count (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      await using server = await serve(transport, (query, write) => write(good(query)));
      await using other = await serve(transport, (query, write) => write(good(query)));
      using resolver = openResolver({ nowMs: () => performance.now() });
      const policy = policyOf(transport, server);
      assert.deepEqual(await resolver.resolve('a.example.test', policy, 'box'), FOUND, 'control');
      for (const certificateAuthorities of [[], [other.caPem]]) {
        for (const host of ['a.example.test', 'b.example.test']) assert.match(JSON.stringify(await resolver.resolve(host, { ...policy, certificateAuthorities }, 'box')), /the server has not proved its name/);
      }
      assert.equal(server.lengths.length, 2);
      assert.deepEqual(await resolver.resolve('b.example.test', policy, 'box'), FOUND, 'and is over the one that its own has');
      assert.equal(server.connections.length, 1);
    });

    test(`a connection takes no questions after ten minutes, however busy it is (${transport})`, { timeout: TIMEOUT_MS }, async () => {
      let clockMs = 0;
      await using server = await serve(transport, (query, write) => write(good(query)));
      using resolver = openResolver({ nowMs: () => clockMs });
      for (const [atMs, connections] of [[0, 1], [300_000, 1], [599_999, 1], [600_000, 2], [900_000, 2]] as const) {
        clockMs = atMs;
        assert.deepEqual(await resolver.resolve(`at${atMs}.example.test`, policyOf(transport, server), 'box'), FOUND);
        assert.equal(server.connections.length, connections, `at ${atMs} ms`);
      }
    });
  });
}

describe('questions by TLS that nobody waits for any more', { timeout: 120_000 }, () => {
  test('take no place on their connection', { timeout: TIMEOUT_MS }, async () => {
    const seen = new Set<string>();
    let isFirst = true;
    await using server = await serve('tls', (query, write) => {
      const { name, type } = readAsked(query);
      const isAgain = seen.has(`${name} ${type}`);
      seen.add(`${name} ${type}`);
      if (isAgain || isFirst || !name.startsWith('slow')) write(good(query));
      isFirst = false;
    });
    using resolver = openResolver({ nowMs: () => performance.now() });
    const policy = policyOf('tls', server);
    const slow = await Promise.all(named('slow', 45).map((name) => resolver.resolve(name, policy, 'box')));
    assert.ok(slow.every((each) => 'addresses' in each), 'one is answered at once, and 89 the second time');
    assert.equal(server.lengths.length, 179);
    const more = await Promise.all(named('more', 45).map((name) => resolver.resolve(name, policy, 'box')));
    assert.ok(more.every((each) => 'addresses' in each), 'and 90 more at once');
    assert.equal(server.connections.length, 1);
  });

  test('are at last too many, and another connection is taken', { timeout: TIMEOUT_MS }, async () => {
    let isOver = false;
    await using server = await serve('tls', (query, write) => {
      if (!readAsked(query).name.startsWith('slow')) write(good(query));
    });
    using resolver = openResolver({ nowMs: () => performance.now() });
    const policy = policyOf('tls', server);
    const meanwhile = (async () => { // a server that answers is not taken for dead
      for (let at = 0; !isOver; at++, await delay(50)) assert.deepEqual(await resolver.resolve(`quick${at}.example.test`, policy, 'other'), FOUND);
    })();
    await Promise.all(named('slow-a', 44).map((name) => resolver.resolve(name, policy, 'box')));
    assert.ok(server.connections.length === 1 && server.connections[0]?.destroyed === false, 'control: 176 are not');
    await Promise.all(named('slow-b', 44).map((name) => resolver.resolve(name, policy, 'box')));
    await until(() => server.connections[0]?.destroyed === true, 'the first connection is ended');
    isOver = true;
    await meanwhile;
    assert.equal(server.connections.length, 2);
  });
});
