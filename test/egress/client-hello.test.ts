import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { ClientHelloReader, readClientHello, type ClientHello, type HelloState } from '@caisson/egress';
import { extension, helloMessage, nameEntry, nodeHello, openWitness, record, records, serverName, u16, vector16, vector8, type HelloSpec } from './hello-bytes.ts';

function helloOf(state: HelloState): ClientHello {
  assert.ok('hello' in state, JSON.stringify(state));
  return state.hello;
}

function inPieces(bytes: Buffer, size: number): HelloState {
  const reader = new ClientHelloReader();
  let state: HelloState = { need: 'more' };
  for (let at = 0; at < bytes.length; at += size) state = reader.push(bytes.subarray(at, at + size));
  return state;
}

test('the hello of Node names its server, protocols and versions, and is longer than a packet', async () => {
  const bytes = await nodeHello({ servername: 'api.example.test', ALPNProtocols: ['h2', 'http/1.1'] });
  const hello = helloOf(readClientHello(bytes));
  assert.deepEqual(hello, { serverName: 'api.example.test', alpn: ['h2', 'http/1.1'], versions: [0x0304, 0x0303], ech: false });
  assert.ok(bytes.length > 1_400, `${bytes.length} bytes: no post-quantum key share`);
});

test('the hello of a client of TLS 1.2 offers that version alone, and one without a name has none', async () => {
  const hello = helloOf(readClientHello(await nodeHello({ maxVersion: 'TLSv1.2' })));
  assert.deepEqual({ ...hello, alpn: [] }, { serverName: null, alpn: [], versions: [0x0303], ech: false });
});

/** What a program sends first to a server that never answers. Null: the program is not here. */
async function firstBytesOf(program: string, argsFor: (port: number) => readonly string[]): Promise<Buffer | null> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | null>();
  const server = createServer((socket) => {
    const reader = new ClientHelloReader();
    const chunks: Buffer[] = [];
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if ('need' in reader.push(chunk)) return;
      resolve(Buffer.concat(chunks));
      socket.destroy();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const child = execFile(program, argsFor((server.address() as AddressInfo).port), { timeout: 10_000 }, () => reject(new Error(`${program} ended without a hello`)));
  child.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? resolve(null) : reject(error)));
  child.stdin?.end();
  try {
    return await promise;
  } finally {
    server.close();
  }
}

const PYTHON = 'import socket,ssl,sys\nssl.create_default_context().wrap_socket(socket.create_connection(("127.0.0.1",int(sys.argv[1]))),server_hostname="api.example.test")';
const PROGRAMS: readonly (readonly [string, (port: number) => readonly string[]])[] = [
  ['openssl', (port) => ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'api.example.test']],
  ['curl', (port) => ['-s', '--noproxy', '*', '--resolve', `api.example.test:${port}:127.0.0.1`, `https://api.example.test:${port}/`]],
  ['python3', (port) => ['-c', PYTHON, String(port)]],
];
for (const [program, argsFor] of PROGRAMS) {
  test(`the hello of ${program} names its server`, async (t: TestContext) => {
    const bytes = await firstBytesOf(program, argsFor);
    if (bytes === null) return t.skip(`${program} is not installed`);
    const { serverName: name, versions } = helloOf(readClientHello(bytes));
    assert.equal(name, 'api.example.test');
    assert.ok(versions.includes(0x0304));
  });
}

test('a hello is read the same, in whatever pieces and in up to 64 records it comes, and in more it is refused', async () => {
  const whole = await nodeHello({ servername: 'api.example.test', ALPNProtocols: ['h2'] });
  const message = whole.subarray(5);
  const expected = helloOf(readClientHello(whole));
  const least = Math.ceil(message.length / 64);
  fc.assert(fc.property(fc.integer({ min: least, max: 2_000 }), fc.integer({ min: 1, max: 2_000 }), (most, size) => {
    assert.deepEqual(helloOf(inPieces(records(message, most), size)), expected);
  }), { numRuns: 200 });
  assert.deepEqual(helloOf(inPieces(records(message, least), 1)), expected);
  const tooMany = inPieces(records(message, Math.floor(message.length / 65)), 1);
  assert.ok('refused' in tooMany && /more than 64 records/.test(tooMany.refused), JSON.stringify(tooMany));
});

test('at every byte but the last of a hello, more is needed', async () => {
  const bytes = await nodeHello({ servername: 'api.example.test' });
  for (let length = 0; length < bytes.length; length++) assert.deepEqual(readClientHello(bytes.subarray(0, length)), { need: 'more' }, `${length} bytes`);
});

test('early data behind the record of the hello is the server\'s', () => {
  const bytes = Buffer.concat([records(helloMessage()), record(Buffer.of(1), { type: 20 }), record(Buffer.alloc(40), { type: 23 })]);
  assert.equal(helloOf(readClientHello(bytes)).serverName, 'api.example.test');
});

test('a name is given as it was sent, and a hello without extensions has none', () => {
  for (const name of ['API.Example.TEST', 'example.test.', '127.0.0.1', '[::1]', '*', 'user@host', 'a'.repeat(255)]) {
    assert.equal(helloOf(readClientHello(records(helloMessage({ extensions: serverName(name) })))).serverName, name);
  }
  assert.deepEqual(helloOf(readClientHello(records(helloMessage({ extensions: null })))), { serverName: null, alpn: [], versions: [0x0303], ech: false });
  assert.equal(helloOf(readClientHello(records(helloMessage({ extensions: Buffer.alloc(0) })))).serverName, null);
});

test('an encrypted hello is reported, whether it means something or not', () => {
  for (const type of [0xfe0d, 0xffce]) {
    const hello = helloOf(readClientHello(records(helloMessage({ extensions: Buffer.concat([serverName('a.test'), extension(type, Buffer.alloc(200))]) }))));
    assert.deepEqual([hello.serverName, hello.ech], ['a.test', true]);
  }
});

const named = (list: Buffer): HelloSpec => ({ extensions: extension(0, list) });
const HOSTILE: readonly (readonly [string, Buffer, RegExp])[] = [
  ['HTTP', Buffer.from('G'), /^not TLS$/],
  ['ssh', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), /^not TLS$/],
  ['a record of an unknown major version', Buffer.of(22, 4), /^not TLS$/],
  ['a hello of SSLv2', Buffer.from('802e01030100', 'hex'), /^a hello of SSLv2$/],
  ['what only begins like SSLv2', Buffer.from('802e02', 'hex'), /^not TLS$/],
  ['an alert', record(Buffer.of(2, 40), { type: 21 }), /^not TLS$/],
  ['a record of another type inside', Buffer.concat([record(helloMessage().subarray(0, 20)), Buffer.of(20)]), /^a record of type 20 inside the ClientHello$/],
  ['application data inside', Buffer.concat([record(helloMessage().subarray(0, 20)), Buffer.of(23)]), /^a record of type 23 inside/],
  ['an empty record', record(Buffer.alloc(0)), /^an empty record$/],
  ['an empty record inside', Buffer.concat([record(helloMessage().subarray(0, 20)), record(Buffer.alloc(0))]), /^an empty record$/],
  ['a record longer than records are', Buffer.from('1603014001', 'hex'), /^a record of 16385 bytes$/],
  ['another handshake message', records(helloMessage({ type: 2 })), /does not begin with a ClientHello/],
  ['another handshake message, at its first byte', Buffer.from('160301020002', 'hex'), /does not begin with a ClientHello/],
  ['a hello that says it is too long', Buffer.from('160301020001010001', 'hex'), /more than 65536 bytes/],
  ['a second message behind it in its record', record(Buffer.concat([helloMessage(), helloMessage()])), /bytes behind the ClientHello/],
  ['a byte behind it in its record', record(Buffer.concat([helloMessage(), Buffer.of(0)])), /bytes behind the ClientHello/],
  ['a byte behind its extensions', records(helloMessage({ tail: Buffer.of(0) })), /lengths disagree/],
  ['a hello cut short by its own length', record(helloMessage({ length: 50 }).subarray(0, 54)), /lengths disagree/],
  ['version 2', records(helloMessage({ version: 0x0200 })), /TLS version 512/],
  ['a session id that is too long', records(helloMessage({ sessionId: Buffer.alloc(33) })), /lengths disagree/],
  ['half a cipher', records(helloMessage({ ciphers: Buffer.alloc(3) })), /lengths disagree/],
  ['no cipher', records(helloMessage({ ciphers: Buffer.alloc(0) })), /lengths disagree/],
  ['no null compression', records(helloMessage({ compressions: Buffer.of(1) })), /lengths disagree/],
  ['half an extension', records(helloMessage({ extensions: Buffer.of(0, 0, 0) })), /lengths disagree/],
  ['two extensions of one type', records(helloMessage({ extensions: Buffer.concat([serverName('a.test'), serverName('b.test')]) })), /^extension 0 twice$/],
  ['two extensions that nobody knows', records(helloMessage({ extensions: Buffer.concat([extension(0x2a2a, Buffer.alloc(0)), extension(0x2a2a, Buffer.of(1))]) })), /^extension 10794 twice$/],
  ['two server names', records(helloMessage(named(vector16(Buffer.concat([nameEntry('a.test'), nameEntry('b.test')]))))), /^more than one server name$/],
  ['a server name of another type', records(helloMessage(named(vector16(nameEntry('a.test', 1))))), /^a server name of type 1$/],
  ['a server name of another type behind one', records(helloMessage(named(vector16(Buffer.concat([nameEntry('a.test'), nameEntry('b.test', 1)]))))), /^more than one server name$/],
  ['an empty list of server names', records(helloMessage(named(vector16(Buffer.alloc(0))))), /server name whose lengths disagree/],
  ['an empty extension of the server name', records(helloMessage(named(Buffer.alloc(0)))), /server name whose lengths disagree/],
  ['an empty server name', records(helloMessage({ extensions: serverName('') })), /server name whose lengths disagree/],
  ['a byte behind the list of server names', records(helloMessage(named(Buffer.concat([vector16(nameEntry('a.test')), Buffer.of(0)])))), /server name whose lengths disagree/],
  ['a byte behind the server name', records(helloMessage(named(vector16(Buffer.concat([nameEntry('a.test'), Buffer.of(0)]))))), /more than one server name/],
  ['a server name that says it is longer', records(helloMessage(named(vector16(Buffer.concat([Buffer.of(0), u16(9), Buffer.from('a.test')]))))), /server name whose lengths disagree/],
  ['a NUL in the name', records(helloMessage({ extensions: serverName('a.test\0.evil.test') })), /not printable ASCII/],
  ['a name that is not ASCII', records(helloMessage({ extensions: serverName('b\xfccher.test') })), /not printable ASCII/],
  ['a blank in the name', records(helloMessage({ extensions: serverName('a.test b.test') })), /not printable ASCII/],
  ['a line end in the name', records(helloMessage({ extensions: serverName('a.test\r\n') })), /not printable ASCII/],
  ['a name that is too long', records(helloMessage({ extensions: serverName('a'.repeat(256)) })), /of 256 bytes/],
  ['an empty list of protocols', records(helloMessage({ extensions: extension(16, vector16(Buffer.alloc(0))) })), /lengths disagree/],
  ['an empty protocol', records(helloMessage({ extensions: extension(16, vector16(Buffer.of(0))) })), /lengths disagree/],
  ['half a version', records(helloMessage({ extensions: extension(43, vector8(Buffer.of(3, 4, 3))) })), /lengths disagree/],
  ['no version', records(helloMessage({ extensions: extension(43, vector8(Buffer.alloc(0))) })), /lengths disagree/],
];
for (const [what, bytes, reason] of HOSTILE) {
  test(`a client is refused that sends ${what}, in one piece and in many`, () => {
    for (const state of [readClientHello(bytes), inPieces(bytes, 1), inPieces(bytes, 3)]) {
      assert.ok('refused' in state, JSON.stringify(state));
      assert.match(state.refused, reason);
    }
  });
}

test('a refusal stays one, whatever comes behind it', () => {
  const reader = new ClientHelloReader();
  assert.ok('refused' in reader.push(Buffer.from('GET / HTTP/1.1\r\n')));
  assert.ok('refused' in reader.push(records(helloMessage())));
});

const paddedTo = (bytes: number): Buffer => helloMessage({ extensions: Buffer.concat([serverName('api.example.test'), extension(21, Buffer.alloc(bytes))]) });

test('a hello as long as the bound is read, and one byte more is refused before it is all there', () => {
  const other = records(paddedTo(0)).length + 3 * 5;
  const fits = records(paddedTo(65_536 - other), 16_384);
  assert.equal(fits.length, 65_536);
  assert.equal(helloOf(readClientHello(fits)).serverName, 'api.example.test');
  const over = records(paddedTo(65_537 - other), 16_384);
  assert.match(JSON.stringify(readClientHello(over.subarray(0, -1_000))), /more than 65536 bytes/);
});

test('the cost grows with the bytes and not with their square, in pieces of one byte', () => {
  const message = paddedTo(60_000);
  const fastest = (bytes: Buffer): number => Math.min(...Array.from({ length: 7 }, () => {
    const start = performance.now();
    inPieces(bytes, 1);
    return performance.now() - start;
  }));
  inPieces(records(message), 1); // so that neither pays for the compiler
  const TIMES = 32;
  const [part, whole] = [fastest(records(message).subarray(0, 60_000 / TIMES)), fastest(records(message).subarray(0, 60_000))];
  assert.ok(whole < part * TIMES * 2.5, `${part} ms for a part, ${whole} ms for ${TIMES} times as much`);
});

test('where OpenSSL sees a name we see the same, or refuse: for good names, and for hellos with bytes changed', async () => {
  await using witness = await openWitness();
  const bytes = await nodeHello({ servername: 'api.example.test', ALPNProtocols: ['h2'] });
  assert.equal(await witness.nameIn(bytes), 'api.example.test');
  const small = records(helloMessage({ extensions: Buffer.concat([serverName('api.example.test'), extension(43, vector8(Buffer.of(3, 3))), extension(10, vector16(u16(29)))]) }));
  assert.equal(await witness.nameIn(small), 'api.example.test');
  let seen = 0;
  let refused = 0;
  const compare = async (changed: Buffer): Promise<void> => {
    const name = await witness.nameIn(changed);
    if (name === null) return;
    seen++;
    const state = readClientHello(changed);
    if ('refused' in state) refused++;
    else assert.equal(helloOf(state).serverName, name, changed.toString('hex'));
  };
  for (const [, hostile] of HOSTILE) await compare(hostile);
  const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
  await fc.assert(fc.asyncProperty(fc.constantFrom(bytes, small, small), changes, async (original, all) => {
    const changed = Buffer.from(original);
    for (const [at, value] of all) changed.writeUInt8(value, at % changed.length);
    await compare(changed);
  }), { numRuns: 1_500 });
  assert.ok(seen > 300 && refused < seen, `OpenSSL saw ${seen} names, of which ${refused} are refused here`);
});
