import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { leastOf } from '../least.ts';
import { callApi } from '../stay/call-api.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const PUBLIC = '93.184.216.34';
const WAIT_MS = 10_000;
/** Names that nobody has asked for: the address of each is remembered by none until it is taken. */
const LATE = ['late.example.test', 'later.example.test', 'latest.example.test'];
const LATE_MS = 1_900;
const LEAF = ['subjectAltName=DNS:*.example.test', 'basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth', 'authorityKeyIdentifier=keyid'];

/** Python in a sandbox: a connection to a host by TLS, a request that it writes itself, and what comes within a time. */
const GIVEN = `
import os, socket, ssl, sys, time
token = os.environ["API"]
def open_tls(host="api.example.test"):
    return ssl.create_default_context().wrap_socket(socket.create_connection((host, 443), 5), server_hostname=host)
def head(path, *lines, host="api.example.test", method="GET"):
    return "".join(line + "\\r\\n" for line in (f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "")).encode()
bearer = "Authorization: Bearer " + token
upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
def within(secure, seconds, enough=lambda read: False):
    read, until = b"", time.monotonic() + seconds
    while not enough(read) and time.monotonic() < until:
        secure.settimeout(max(0.01, until - time.monotonic()))
        try: piece = secure.recv(65536)
        except (TimeoutError, OSError): break
        if not piece: break
        read += piece
    return read
def ask(path, *lines, seconds=5, host="api.example.test", **more):
    with open_tls(host) as secure:
        secure.sendall(head(path, "Connection: close", *lines, host=host, **more))
        return within(secure, seconds)
def frame(text):
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
`;

/** One that serves the whole of the fake Internet at port 443, and what its connections have sent. */
interface Server extends AsyncDisposable {
  readonly seen: string[];
}

async function serve({ net, dir }: Scene): Promise<Server> {
  const authority = dirname(net.caFile);
  const [certificate, key] = [`${dir}.crt`, `${authority}/leaf.key`];
  execFileSync('openssl', [
    'req', '-x509', '-new', '-config', `${authority}/openssl.cnf`, '-subj', '/CN=server', '-days', '30', '-key', key, '-CA', net.caFile, '-CAkey', `${authority}/ca.key`, '-out', certificate,
    ...LEAF.flatMap((line) => ['-addext', line]),
  ], { stdio: 'pipe' });
  const [program = '', ...argv] = net.inInternet(['python3', `${import.meta.dirname}/attack-https-server.py`, certificate, key]);
  const child: ChildProcess = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const seen: string[] = [];
  createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => seen.push(JSON.parse(line) as string));
  while (seen.shift() === undefined) await delay(20);
  return {
    seen,
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
}

describe('a server that says back what it is told', { skip: noInternet(), concurrency: false }, () => {
  /** With letters that are escaped wherever something is. */
  const value = `sk/live+${randomBytes(18).toString('hex')}==`;
  let scene: Scene;
  let server: Server;
  before(async () => {
    scene = await openScene({
      ownPorts: [443],
      policy: ({ net, dir }) => {
        writeFileSync(`${dir}.secret`, value, { mode: 0o600 });
        return { network: { certificateAuthorities: [net.caPem] }, secrets: { api: { from: `file:/${dir.slice(1)}.secret`, hosts: ['api.example.test', ...LATE] } } };
      },
    });
    for (const name of ['api.example.test', 'other.example.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
    server = await serve(scene);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await scene[Symbol.asyncDispose]();
  });

  const open = (): Promise<Box> => scene.open({ level: 'container', secrets: ['api'] });
  const inBox = async (box: Box, program: string, ...args: readonly string[]): Promise<string> => (await box.python(GIVEN + program, ...args)).join('\n');
  /** What connections have sent from here on, once one of them holds a text. */
  const sent = async (text: string): Promise<string> => {
    for (const untilMs = performance.now() + WAIT_MS; ; await delay(50)) {
      const found = server.seen.find((each) => each.includes(text));
      if (found !== undefined) return found;
      assert.ok(performance.now() < untilMs, `the server has not seen ${text}: ${server.seen.join('\n')}`);
    }
  };

  test('does not tell the secret to a later request that has none', async () => {
    await using box = await open();
    assert.match(await inBox(box, 'print(ask("/keep", bearer))'), /kept/);
    assert.ok((await sent('/keep')).includes(`Bearer ${value}`), 'control: the server has it');
    const said = await inBox(box, 'print(ask("/kept"))');
    assert.ok(!said.includes(value), said);
    await box.refusals(['the answer holds a secret']);
  });

  test('does not tell it in pieces that were asked for', async () => {
    await using box = await open();
    const said = await inBox(box, `
parts = [ask("/page", bearer, f"Range: bytes={at}-{at + 9}").partition(b"\\r\\n\\r\\n")[2].decode() for at in range(0, 60, 10)]
print("".join(parts))`);
    for (const part of [value.slice(0, 12), value.slice(12, 24), value.slice(-12)]) assert.ok(!said.includes(part), said);
  });

  test('does not tell it escaped or encoded as servers do by habit', async () => {
    await using box = await open();
    for (const how of ['json', 'url', 'base64']) {
      const said = await inBox(box, `print(ask("/escaped/${how}", bearer))`);
      assert.match(said, /502 Bad Gateway|^b''$|^b'HTTP\/1.1 200 OK.*\\r\\n\\r\\n.{0,12}'$/, said);
    }
  });

  test('does not tell it in a WebSocket, compressed or not', async () => {
    await using box = await open();
    for (const extensions of ['', ', "Sec-WebSocket-Extensions: permessage-deflate"']) {
      const said = await inBox(box, `
import zlib
with open_tls() as secure:
    secure.sendall(head("/socket", bearer, *upgrade${extensions}))
    read = within(secure, 5, lambda read: b"\\r\\n\\r\\n" in read)
    print(read.split(b"\\r\\n")[0].decode())
    secure.sendall(frame(b"hello"))
    print(len(within(secure, 5, lambda read: len(read) >= 7)))
    secure.sendall(frame(b"who"))
    read = within(secure, 3)
    print(read)
    if read and read[0] == 0xC1: print(zlib.decompressobj(wbits=-15).decompress(read[2:] + b"\\0\\0\\xff\\xff"))
`);
      assert.match(said, /^HTTP\/1.1 101 .*\n7\n/, `control: it speaks\n${said}`);
      assert.ok(!said.includes(value.slice(0, 12)), said);
    }
  });

  test('and says what the agent tells it is no oracle: what is held back does not depend on the secret', async () => {
    await using box = await open();
    const half = value.slice(0, 20);
    const wrong = half.replace(/.$/, '~');
    // A message of a WebSocket comes whole and at once, whether the secret begins like its end or not.
    for (const guess of [half.slice(0, 1), half, wrong]) {
      const said = await inBox(box, `
with open_tls() as secure:
    secure.sendall(head("/socket", bearer, *upgrade))
    within(secure, 5, lambda read: b"\\r\\n\\r\\n" in read)
    text = b"is it " + sys.argv[1].encode()
    secure.sendall(frame(text))
    print(len(text) + 2 - len(within(secure, 10, lambda read: len(read) >= len(text) + 2)))
`, guess);
      assert.equal(said, '0', `bytes of a message that ends in ${guess} are missing`);
    }
    // What comes of an answer before it ends is as much for what is right as for what is wrong.
    const came = async (guess: string): Promise<string> => inBox(box, `
with open_tls() as secure:
    secure.sendall(head("/say/" + "x" * 300 + sys.argv[1], bearer, "Connection: close"))
    read = within(secure, 10, lambda read: b"\\r\\n\\r\\n" in read)
    print(len((read + within(secure, 1)).partition(b"\\r\\n\\r\\n")[2]))
`, guess);
    // A machine that is busy makes one of them less or whole; a difference that the secret makes is there each time.
    let [right, other] = [await came(half), await came(wrong)];
    for (let turn = 1; turn < 3 && right !== other; turn++) [right, other] = [await came(half), await came(wrong)];
    assert.equal(right, other);
  });

  test('is sent a body only as framed as it came, however many fields its head has', async () => {
    await using box = await open();
    const said = await inBox(box, `
inner = head("/smuggled")
with open_tls() as secure:
    secure.sendall(head("/raw", *("a: " for _ in range(1_200)), f"Content-Length: {len(inner)}") + inner)
    print(within(secure, 5, lambda read: read.endswith(b"ok")))`);
    assert.match(said, /200 OK/);
    assert.match((await sent('/smuggled')).split('\r\n\r\n')[0] ?? '', /\r\n(?:content-length: \d|transfer-encoding: chunked)/i);
  });

  test('spends the bytes of the rule also where it does not take an upgrade', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api'], rules: [{ host: 'other.example.test', protocol: 'https', bytes: 100_000 }] });
    const said = await inBox(box, `
total = 0
for _ in range(6):
    with open_tls("other.example.test") as secure:
        secure.sendall(head("/much", *upgrade, host="other.example.test"))
        read = within(secure, 3)
        print(read.split(b"\\r\\n")[0].decode(), read.endswith(b"0\\r\\n\\r\\n") == (b"chunked" in read.lower()))
        total += len(read)
print(total)`);
    assert.ok(Number(said.split('\n').at(-1)) < 110_000, said);
    assert.match(said, /^HTTP\/1.1 200 OK True\n/, 'what says that it comes in chunks does');
  });

  test('spends the bytes of the rule by what the heads of requests carry, too', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api'], rules: [{ host: 'other.example.test', protocol: 'https', bytes: 50_000 }] });
    const said = await inBox(box, `
for _ in range(8):
    with open_tls("other.example.test") as secure:
        secure.sendall(head("/out", "X-Out: " + "x" * 10_000, "Connection: close", host="other.example.test"))
        print(within(secure, 3).split(b" ")[1].decode())`);
    assert.deepEqual(said.split('\n'), ['200', '200', '200', '200', '403', '403', '403', '403']);
  });

  test('a request that does not say what it wants is cut in time', { timeout: 60_000 }, async () => {
    await using box = await open();
    const said = await inBox(box, `
begun = time.monotonic()
with open_tls() as secure:
    secure.sendall(b"GET / HTTP/1.1\\r\\nHost: api.exa")
    within(secure, 25)
    print(time.monotonic() - begun < 20)`);
    assert.equal(said, 'True');
  });

  test('gets nothing after a revocation, also from a request that was waiting for its address', { timeout: 120_000 }, async () => {
    const names = [...LATE];
    const tookMs = await leastOf(LATE_MS, async () => {
      const host = names.shift() ?? '';
      await scene.net.zone.set(host, { addresses: [PUBLIC], ttlSeconds: 0, delayMs: LATE_MS });
      await using box = await scene.open({ level: 'container', secrets: ['api'], rules: [{ host, protocol: 'https' }] }); // stays allowed without it
      const mark = await scene.net.mark();
      const running = box.exec(['python3', '-c', `${GIVEN}print(ask("/${host}", bearer, seconds=9, host="${host}"))`]);
      // The address is on its way LATE_MS after the name was asked for, which it was not yet by `unaskedMs`.
      let [unaskedMs, lookedMs] = [0, 0];
      await scene.net.until(({ queries }) => {
        const isAsked = queries.some(({ name }) => name === host);
        if (!isAsked) [unaskedMs, lookedMs] = [lookedMs, performance.now()];
        return isAsked;
      }, { mark });
      const { status, body } = await callApi(scene.paths.apiSocket, 'DELETE', `/v1/sandboxes/${box.id}/secrets/api`, undefined);
      const eachMs = performance.now() - unaskedMs;
      assert.equal(status, 200, JSON.stringify(body));
      const { stdout, stderr } = await running;
      await delay(500);
      const isSent = server.seen.some((each) => each.includes(`/${host}`));
      assert.ok(!isSent || eachMs >= LATE_MS, `${stdout.toString()}${stderr}`);
      return eachMs;
    });
    assert.ok(tookMs < LATE_MS, `the revocation came after the address: ${tookMs} ms`);
  });

  test('the gate, which has secrets, leaves no core of itself', async () => {
    assert.match(readFileSync(`/proc/${await scene.pidOf('gate')}/limits`, 'utf8'), /^Max core file size +1 +1 +bytes/m);
  });
});
