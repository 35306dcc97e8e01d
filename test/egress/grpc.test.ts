import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect as connect2, createSecureServer, type ClientHttp2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createServer as createHttps } from 'node:https';
import { connect as connectTls, type SecureContext } from 'node:tls';
import { EgressRule, type Json, type Lease } from '@caisson/contract';
import { Admitted, Certificates, endTls, HttpRelay, makeAuthority, Neighbours } from '@caisson/egress';
import { IS_ROOT } from '../harness.ts';

const HOST = 'grpc.test';
const ADDRESS = '127.77.1.1';
const VALUE = 'canary-0123456789abcdef';
const PLACEHOLDER = 'caisson-placeholder-0123456789';

interface Wire extends AsyncDisposable {
  call(path: string, headers?: Readonly<Record<string, string>>): Promise<{ readonly head: IncomingHttpHeaders; readonly trailers: IncomingHttpHeaders; readonly body: string; readonly code: number }>;
  readonly seen: IncomingHttpHeaders[];
  readonly record: Json[];
}

/** A client, the gate's own classes, and a server of HTTP/2, on loopback. */
async function wire(serve: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void, rule: Partial<EgressRule> = {}, old: RequestListener | null = null): Promise<Wire> {
  const made = { names: [HOST], expiresMs: Date.now() + 3_600_000, wallMs: Date.now() };
  const [theirs, ours] = await Promise.all([makeAuthority({ sandbox: 'theirs', ...made }), makeAuthority({ sandbox: 'ours', ...made })]);
  const context = await new Certificates(theirs).contextFor(HOST);
  const seen: IncomingHttpHeaders[] = [];
  const certify = { SNICallback: (_: string, done: (error: null, context: SecureContext) => void): void => done(null, context) };
  const server = old === null ? createSecureServer(certify) : createHttps(certify, old);
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    seen.push(headers);
    serve(stream, headers);
  });
  server.listen(443, ADDRESS);
  await once(server, 'listening');
  const record: Json[] = [];
  const lease = { id: 'lea-0000000000000000', secret: 'token', sandbox: 'sbx', placeholder: PLACEHOLDER, at: 'bearer', hosts: [HOST], digest: '0'.repeat(64), expiresMs: null } as unknown as Lease;
  const admitted = new Admitted(
    { sandbox: 'sbx', address: '', network: { rules: [EgressRule.parse({ host: HOST, protocol: 'https', ...rule })] }, policy: { certificateAuthorities: [theirs.certificate] }, authority: ours, held: [{ lease, value: VALUE }] },
    { denials: '/dev/null', record: async (_, body) => void record.push(body), nowMs: () => performance.now(), wallMs: Date.now, neighbours: new Neighbours() },
  );
  let ids = 0;
  const relay = new HttpRelay({ resolve: async () => ({ addresses: [{ address: ADDRESS, family: 4, exception: null }] }), nowMs: () => performance.now(), wallMs: Date.now, nextId: () => ++ids });
  const gate = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on('error', () => client.destroy());
    void endTls({ client, host: HOST }, admitted.certificates ?? new Certificates(ours), Buffer.alloc(0)).then((ended) => 'client' in ended && relay.serveSecure({ admitted, client: ended.client, host: HOST, port: 443 }));
  }).listen(0, '127.0.0.1');
  await once(gate, 'listening');
  const { port } = gate.address() as AddressInfo;
  const session: ClientHttp2Session = connect2(`https://${HOST}`, { createConnection: () => connectTls({ socket: connect(port, '127.0.0.1'), servername: HOST, ca: ours.certificate, ALPNProtocols: ['h2'] }) });
  session.on('error', () => undefined);
  return {
    seen, record,
    async call(path, headers = {}) {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers });
      let head: IncomingHttpHeaders = {};
      let trailers: IncomingHttpHeaders = {};
      let body = '';
      stream.on('response', (fields) => (head = fields)).on('trailers', (fields) => (trailers = fields)).on('data', (piece: Buffer) => (body += piece.toString('latin1'))).on('error', () => undefined);
      stream.end(Buffer.of(0, 0, 0, 0, 2, 8, 1));
      await new Promise((resolve) => stream.once('close', resolve));
      return { head, trailers, body, code: stream.rstCode ?? 0 };
    },
    async [Symbol.asyncDispose]() {
      session.destroy();
      admitted.connections.forEach(({ cut }) => cut('the test is over'));
      gate.close();
      server.close();
    },
  };
}

const answer = (text: string, trailers: Readonly<Record<string, string>>) => (stream: ServerHttp2Stream): void => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.resume().once('end', () => stream.end(text));
};
const options = { skip: IS_ROOT ? false : 'needs root: it serves port 443', timeout: 30_000 };

test('a call of gRPC passes with its body and trailers, and te says that they are understood', options, async () => {
  await using given = await wire(answer('\0\0\0\0\u0002ok', { 'grpc-status': '0', 'grpc-message': 'fine' }));
  const { head, trailers, body } = await given.call('/pkg.Service/Read');
  assert.deepEqual([head[':status'], body.slice(5), trailers['grpc-status'], trailers['grpc-message']], [200, 'ok', '0', 'fine']);
  assert.deepEqual([given.seen[0]?.['te'], given.seen[0]?.[':path'], given.seen[0]?.[':authority']], ['trailers', '/pkg.Service/Read', HOST]);
});

test('an answer of gRPC that is trailers only stays one', options, async () => {
  await using given = await wire((stream) => stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true }));
  const { head, body } = await given.call('/pkg.Service/Read');
  assert.deepEqual([head['grpc-status'], body], ['5', '']);
});

test('a call of gRPC that no rule allows ends with the status that means so, and its reason', options, async () => {
  await using given = await wire(answer('', {}), { http: { paths: ['/pkg.Service/Read'] } });
  const { head } = await given.call('/pkg.Service/Drop');
  assert.equal(head['grpc-status'], '7');
  assert.match(decodeURIComponent(String(head['grpc-message'])), /no rule of the call for this host allows this POST request/);
  assert.deepEqual(given.seen, []);
});

test('a secret goes out in a call, and what would bring it back in head, body or trailers is cut', options, async () => {
  const token = { authorization: `Bearer ${PLACEHOLDER}` };
  await using fine = await wire(answer('ok', { 'grpc-status': '0' }));
  assert.equal((await fine.call('/a/b', token)).trailers['grpc-status'], '0');
  assert.equal(fine.seen[0]?.authorization, `Bearer ${VALUE}`);
  assert.equal(fine.seen[0]?.['grpc-accept-encoding'], 'identity');
  await fine[Symbol.asyncDispose]();
  for (const serve of [answer('ok', { 'grpc-message': VALUE }), answer(`x${VALUE}`, {}), (stream: ServerHttp2Stream): void => stream.respond({ ':status': 200, 'x-echo': VALUE }, { endStream: true })]) {
    await using echoing = await wire(serve);
    const all = JSON.stringify(await echoing.call('/a/b', token));
    assert.ok(!all.includes(VALUE), all);
    assert.equal(echoing.seen[0]?.authorization, `Bearer ${VALUE}`, 'control');
    assert.match(JSON.stringify(echoing.record), /the answer holds a secret/);
  }
});

test('a server that does not speak HTTP/2 is asked by HTTP/1.1, with whole bodies and what follows them', options, async () => {
  const asked: string[] = [];
  await using given = await wire(() => assert.fail('it speaks no HTTP/2'), {}, (request, response) => {
    let bytes = 0;
    request.on('data', (piece: Buffer) => (bytes += piece.length)).once('end', () => {
      asked.push(`${request.httpVersion} ${request.method} ${request.url} ${request.headers.host} ${request.headers['transfer-encoding']} ${bytes}`);
      response.writeHead(200, { trailer: 'x-after' });
      response.write('old');
      response.addTrailers({ 'x-after': 'yes' });
      response.end();
    });
  });
  const answers = await Promise.all([given.call('/a'), given.call('/b')]);
  for (const { head, body, trailers } of answers) assert.deepEqual([head[':status'], body, trailers['x-after']], [200, 'old', 'yes']);
  assert.deepEqual(asked.toSorted(), ['1.1 POST /a grpc.test chunked 7', '1.1 POST /b grpc.test chunked 7']);
});
