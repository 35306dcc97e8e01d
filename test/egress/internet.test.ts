import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId } from '@caisson/contract';
import { emptyPlace } from '../cli/given.ts';
import { HOME } from '../harness.ts';
import { contact, inside, type Contact } from './internet/contact.ts';
import { noInternet, openInternet, type Internet } from './internet/internet.ts';
import type { Seen } from './internet/log.ts';

const skip = noInternet();
const REST_MS = 2_000;
const HELLO = Buffer.from('hello').toString('hex');

const ADDRESSES = [
  ['public', '93.184.216.34'], ['public IPv6', '2600:1f18::34'],
  ['private 10/8', '10.0.0.1'], ['private 172.16/12', '172.31.255.254'], ['private 192.168/16', '192.168.0.1'],
  ['shared (CGNAT)', '100.64.0.1'], ['metadata', '169.254.169.254'], ['metadata IPv6', 'fd00:ec2::254'],
  ['unique local', 'fc00::1'], ['IPv4 in IPv6 (NAT64)', '64:ff9b::a00:1'], ['IPv4 in IPv6 (6to4)', '2002:a00:1::1'],
  ['benchmarking', '198.18.0.1'], ['reserved', '240.0.0.1'],
] as const;

/** What a Node program in `host` prints. Its text is the body of an async function. */
async function node(net: Internet, body: string): Promise<unknown> {
  return JSON.parse(await inside(net, [process.execPath, '--input-type=module', '-e', `console.log(JSON.stringify(await (async () => {${body}})()))`]));
}

/** Whether a process runs: one that ended may wait for init to take note. */
function runs(pid: number | string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const nothing: Seen = { packets: [], lostPackets: 0, connections: [], datagrams: [], queries: [], requests: [] };

test('where nothing is sent, nothing is seen', { skip }, async () => {
  await using net = await openInternet();
  await delay(REST_MS);
  assert.deepEqual(await net.seen(), nothing);
});

for (const [what, address] of ADDRESSES) {
  test(`TCP, UDP, ICMP and a raw protocol to a ${what} address are answered and seen`, { skip }, async () => {
    await using net = await openInternet();
    const contacts: readonly Contact[] = [
      { kind: 'tcp', address, port: 4444, hex: HELLO }, { kind: 'udp', address, port: 5555, hex: HELLO },
      { kind: 'icmp', address }, { kind: 'raw', address, protocol: 253, hex: HELLO },
    ];
    const [tcp, udp, icmp, raw] = await contact(net, contacts);
    assert.deepEqual([tcp, udp, raw], [{ hex: HELLO }, { hex: HELLO }, { hex: '' }]);
    assert.match(icmp !== undefined && 'hex' in icmp ? icmp.hex : '', /^(0000|8100)/, 'an echo reply');

    const seen = await net.until(({ packets }) => packets.some(({ protocol }) => protocol === 'ip 253'));
    assert.deepEqual(seen.connections.map(({ destination, destinationPort, bytes }) => [destination, destinationPort, bytes.toString()]), [[address, 4444, 'hello']]);
    assert.deepEqual(seen.datagrams.map(({ destination, destinationPort, bytes }) => [destination, destinationPort, bytes.toString()]), [[address, 5555, 'hello']]);
    const onWire = new Set(seen.packets.map(({ protocol, destination, destinationPort = 0 }) => `${protocol} ${destination} ${destinationPort}`));
    assert.deepEqual([...onWire], [`tcp ${address} 4444`, `udp ${address} 5555`, `${address.includes(':') ? 'icmpv6' : 'icmp'} ${address} 0`, `ip 253 ${address} 0`]);
  });
}

test('multicast, broadcast, no IP at all, and what only looks like neighbour discovery are seen', { skip }, async () => {
  await using net = await openInternet();
  const solicitation = '870000000000000026001f18000000000000000000000034';
  const came = await contact(net, [
    { kind: 'udp', address: '224.0.0.251', port: 5353, hex: HELLO }, { kind: 'udp', address: '255.255.255.255', port: 67, hex: HELLO },
    { kind: 'frame', address: 'net0', protocol: 0x88b5, hex: HELLO }, { kind: 'raw', address: '2600:1f18::34', protocol: 58, hex: solicitation },
  ]);
  assert.equal(came.length, 4);
  const { packets } = await net.until((seen) => seen.packets.some(({ protocol }) => protocol === 'icmpv6'));
  assert.deepEqual(packets.map(({ protocol, destination, destinationPort }) => [protocol, destination, destinationPort]), [
    ['udp', '224.0.0.251', 5353], ['udp', '255.255.255.255', 67], ['ethertype 0x88b5', '', undefined], ['icmpv6', '2600:1f18::34', undefined],
  ]);
});

test('since a mark, only what came after it is seen', { skip }, async () => {
  await using net = await openInternet();
  await contact(net, [{ kind: 'udp', address: '10.0.0.1', port: 1, hex: HELLO }]);
  const mark = await net.mark();
  assert.deepEqual(await net.since(mark), nothing);
  await contact(net, [{ kind: 'udp', address: '10.0.0.2', port: 2, hex: HELLO }]);
  assert.deepEqual((await net.since(mark)).datagrams.map(({ destination }) => destination), ['10.0.0.2']);
  assert.deepEqual((await net.seen()).datagrams.map(({ destination }) => destination), ['10.0.0.1', '10.0.0.2']);
});

test('programs in host resolve what the zone says, and a change holds at once', { skip }, async () => {
  await using net = await openInternet();
  const resolve = (name: string): Promise<unknown> => node(net, `
    const { Resolver } = await import('node:dns/promises');
    const resolver = new Resolver({ timeout: 10_000, tries: 1 });
    const ask = (type) => resolver.resolve('${name}', type).catch(({ code }) => code);
    return [await ask('A'), await ask('AAAA')];`);
  assert.deepEqual(await resolve('gone.test'), ['ENOTFOUND', 'ENOTFOUND']);
  await net.zone.set('Both.test', { addresses: ['93.184.216.34', '10.0.0.1', '2600:1f18::34'] });
  assert.deepEqual(await resolve('both.test'), [['93.184.216.34', '10.0.0.1'], ['2600:1f18::34']]);
  await net.zone.set('alias.test', { cname: 'both.test' });
  assert.deepEqual(await resolve('alias.test'), [['93.184.216.34', '10.0.0.1'], ['2600:1f18::34']]);
  await net.zone.set('empty.test', {});
  assert.deepEqual(await resolve('empty.test'), ['ENODATA', 'ENODATA']);
  await net.zone.set('turning.test', [{ addresses: ['93.184.216.34'] }, { addresses: ['169.254.169.254'] }]);
  assert.deepEqual(await resolve('turning.test'), [['93.184.216.34'], 'ENODATA']);
  assert.deepEqual(await resolve('turning.test'), [['169.254.169.254'], 'ENODATA']);
  await net.zone.set('long.test', { addresses: ['9.9.9.1'], spoil: 'truncated' });
  assert.deepEqual(await resolve('long.test'), [['9.9.9.1'], 'ENODATA']);
  await net.zone.set('refused.test', { code: 'refused' });
  await net.zone.set('failing.test', { code: 'servfail' });
  assert.deepEqual([await resolve('refused.test'), await resolve('failing.test')], [['EREFUSED', 'EREFUSED'], ['ESERVFAIL', 'ESERVFAIL']]);
  await net.zone.delete('both.test');
  assert.deepEqual(await resolve('both.test'), ['ENOTFOUND', 'ENOTFOUND']);

  const { queries } = await net.seen();
  assert.deepEqual(queries.filter(({ name }) => name === 'long.test').map(({ type, transport }) => `${type} ${transport}`), ['A udp', 'A tcp', 'AAAA udp', 'AAAA tcp']);
  assert.deepEqual(queries.slice(0, 1).map(({ name, type, destination, destinationPort }) => [name, type, destination, destinationPort]), [['gone.test', 'A', '9.9.9.9', 53]]);
});

test('a reply of DNS can be silent, slow, oversized, garbage, or of another id or name', { skip }, async () => {
  await using net = await openInternet();
  const question = '0473706f6c04746573740000010001';
  const ask = async (): Promise<string> => {
    const [came] = await contact(net, [{ kind: 'udp', address: '1.1.1.1', port: 53, hex: `beef01000001000000000000${question}` }]);
    return came === undefined ? '' : 'hex' in came ? came.hex : came.error;
  };
  const addresses = ['93.184.216.34'];
  await net.zone.set('spol.test', { addresses });
  assert.equal(await ask(), `beef85800001000100000000${question}c00c000100010000003c00045db8d822`);
  await net.zone.set('spol.test', { addresses, spoil: 'silent' });
  assert.equal(await ask(), 'TIMEOUT');
  await net.zone.set('spol.test', { addresses, spoil: 'wrong-id' });
  assert.match(await ask(), new RegExp(`^41ef8580.*${question}`));
  await net.zone.set('spol.test', { addresses, spoil: 'wrong-name' });
  assert.doesNotMatch(await ask(), new RegExp(question));
  await net.zone.set('spol.test', { addresses, spoil: 'oversized' });
  assert.ok((await ask()).length / 2 > 59_000);
  await net.zone.set('spol.test', { addresses, spoil: 'garbage' });
  assert.match(await ask(), /^beef(ff)+$/);
  await net.zone.set('spol.test', { addresses, delayMs: 500 });
  const started = performance.now();
  assert.match(await ask(), /5db8d822$/);
  assert.ok(performance.now() - started >= 500);
});

test('HTTP, HTTPS by name and by address, a redirect, a CONNECT, SOCKS and DNS over TLS and HTTPS are served and logged', { skip }, async () => {
  await using net = await openInternet();
  await net.zone.set('www.example.test', { addresses: ['93.184.216.34'] });
  const said = await node(net, `
    const { connect: tls } = await import('node:tls');
    const { connect } = await import('node:net');
    const { once } = await import('node:events');
    const json = async (url, init) => { const { servername, destination, destinationPort } = await (await fetch(url, init)).json(); return [servername, destination, destinationPort]; };
    const first = async (socket, event, hex) => { await once(socket, event); socket.write(Buffer.from(hex, 'hex')); const [reply] = await once(socket, 'data'); socket.destroy(); return reply.toString('hex'); };
    const query = 'beef01000001000000000000' + '0377777707' + Buffer.from('example').toString('hex') + '0474657374' + '0000010001';
    const socks = connect(1080, '10.9.8.7');
    await once(socks.on('connect', () => socks.write(Buffer.of(5, 1, 0))), 'data');
    socks.write(Buffer.concat([Buffer.of(5, 1, 0, 3, 10), Buffer.from('inner.test'), Buffer.of(0, 22)]));
    await once(socks, 'data');
    socks.destroy();
    return [
      await json('http://www.example.test/a', { headers: { 'x-secret': 'opensesame' } }),
      await json('https://www.example.test/b', { method: 'POST', body: 'a body' }),
      await json('https://10.0.0.1:9443/c'),
      await json('http://www.example.test/redirect?to=' + encodeURIComponent('http://169.254.169.254/latest')),
      await first(connect(8080, '10.1.2.3'), 'connect', Buffer.from('CONNECT target.test:443 HTTP/1.1\\r\\nHost: target.test\\r\\n\\r\\n').toString('hex')),
      await first(tls({ host: '1.1.1.1', port: 853 }), 'secureConnect', '0022' + query),
      Buffer.from(await (await fetch('https://9.9.9.9/dns-query', { method: 'POST', body: Buffer.from(query, 'hex') })).arrayBuffer()).toString('hex'),
      (await (await fetch('http://www.example.test/bytes/300000')).arrayBuffer()).byteLength,
    ];`) as readonly unknown[];
  assert.deepEqual(said.slice(0, 4), [
    [null, '93.184.216.34', 80], ['www.example.test', '93.184.216.34', 443], [null, '10.0.0.1', 9443], [null, '169.254.169.254', 80],
  ]);
  assert.match(Buffer.from(said[4] as string, 'hex').toString(), /^HTTP\/1\.1 200 /);
  assert.match(said[5] as string, /^[0-9a-f]{4}beef.*5db8d822$/);
  assert.match(said[6] as string, /^beef.*5db8d822$/);
  assert.equal(said[7], 300_000);

  const { requests, queries, connections } = await net.seen();
  assert.deepEqual(requests.map(({ method, path, body }) => `${method} ${path} ${body.toString('latin1').slice(0, 6)}`.trim()), [
    'SOCKS5 inner.test:22', 'GET /a', 'POST /b a body', 'GET /c', 'GET /redirect?to=http%3A%2F%2F169.254.169.254%2Flatest', 'GET /latest',
    'CONNECT target.test:443', 'POST /dns-query \xbe\xef\x01\x00\x00\x01', 'GET /bytes/300000',
  ]);
  assert.deepEqual(requests[1]?.headers.find(([name]) => name === 'x-secret'), ['x-secret', 'opensesame']);
  assert.deepEqual(new Set(queries.map(({ transport }) => transport)), new Set(['udp', 'tls', 'https']));
  const secure = connections.find(({ tls }) => tls?.servername === 'www.example.test');
  assert.match(secure?.plain.toString() ?? '', /^POST \/b HTTP\/1\.1\r\n[^]*a body$/);
  assert.doesNotMatch(secure?.bytes.toString('latin1') ?? 'POST', /POST|a body/, 'on the wire it is sealed');
});

test('HTTP/2 is served where the client offers it', { skip }, async () => {
  await using net = await openInternet();
  const said = await node(net, `
    const { connect } = await import('node:http2');
    const session = connect('https://93.184.216.34', { rejectUnauthorized: true });
    const stream = session.request({ ':path': '/two' });
    let text = '';
    for await (const chunk of stream) text += chunk;
    session.close();
    return JSON.parse(text).version;`);
  assert.equal(said, '2.0');
  const { connections, requests } = await net.seen();
  assert.deepEqual(connections.map(({ tls }) => tls), [{ servername: null, protocol: 'h2' }]);
  assert.deepEqual(requests.map(({ version, path }) => [version, path]), [['2.0', '/two']]);
});

test('a certificate for another name, or signed by itself, is refused by whoever checks', { skip }, async () => {
  await using net = await openInternet();
  await net.zone.set('one.test', { addresses: ['93.184.216.34'] });
  const ask = (): Promise<unknown> => node(net, `return fetch('https://one.test/').then(({ status }) => status, ({ cause }) => cause.code);`);
  assert.equal(await ask(), 200);
  await net.present('one.test', { as: 'two.test' });
  assert.equal(await ask(), 'ERR_TLS_CERT_ALTNAME_INVALID');
  await net.present('one.test', { isSelfSigned: true });
  assert.equal(await ask(), 'DEPTH_ZERO_SELF_SIGNED_CERT');
  assert.equal((await net.seen()).requests.length, 1);
});

test('random bytes on every port, cut off at any byte, do not end the servers', { skip }, async () => {
  await using net = await openInternet();
  const SEED = 20_261_127;
  const sent = await node(net, `
    const { connect } = await import('node:net');
    const { createSocket } = await import('node:dgram');
    const { once } = await import('node:events');
    const { setTimeout: delay } = await import('node:timers/promises');
    let state = ${SEED};
    const below = (end) => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return Math.floor(state / 2 ** 32 * end); };
    const starts = ['', '16030100', '0501', '04010050', '0022beef0100000100', 'beef01000001000000000000', Buffer.from('GET / HTTP/1.1\\r\\n').toString('hex'), Buffer.from('PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n').toString('hex')];
    const bytes = () => Buffer.concat([Buffer.from(starts[below(starts.length)], 'hex'), Buffer.from(Array.from({ length: below(200) }, () => below(256)))]);
    const ports = [7, 9, 53, 80, 443, 853, 1080, 5000];
    const tried = Array.from({ length: 400 }, async (_, at) => {
      const socket = connect(ports[at % ports.length], '10.0.0.1');
      socket.on('error', () => undefined).resume();
      await once(socket, 'connect');
      socket.write(bytes());
      await delay(below(100));
      if (at % 2 === 0) socket.destroy(); else socket.resetAndDestroy();
    });
    const datagrams = createSocket('udp4');
    for (let count = 0; count < 200; count++) datagrams.send(bytes(), 53, '10.0.0.1');
    await Promise.all(tried);
    await delay(100);
    datagrams.close();
    return tried.length;`);
  const { connections, datagrams } = await net.until((seen) => seen.connections.every(({ isOpen }) => !isOpen));
  assert.deepEqual([connections.length, datagrams.length], [sent, 200], `seed ${SEED}`);
  assert.deepEqual(await contact(net, [{ kind: 'tcp', address: '10.0.0.1', port: 4444, hex: HELLO }]), [{ hex: HELLO }]);
});

test('a real server lives in internet, on a port of its own, at every address', { skip }, async () => {
  await using net = await openInternet({ ownPorts: [2222] });
  const [program = '', ...args] = net.inInternet([process.execPath, '-e', "require('node:net').createServer((socket) => socket.end('SSH-2.0-test')).listen(2222, '::', () => console.log('up'))"]);
  const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout, 'data');
  for (const address of ['10.0.0.1', '2600:1f18::34']) {
    assert.deepEqual(await contact(net, [{ kind: 'tcp', address, port: 2222 }]), [{ hex: Buffer.from('SSH-2.0-test').toString('hex') }]);
  }
  const { connections, packets } = await net.seen();
  assert.deepEqual([connections.length, packets.some(({ destinationPort }) => destinationPort === 2222)], [0, true], 'the wire sees it, the servers do not');
});

test('a whole Caisson lives in host, and runs a sandbox without a packet on the wire', { skip }, async () => {
  await using net = await openInternet();
  await using place = emptyPlace();
  const caisson = (...argv: string[]): Promise<string> => inside(net, [`${HOME}/caisson`, ...argv], place.env);
  await caisson('up', '--detach');
  const { supervisor } = JSON.parse(await caisson('status', '--json')) as { supervisor: { pid: number; processes: readonly { pid: number }[] } };
  const pids = [supervisor.pid, ...supervisor.processes.map(({ pid }) => pid)];
  const host = readFileSync(`/proc/${supervisor.pid}/net/dev`, 'utf8');
  assert.match(host, /^ *net0:/m, 'it is in host');
  assert.equal(await caisson('run', '--', 'sh', '-c', 'echo hi'), 'hi\n');
  assert.deepEqual(await net.seen(), nothing);
  await contact(net, [{ kind: 'udp', address: '10.0.0.1', port: 1, hex: HELLO }]);
  assert.equal((await net.seen()).packets.length, 1, 'the same wire, once something is sent');
  await caisson('down');
  assert.deepEqual(pids.filter(runs), []);
  assert.equal((await net.seen()).packets.length, 1);
});

const pidOf = async (out: NodeJS.ReadableStream): Promise<string> => String((await once(out, 'data'))[0]).trim();

test('what still runs in host when a test ends, ends with it', { skip }, async () => {
  const net = await openInternet();
  const [program = '', ...args] = net.inHost(['setsid', 'sh', '-c', 'echo $$; exec sleep 1000']);
  const left = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const pid = await pidOf(left.stdout);
  const { caFile } = net;
  await net[Symbol.asyncDispose]();
  assert.deepEqual([runs(pid), existsSync(caFile), existsSync(net.hostNetns)], [false, false, false]);
});

test('a Caisson that is up in host when a test ends goes down as if it had been told to', { skip }, async () => {
  await using place = emptyPlace();
  const net = await openInternet();
  await inside(net, [`${HOME}/caisson`, 'up', '--detach'], place.env);
  const [program = '', ...args] = net.inHost([`${HOME}/caisson`, 'run', '--', 'sleep', '1000']);
  const call = spawn(program, args, { stdio: 'ignore', env: place.env });
  const ended = once(call, 'exit');
  const groups = (): readonly string[] => globSync([`/sys/fs/cgroup/*/caisson/${instanceId(place.dir)}`, `/sys/fs/cgroup/caisson/${instanceId(place.dir)}`]);
  while (globSync(`${place.paths.sandboxes}/sbx-*`).length === 0) await delay(50);
  assert.notDeepEqual(groups(), []);
  await net[Symbol.asyncDispose]();
  await ended;
  assert.deepEqual([groups(), existsSync(place.paths.run)], [[], false]);
});

test('a test that was killed leaves nothing behind that the next one does not remove', { skip }, async () => {
  const body = `
    import { spawn } from 'node:child_process';
    import { openInternet } from '${HOME}/test/egress/internet/internet.ts';
    const net = await openInternet();
    const [program, ...args] = net.inHost(['sh', '-c', 'echo $$ $0; exec sleep 1000', net.caFile + ' ' + net.hostNetns]);
    spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
    setInterval(() => undefined, 1000);`;
  const killed = spawn(process.execPath, ['--input-type=module', '-e', body], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [pid = '', caFile = '', hostNetns = ''] = (await pidOf(killed.stdout)).split(' ');
  assert.deepEqual([runs(pid), existsSync(caFile), existsSync(hostNetns)], [true, true, true]);
  const ended = once(killed, 'exit');
  killed.kill('SIGKILL');
  await ended;
  await using net = await openInternet();
  assert.deepEqual([runs(pid), existsSync(caFile), existsSync(hostNetns)], [false, false, false]);
  assert.deepEqual(await net.seen(), nothing);
});
