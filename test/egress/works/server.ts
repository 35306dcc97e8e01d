/**
 * Servers of the test that are real programs' counterparts, as one process in the fake Internet: server.ts AUTHORITY SITES.
 * TLS with the certificate of the name that was asked for, in which sites are served and repositories by `git http-backend`;
 * WebSockets; and connections of every manner of beginning and ending. Says `ready`, then what came to `SERVER_FIRST`, as one
 * JSON value per line. It ends when stdin does.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { callbackify } from 'node:util';
import { WebSocketServer } from 'ws';
import { openCertificates } from '../internet/certificates.ts';
import { blobOf, PORTS } from './ports.ts';

const [authority = '', sites = ''] = process.argv.slice(2);
const GIT_BACKEND = '/usr/lib/git-core/git-http-backend';
const HEAD_MOST = 65_536;

/** A path of a site as its file; of what leaves its folder, none. */
function serveSite({ headers: { host = '' }, url = '/' }: IncomingMessage, say: ServerResponse): void {
  const { pathname } = new URL(url, 'https://here.test');
  try {
    const body = readFileSync(`${sites}/${host.split(':')[0]}${pathname}${pathname.endsWith('/') ? 'index' : ''}`);
    say.writeHead(200, { 'content-type': pathname.endsWith('/') ? 'text/html' : body[0] === 0x7b ? 'application/json' : 'application/octet-stream', 'content-length': body.length });
    say.end(body);
  } catch {
    say.writeHead(404).end();
  }
}

/** RFC 3875: the request is the environment, its body stdin, and the answer begins with header fields. */
function serveGit(ask: IncomingMessage, say: ServerResponse): void {
  const { pathname, searchParams } = new URL(ask.url ?? '/', 'https://here.test');
  const { 'content-type': type, 'content-encoding': encoding, 'content-length': length, 'git-protocol': protocol } = ask.headers;
  const backend = spawn(GIT_BACKEND, [], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      ...process.env, GIT_PROJECT_ROOT: `${sites}/git`, GIT_HTTP_EXPORT_ALL: '1', REQUEST_METHOD: ask.method, PATH_INFO: pathname,
      QUERY_STRING: searchParams.toString(), CONTENT_TYPE: type, HTTP_CONTENT_ENCODING: encoding, CONTENT_LENGTH: length,
      GIT_PROTOCOL: typeof protocol === 'string' ? protocol : '', REMOTE_ADDR: ask.socket.remoteAddress,
    },
  });
  pipeline(ask, backend.stdin, () => undefined);
  let head = Buffer.alloc(0);
  const begin = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return void (head.length > HEAD_MOST && say.destroy());
    backend.stdout.off('data', begin).pause();
    const fields = head.toString('latin1', 0, end).split('\r\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const);
    say.writeHead(Number(fields.find(([name]) => name === 'Status')?.[1]?.slice(0, 3) ?? 200), Object.fromEntries(fields.filter(([name]) => name !== 'Status')));
    say.write(head.subarray(end + 4));
    pipeline(backend.stdout, say, () => undefined);
  };
  backend.stdout.on('data', begin);
}

const TCP: Readonly<Record<number, (socket: Socket) => void>> = {
  /** Says what it has read once the other has ended. */
  [PORTS.digest]: (socket) => {
    const hash = createHash('sha256');
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.on('end', () => void socket.end(`${hash.digest('hex')} ${bytes}\n`));
  },
  [PORTS.blob]: (socket) => {
    socket.resume();
    pipeline(blobOf(), socket, () => undefined);
  },
  [PORTS.serverFirst]: (socket) => {
    socket.end('first\n');
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.on('end', () => void process.stdout.write(`${JSON.stringify(text)}\n`));
  },
  [PORTS.echo]: (socket) => void socket.pipe(socket),
};

const certificates = openCertificates(authority);
const listening = [
  createHttps({ SNICallback: callbackify((name: string) => certificates.contextFor(name)) }, (ask, say) => (ask.headers.host === 'git.example.test' ? serveGit(ask, say) : serveSite(ask, say))).listen(PORTS.tls),
  ...Object.entries(TCP).map(([port, serve]) =>
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      serve(socket);
    }).listen(Number(port)),
  ),
];
const http = createHttp((_, say) => void say.writeHead(426).end()).listen(PORTS.webSocket);
new WebSocketServer({ server: http, path: '/socket' }).on('connection', (socket) => socket.on('message', (data: Buffer, isBinary) => socket.send(data, { binary: isBinary })));
await Promise.all([http, ...listening].map((server) => new Promise((done) => (server.listening ? done(null) : server.once('listening', done)))));
process.stdout.write('ready\n');
process.stdin.resume().once('end', () => process.exit(0));
