import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { noInternet } from './internet/internet.ts';
import { openScene, sinkSawNothing, type Scene } from './given.ts';

const program = (name: string): string => readFileSync(`${import.meta.dirname}/attack-${name}.py`, 'utf8');
const [TLS, NAMES] = [program('tls'), program('names')];
const PUBLIC = '93.184.216.34';
const OTHER_PUBLIC = '151.101.1.1';

/** Names and what they stand for: none of them may be connected to. */
const SPOILT = {
  private: ['10.0.0.1'], 'private-16': ['172.16.0.1'], 'private-24': ['192.168.1.1'], loopback: ['127.0.0.1'], 'loopback-6': ['::1'], any: ['0.0.0.0'], 'any-6': ['::'],
  metadata: ['169.254.169.254'], 'metadata-6': ['fd00:ec2::254'], 'metadata-alibaba': ['100.100.100.200'], cgnat: ['100.64.0.1'], 'link-local': ['fe80::1'], unique: ['fc00::1'],
  mapped: ['::ffff:10.0.0.1'], 'mapped-metadata': ['::ffff:169.254.169.254'], compatible: ['::10.0.0.1'], nat64: ['64:ff9b::a00:1'], 'six-to-four': ['2002:a00:1::1'], teredo: ['2001::1'],
  multicast: ['224.0.0.1'], 'multicast-6': ['ff02::1'], broadcast: ['255.255.255.255'], reserved: ['240.0.0.1'], benchmark: ['198.18.0.1'], 'stand-in': ['198.18.1.0'], sandbox: ['198.19.0.1'],
  documentation: ['203.0.113.1'], both: [PUBLIC, '10.0.0.1'], 'both-families': [PUBLIC, 'fd00::1'],
} as const;

const said = (lines: readonly string[]): ReadonlyMap<string, string> => new Map(lines.map((line) => [line.slice(0, line.indexOf('\t')), line.slice(line.indexOf('\t') + 1)]));

describe('a sandbox that may reach example.test:443', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('example.test', { addresses: [PUBLIC] });
    await scene.net.zone.set('evil.test', { addresses: [OTHER_PUBLIC] });
    await scene.net.zone.set('a.example.test', { addresses: [OTHER_PUBLIC] });
  });
  after(() => scene[Symbol.asyncDispose]());

  for (const level of ['container', 'gvisor'] as const) {
    // Host inside TLS is sealed from the gate; a server that serves other names by it is the operator's to know (RFC 9110 §7.4).
    test(`reaches it by TLS for that name, and by nothing else (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:443'] });
      const mark = await scene.net.mark();
      const tries = said(await box.python(TLS, 'example.test', 'evil.test'));
      const [pass, stop] = [[...tries].filter(([name]) => name.startsWith('pass')), [...tries].filter(([name]) => !name.startsWith('pass'))];
      assert.deepEqual(pass.filter(([, what]) => !/^(handshake|HTTP\/1.1 200)/.test(what)), []);
      assert.ok(pass.length === 9 && stop.length === 26, `${pass.length} and ${stop.length} tries`);
      assert.deepEqual(stop.filter(([, what]) => !/^(alert|closed|no |socks [^0]|HTTP\/1.1 403)/.test(what)), []);

      const { connections, packets, queries } = await scene.net.until(({ requests }) => requests.length > 0, { mark });
      assert.deepEqual([...new Set(packets.map(({ destination }) => destination).filter((to) => to !== '9.9.9.9' && !to.startsWith('2620:fe')))], [PUBLIC]);
      assert.ok(queries.every(({ name }) => name === 'example.test'));
      assert.equal(connections.length, pass.length, 'a connection for each that passes, and for no other');
      for (const { bytes } of connections) assert.ok(!bytes.includes('evil.test') && bytes[0] === 0x16);
      await box.refusals(['names the server evil.test', 'names the server a.example.test', 'names the server test', 'names no server', 'is no ClientHello', 'example.test:8444', 'evil.test:443', 'more than one server name']);
    });

    test(`a name that stands for an address that is not public is refused, and no packet goes there (${level})`, async () => {
      const names = Object.keys(SPOILT).map((name) => `${name}.test`);
      for (const [name, addresses] of Object.entries(SPOILT)) await scene.net.zone.set(`${name}.test`, { addresses });
      await using box = await scene.open({ level, rules: [...names.map((name) => `${name}:80/tcp`), 'example.test:80'] });
      const mark = await scene.net.mark();
      const tries = said(await box.python(NAMES, ...names.map((name) => `${name}:80/`), 'example.test:80/'));
      assert.match(tries.get('example.test:80/') ?? '', /^HTTP\/1.1 200/, 'control');
      assert.deepEqual([...tries].filter(([place, what]) => place !== 'example.test:80/' && !what.startsWith('no ')), []);
      const { packets, lostPackets } = await scene.net.since(mark);
      assert.deepEqual([...new Set(packets.filter(({ destinationPort }) => destinationPort !== 53).map(({ destination }) => destination))], [PUBLIC]);
      assert.equal(lostPackets, 0);
      await box.refusals(names.map((name) => `${name}:80: ${name} stands for an address that is not public`));
    });

    test(`an answer that changes is checked each time, and what was checked is what is connected to (${level})`, async () => {
      await scene.net.zone.set(`rebind-${level}.test`, [{ addresses: [PUBLIC], ttlSeconds: 0 }, { addresses: ['10.0.0.1'], ttlSeconds: 0 }]);
      await using box = await scene.open({ level, rules: [`rebind-${level}.test:80/tcp`] });
      const mark = await scene.net.mark();
      const place = `rebind-${level}.test:80/`;
      const lines = await box.python(NAMES, place, place, place);
      assert.match(lines[0] ?? '', /\tHTTP\/1.1 200/, 'control: while it is public it is reached');
      assert.deepEqual(lines.slice(1).filter((line) => !line.includes('\tno ')), []);
      const { packets } = await scene.net.since(mark);
      assert.deepEqual([...new Set(packets.filter(({ destinationPort }) => destinationPort !== 53).map(({ destination }) => destination))], [PUBLIC]);
    });

    test(`where a redirect leads is decided anew (${level})`, async () => {
      await scene.net.zone.set('inner.test', { addresses: ['10.0.0.1'] });
      await using box = await scene.open({ level, rules: ['example.test:80', 'inner.test:80'] });
      const targets = ['http://169.254.169.254/latest/meta-data', 'http://inner.test/', 'http://evil.test/', 'http://2852039166/', 'http://[::ffff:a9fe:a9fe]/', 'http://198.18.0.1:15001/'];
      const mark = await scene.net.mark();
      const curl = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code} %{num_redirects}\n', '--max-time', '6', '-L'];
      for (const by of [[], ['-x', 'http://198.18.0.1:3128']]) {
        const control = await box.exec([...curl, ...by, 'http://example.test/redirect?to=http%3A%2F%2Fexample.test%2F']);
        assert.equal(control.stdout.toString(), '200 1\n', 'control');
        for (const target of targets) {
          const { stdout } = await box.exec([...curl, ...by, `http://example.test/redirect?to=${encodeURIComponent(target)}`]);
          assert.doesNotMatch(stdout.toString(), /^200/, `${by.join(' ')} ${target}`);
        }
      }
      const { packets, requests } = await scene.net.since(mark);
      assert.deepEqual([...new Set(packets.filter(({ destinationPort }) => destinationPort !== 53).map(({ destination }) => destination))], [PUBLIC]);
      assert.equal(requests.length, 2 * (targets.length + 2));
      await box.refusals(['169.254.169.254:80/tcp', /inner\.test:80: inner\.test stands for/, 'evil.test', '198.18.0.1:15001/tcp']);
    });

    test(`without proxy variables, and with wrong ones, there is the same one way (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:443'] });
      const mark = await scene.net.mark();
      for (const proxy of ['http://93.184.216.34:8080', 'socks5h://151.101.1.1:1080', 'http://evil.test:3128']) {
        const wrong = await box.exec(['env', `https_proxy=${proxy}`, `ALL_PROXY=${proxy}`, 'curl', '-sk', '--max-time', '6', 'https://example.test/']);
        assert.notEqual(wrong.status, 0, proxy);
      }
      await sinkSawNothing(scene, mark);
      const right = await box.exec(['env', '-u', 'https_proxy', '-u', 'ALL_PROXY', 'curl', '-sk', '--max-time', '6', 'https://example.test/']);
      assert.equal(right.status, 0, right.stderr);
    });
  }
});
