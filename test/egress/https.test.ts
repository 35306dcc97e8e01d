import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Level } from '@caisson/contract';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const PUBLIC = '93.184.216.34';
const READ = { host: 'api.example.test', http: { methods: ['GET'], paths: ['/v1/**', '/bytes/*'] } } as const;
/** Prints the issuer of the certificate that a server shows. */
const ISSUER = `
import socket, ssl, sys
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
with socket.create_connection((sys.argv[1], 443), 5) as plain, context.wrap_socket(plain, server_hostname=sys.argv[2]) as secure:
    der = secure.getpeercert(True)
print("gate" if b"Caisson gate of" in der else "server")
`;
/** Sends a request with a Host of its own over TLS to a name. */
const FRONTED = `
import socket, ssl, sys
connect, name, host = sys.argv[1:]
with socket.create_connection((connect, 443), 5) as plain, ssl.create_default_context().wrap_socket(plain, server_hostname=name) as secure:
    secure.sendall(f"GET /v1/a HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(secure.recv(100).split(b" ")[1].decode())
`;

/** Trusts nobody. */
const DISTRUSTING = `
import socket, ssl, sys
with socket.create_connection((sys.argv[1], 443), 5) as plain: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(plain, server_hostname=sys.argv[1]).recv(1)
`;

const curl = (...argv: readonly string[]): readonly string[] => ['curl', '-sS', '--max-time', '10', '-w', '\n%{http_code}', ...argv];

describe('requests that the gate reads by TLS', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene({ policy: ({ net }) => ({ network: { certificateAuthorities: [net.caPem] } }) });
    for (const name of ['api.example.test', 'other.example.test', 'self.example.test', 'wrong.example.test', 'subject.example.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
    await scene.net.present('self.example.test', { isSelfSigned: true });
    await scene.net.present('wrong.example.test', { as: 'other.example.test' });
    await scene.net.present('subject.example.test', { isNamedBySubject: true });
  });
  after(() => scene[Symbol.asyncDispose]());

  /** Status and body of what curl in a sandbox is answered. */
  const get = async (box: Box, ...argv: readonly string[]): Promise<{ readonly status: number; readonly body: string }> => {
    const { stdout, stderr } = await box.exec(curl(...argv));
    const lines = stdout.toString().split('\n');
    assert.ok(lines.length > 1, stderr);
    return { status: Number(lines.at(-1)), body: lines.slice(0, -1).join('\n') };
  };

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`what a rule allows passes, what it does not is refused with its reason, and the server proves itself to the gate (${level})`, async () => {
      await using box = await scene.open({ level, rules: [READ] });
      const mark = await scene.net.mark();
      const answered = await get(box, 'https://api.example.test/v1/models?x=1');
      assert.equal(answered.status, 200, answered.body);
      const { servername, path, headers } = JSON.parse(answered.body) as { servername: string; path: string; headers: Record<string, string> };
      assert.deepEqual([servername, path, headers[':authority'] ?? headers['host']], ['api.example.test', '/v1/models?x=1', 'api.example.test']);
      for (const argv of [['-X', 'POST', '-d', 'x', 'https://api.example.test/v1/models'], ['https://api.example.test/v2'], ['--path-as-is', 'https://api.example.test/v1/../v2']]) {
        const { status, body } = await get(box, ...argv);
        const denied = JSON.parse(body) as Record<string, string>;
        assert.deepEqual([status, denied['error']], [403, 'EGRESS_DENIED'], argv.join(' '));
      }
      const { requests } = await scene.net.since(mark);
      assert.deepEqual(requests.map((request) => `${request.method} ${request.path}`), ['GET /v1/models?x=1']);
      const [event] = (await box.events()).filter((each) => each.event === 'request');
      assert.deepEqual([event?.host, event?.port, event?.address], ['api.example.test', 443, PUBLIC]);
    });

    test(`only hosts whose rules ask for it are read: another host in the same sandbox shows its own certificate (${level})`, async () => {
      await using box = await scene.open({ level, rules: [READ, 'other.example.test'] });
      const seen = async (host: string): Promise<readonly string[]> => box.python(ISSUER, host, host);
      assert.deepEqual([await seen('api.example.test'), await seen('other.example.test')], [['gate'], ['server']]);
    });
  }

  test('a name that is another on any of the ways that there are is refused, and nothing is sent', async () => {
    await using box = await scene.open({ level: 'container', rules: [READ, { host: 'other.example.test', protocol: 'https' }] });
    assert.deepEqual(await box.python(FRONTED, 'api.example.test', 'api.example.test', 'api.example.test'), ['200'], 'control');
    const mark = await scene.net.mark();
    assert.deepEqual(await box.python(FRONTED, 'api.example.test', 'api.example.test', 'other.example.test'), ['403'], 'another Host');
    const { status, stderr } = await box.exec(['python3', '-c', FRONTED, 'api.example.test', 'other.example.test', 'other.example.test']);
    assert.notEqual(status, 0);
    assert.match(stderr, /alert|EOF|reset/i, 'another server name');
    assert.deepEqual((await scene.net.since(mark)).requests, []);
    await box.refusals(['names the server other.example.test', 'it names other.example.test:443']);
  });

  test('a server that does not prove its name gets no request', async () => {
    const hosts = ['self.example.test', 'wrong.example.test', 'subject.example.test'];
    await using box = await scene.open({ level: 'container', rules: hosts.map((host) => ({ host, protocol: 'https' })) });
    const mark = await scene.net.mark();
    for (const host of hosts) {
      const { status, body } = await get(box, '-d', 'canary', `https://${host}/`);
      assert.equal(status, 502, body);
      assert.match(body, /has not proved its name/);
    }
    const { requests, connections } = await scene.net.since(mark);
    assert.deepEqual(requests, []);
    assert.ok(connections.length >= 3, 'control: they were reached');
    assert.ok(connections.every(({ bytes }) => !bytes.includes('canary')));
  });

  test('bodies of any size pass whole, both ways, and count', async () => {
    await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https' }] });
    const down = await box.exec(['sh', '-c', 'curl -sS https://api.example.test/bytes/20000000 | wc -c']);
    assert.equal(down.stdout.toString().trim(), '20000000', down.stderr);
    const up = await box.exec(['sh', '-c', 'head -c 3000000 /dev/zero | curl -sS -H Transfer-Encoding:chunked --data-binary @- https://api.example.test/bytes/1 | wc -c']);
    assert.equal(up.stdout.toString().trim(), '1', up.stderr);
    for (const untilMs = performance.now() + 10_000; ; ) { // a connection counts when it is over
      const { passed } = JSON.parse((await scene.caisson(['network', box.id, '--json'])).stdout.toString()) as { passed: { bytesOut: number; bytesIn: number } };
      if (passed.bytesIn >= 20_000_000 && passed.bytesOut >= 3_000_000) break;
      assert.ok(performance.now() < untilMs, JSON.stringify(passed));
    }
  });

  test('a client that does not trust the gate is cut, and told of in the record', async () => {
    await using box = await scene.open({ level: 'container', rules: [READ] });
    const mark = await scene.net.mark();
    const { status, stderr } = await box.exec(['python3', '-c', DISTRUSTING, 'api.example.test']);
    assert.notEqual(status, 0);
    assert.match(stderr, /CERTIFICATE_VERIFY_FAILED/);
    await box.refusals([/api\.example\.test:443: the client (?:ended the TLS handshake|went away during the TLS handshake)/]);
    assert.deepEqual((await scene.net.since(mark)).requests, []);
  });

  test('rules that would have another host read are refused to a sandbox that does not trust the gate for it', async () => {
    await using box = await scene.open({ level: 'container', rules: [READ] });
    const changed = await scene.caisson(['network', box.id, '--allow', 'other.example.test/https']);
    assert.equal(changed.status, 1);
    assert.match(changed.stderr, /EGRESS_UNCERTIFIED: requests to other\.example\.test cannot be read .* are for api\.example\.test/);
    assert.equal((await get(box, 'https://api.example.test/v1/a')).status, 200, 'what held before holds');
    const narrowed = await scene.caisson(['network', box.id, '--allow', 'api.example.test/https']);
    assert.equal(narrowed.status, 0, narrowed.stderr);
    assert.equal((await get(box, 'https://api.example.test/anything')).status, 200);
  });

  test('the certificates that a sandbox trusts are the same after gate and control have died', async () => {
    await using box = await scene.open({ level: 'container', rules: [READ] });
    for (const role of ['gate', 'control'] as const) {
      process.kill(await scene.pidOf(role), 'SIGKILL');
      await scene.ready();
      for (const untilMs = performance.now() + 20_000; ; ) {
        const { status, stdout, stderr } = await box.exec(curl('https://api.example.test/v1/a'));
        if (status === 0 && stdout.toString().endsWith('200')) break;
        assert.ok(performance.now() < untilMs, `${role}: ${stderr}`);
      }
    }
  });
});
