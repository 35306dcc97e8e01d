import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createServer2, type Http2ServerRequest } from 'node:http2';
import { Duplex, Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { callbackify } from 'node:util';
import { serveSocks } from './socks.ts';
import type { Facts, World } from './world.ts';

type Role = 'any' | 'count' | 'dns' | 'echo' | 'http' | 'http2' | 'socks' | 'tls';

/** What a port speaks; every other port looks at the first bytes, and echoes what it does not know. */
const ROLES: Readonly<Record<number, Role>> = { 7: 'echo', 9: 'count', 53: 'dns', 80: 'http', 443: 'tls', 853: 'tls', 1080: 'socks', 8080: 'http', 8443: 'tls' };
const KEPT_BODY_BYTES = 1 << 20;
const CHUNK = Buffer.alloc(1 << 16, 'x');

/** Serves one connection as its port wants it. */
export function serve(stream: Duplex, facts: Facts, world: World): void {
  const role = ROLES[facts.ends.destinationPort] ?? 'any';
  const tap = tapped(stream, (chunk) => {
    world.write({ kind: 'bytes', id: facts.id, layer: 'wire', count: chunk.length, base64: role === 'count' ? '' : chunk.toString('base64') });
  });
  play(role, tap, { facts, world });
}

interface Scene {
  readonly facts: Facts;
  readonly world: World;
}

function play(role: Role, stream: Duplex, scene: Scene): void {
  const { facts, world } = scene;
  switch (role) {
    case 'any': return guess(stream, scene);
    case 'count': return void stream.resume().once('end', () => stream.end());
    case 'echo': return void stream.pipe(stream);
    case 'dns': return serveDns(stream, scene);
    case 'http': return void http(scene).emit('connection', stream);
    case 'http2': return void http2(scene).emit('connection', stream);
    case 'socks': return serveSocks(stream, { facts, world, next: () => guess(stream, scene) });
    case 'tls': return void startTls(stream, scene);
  }
}

/** The stream, with every chunk that comes out of it noted first. */
function tapped(stream: Duplex, note: (chunk: Buffer) => void): Duplex {
  const tap = new Duplex({
    read: () => void stream.resume(),
    write: (chunk: Buffer, _, done) => void stream.write(chunk, (error) => done(error)),
    final: (done) => void stream.end(() => done()),
    destroy(error, done) {
      stream.destroy();
      done(error);
    },
  });
  stream.on('data', (chunk: Buffer) => {
    note(chunk);
    if (!tap.push(chunk)) stream.pause();
  });
  stream.once('end', () => tap.push(null));
  stream.once('close', () => tap.destroy());
  for (const each of [stream, tap]) each.on('error', () => tap.destroy()); // whoever speaks may hang up at any time
  return tap;
}

function roleOf(first: Buffer): Role {
  if (first[0] === 0x16 && (first[1] ?? 3) === 3) return 'tls';
  const text = first.toString('latin1', 0, 24);
  if (text.startsWith('PRI * HTTP/2')) return 'http2';
  return /^[A-Z]{3,16} /.test(text) ? 'http' : 'echo';
}

function guess(stream: Duplex, scene: Scene): void {
  stream.once('readable', () => {
    const first = stream.read() as Buffer | null;
    if (first === null) return void stream.resume().end();
    stream.unshift(first);
    play(roleOf(first), stream, scene);
  });
}

async function startTls(stream: Duplex, { facts, world }: Scene): Promise<void> {
  const secureContext = await world.certificates.contextFor(facts.ends.destination);
  const secure = new TLSSocket(stream, {
    isServer: true,
    secureContext,
    SNICallback: callbackify((name: string) => world.certificates.contextFor(name)),
    ALPNCallback: ({ protocols }) => ['h2', 'http/1.1'].find((known) => protocols.includes(known)) ?? protocols[0],
  });
  secure.on('error', () => stream.destroy());
  const giveUp = (): void => void stream.destroy();
  stream.once('end', giveUp); // an end within the handshake is no error to TLSSocket, which then waits for ever
  secure.once('secure', () => {
    stream.off('end', giveUp);
    const servername = typeof secure.servername === 'string' ? secure.servername : null;
    const protocol = typeof secure.alpnProtocol === 'string' ? secure.alpnProtocol : null;
    world.write({ kind: 'tls', id: facts.id, servername, protocol });
    const plain = tapped(secure, (chunk) => world.write({ kind: 'bytes', id: facts.id, layer: 'plain', count: chunk.length, base64: chunk.toString('base64') }));
    const isDns = facts.ends.destinationPort === 853 || protocol === 'dot';
    play(isDns ? 'dns' : protocol === 'h2' ? 'http2' : 'any', plain, { facts: { ...facts, servername }, world });
  });
}

/** Queries with their length in front (RFC 1035 §4.2.2), answered in the order in which they come. */
function serveDns(stream: Duplex, { facts: { ends, servername }, world }: Scene): void {
  let read = Buffer.alloc(0);
  let last = Promise.resolve();
  const answer = async (query: Buffer): Promise<void> => {
    const reply = await world.resolve(query, { ends, transport: servername === null && ends.destinationPort !== 853 ? 'tcp' : 'tls' });
    if (reply !== undefined && stream.writable) stream.write(Buffer.concat([Buffer.of(reply.length >> 8, reply.length & 255), reply]));
  };
  stream.on('data', (chunk: Buffer) => {
    read = Buffer.concat([read, chunk]);
    while (read.length >= 2 && read.length >= 2 + read.readUInt16BE(0)) {
      const query = read.subarray(2, 2 + read.readUInt16BE(0));
      read = read.subarray(2 + query.length);
      last = last.then(() => answer(query));
    }
  });
  stream.once('end', () => void last.then(() => stream.end()));
}

type Ask = IncomingMessage | Http2ServerRequest;

/** What an answer needs of a response, of either version. */
interface Say extends NodeJS.WritableStream {
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
}

function http(scene: Scene): ReturnType<typeof createServer> {
  const server = createServer((ask, say) => void answerHttp(ask, say, scene));
  server.on('connect', (ask: IncomingMessage, stream: Duplex, head: Buffer) => {
    noteRequest(ask, scene);
    stream.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) stream.unshift(head);
    guess(stream, scene);
  });
  return server;
}

const http2 = (scene: Scene): ReturnType<typeof createServer2> => createServer2((ask, say) => void answerHttp(ask, say, scene));

function noteRequest(ask: Ask, { facts, world }: Scene): number {
  const request = world.nextId();
  const headers = ask.rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [[name, ask.rawHeaders[at + 1] ?? ''] as const] : []));
  const { id: connection, ends, servername } = facts;
  const said = { version: ask.httpVersion, method: ask.method ?? '', path: ask.url ?? '', headers };
  world.write({ kind: 'request', request, facts: { connection, ...ends, servername, ...said } });
  return request;
}

async function bodyOf(ask: Ask): Promise<Buffer> {
  const kept: Buffer[] = [];
  let keptBytes = 0;
  for await (const chunk of ask as AsyncIterable<Buffer>) {
    if (keptBytes < KEPT_BODY_BYTES) kept.push(chunk);
    keptBytes += chunk.length;
  }
  return Buffer.concat(kept).subarray(0, KEPT_BODY_BYTES);
}

async function answerHttp(ask: Ask, say: Say, scene: Scene): Promise<void> {
  const request = noteRequest(ask, scene);
  const body = await bodyOf(ask).catch(() => undefined);
  if (body === undefined) return; // hung up before it had said all
  scene.world.write({ kind: 'body', request, base64: body.toString('base64') });
  const url = new URL(ask.url ?? '/', 'http://here.test');
  const bytes = /^\/bytes\/(\d{1,12})$/.exec(url.pathname)?.[1];
  if (url.pathname === '/redirect') {
    say.writeHead(Number(url.searchParams.get('status') ?? 302), { location: url.searchParams.get('to') ?? '/' });
    return void say.end();
  }
  if (bytes !== undefined) {
    say.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes });
    return void Readable.from(chunksOf(Number(bytes))).pipe(say);
  }
  if (url.pathname === '/dns-query') return answerDns(ask, say, { scene, body, url });
  const { ends, servername } = scene.facts;
  say.writeHead(200, { 'content-type': 'application/json' });
  say.end(`${JSON.stringify({ ...ends, servername, version: ask.httpVersion, method: ask.method, path: ask.url, headers: ask.headers, body: body.toString('latin1') })}\n`);
}

function* chunksOf(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= CHUNK.length) yield CHUNK.subarray(0, left);
}

/** DNS over HTTPS (RFC 8484): the query is the body, or `dns` in the address. */
async function answerDns(ask: Ask, say: Say, { scene, body, url }: { readonly scene: Scene; readonly body: Buffer; readonly url: URL }): Promise<void> {
  const query = ask.method === 'POST' ? body : Buffer.from(url.searchParams.get('dns') ?? '', 'base64url');
  const reply = await scene.world.resolve(query, { ends: scene.facts.ends, transport: 'https' });
  if (reply === undefined) return; // silent, as over any transport
  say.writeHead(200, { 'content-type': 'application/dns-message' });
  say.end(reply);
}
