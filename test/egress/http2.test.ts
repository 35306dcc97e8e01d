import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const PUBLIC = '93.184.216.34';
/** Frames of HTTP/2 by hand (RFC 9113 §4.1, RFC 7541): what no client of a library would send. */
const WIRE = `
import socket, ssl, struct, sys, time
def frame(kind, flags, stream, payload=b""): return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
def text(value): return bytes([len(value)]) + value if len(value) < 127 else bytes([127]) + bytes([(len(value) - 127) & 127 | 128, (len(value) - 127) >> 7]) + value
def field(name, value): return b"\\x00" + text(name) + text(value)
def head(*more, method=b"GET", path=b"/v1/a", scheme=b"https", authority=b"api.example.test"):
    pseudo = [(b":method", method), (b":scheme", scheme), (b":path", path), (b":authority", authority)]
    return b"".join(field(name, value) for name, value in pseudo if value is not None) + b"".join(field(name, value) for name, value in more)
def open_session(host="api.example.test"):
    context = ssl.create_default_context(); context.set_alpn_protocols(["h2"])
    secure = context.wrap_socket(socket.create_connection((host, 443), 5), server_hostname=host)
    assert secure.selected_alpn_protocol() == "h2"
    secure.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + frame(4, 0, 0))
    secure.settimeout(5)
    return secure
def frames(secure):
    held = b""
    while True:
        try: piece = secure.recv(65536)
        except (TimeoutError, OSError): return
        if not piece: return
        held += piece
        while len(held) >= 9 and len(held) >= 9 + int.from_bytes(held[:3], "big"):
            size = int.from_bytes(held[:3], "big")
            yield held[3], held[4], int.from_bytes(held[5:9], "big"), held[9:9 + size]
            held = held[9 + size:]
def outcome(secure, stream=1):
    for kind, flags, at, payload in frames(secure):
        if kind == 7: return "goaway"
        if at == stream and kind == 3: return "reset"
        if at == stream and kind == 0 and b"EGRESS_DENIED" in payload: return "denied"
        if at == stream and flags & 1: return "answered"
    return "gone"
`;
const SMUGGLE = `${WIRE}
cases = {
    "control": [head()],
    "capitals": [head((b"X-Upper", b"1"))],
    "line": [head((b"x-a", b"1\\r\\nx-injected: 1"))],
    "nul": [head((b"x-a", b"1\\x00"))],
    "te": [head((b"te", b"chunked"))],
    "transfer-encoding": [head((b"transfer-encoding", b"chunked"), method=b"POST")],
    "connection": [head((b"connection", b"close"))],
    "upgrade": [head((b"upgrade", b"websocket"))],
    "pseudo twice": [head() + field(b":path", b"/other")],
    "pseudo late": [field(b"x-a", b"1") + head()],
    "pseudo unknown": [head() + field(b":other", b"1")],
    "no authority": [head(authority=None)],
    "other authority": [head(authority=b"other.example.test")],
    "authority and host": [head((b"host", b"other.example.test"))],
    "userinfo": [head(authority=b"other.example.test@api.example.test")],
    "plain": [head(scheme=b"http")],
    "absolute path": [head(path=b"https://other.example.test/v1/a")],
    "line in path": [head(path=b"/v1/a HTTP/1.1\\r\\nx: y")],
    "connect": [field(b":method", b"CONNECT") + field(b":authority", b"api.example.test:443")],
    "extended connect": [head(method=b"CONNECT") + field(b":protocol", b"websocket")],
    "not allowed": [head(path=b"/v2")],
    "short body": [head((b"content-length", b"10"), method=b"POST"), b"short"],
    "long body": [head((b"content-length", b"2"), method=b"POST"), b"longer"],
    "lengths": [head((b"content-length", b"2"), (b"content-length", b"5"), method=b"POST"), b"12"],
}
for name, (block, *bodies) in cases.items():
    secure = open_session()
    secure.sendall(frame(1, 4 if bodies else 5, 1, block) + b"".join(frame(0, 1, 1, body) for body in bodies))
    print(name + ": " + outcome(secure))
    secure.close()
`;
const RAPID = `${WIRE}
ends = []
for attempt in range(4):
    secure = open_session()
    try:
        for burst in range(10):
            secure.sendall(b"".join(frame(1, 5, 1 + 2 * n, head()) + frame(3, 0, 1 + 2 * n, struct.pack(">I", 8)) for n in range(burst * 200, burst * 200 + 200)))
            time.sleep(0.02)
        ends.append(outcome(secure, 99999))
    except OSError: ends.append("gone")
print(*ends)
`;
const MANY = `${WIRE}
secure = open_session()
secure.sendall(b"".join(frame(1, 5, 1 + 2 * n, head(path=b"/bytes/1")) for n in range(150)))
ends = {}
for kind, flags, at, payload in frames(secure):
    if at and (kind == 3 or flags & 1 and kind in (0, 1)): ends[at] = "reset" if kind == 3 else "answered"
    if len(ends) == 150 or kind == 7: break
print(len(ends), sum(end == "answered" for end in ends.values()))
`;

const curl = (...argv: readonly string[]): readonly string[] => ['curl', '-sS', '--max-time', '10', '-w', '\n%{http_version} %{http_code}', ...argv];

describe('requests by HTTP/2 that the gate reads', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene({ policy: ({ net }) => ({ network: { certificateAuthorities: [net.caPem] } }) });
    for (const name of ['api.example.test', 'other.example.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
  });
  after(() => scene[Symbol.asyncDispose]());

  const get = async (box: Box, ...argv: readonly string[]): Promise<{ readonly said: string; readonly body: string }> => {
    const { stdout, stderr } = await box.exec(curl(...argv));
    const lines = stdout.toString().split('\n');
    assert.ok(lines.length > 1, stderr);
    return { said: lines.at(-1) ?? '', body: lines.slice(0, -1).join('\n') };
  };

  test('pass to the server by HTTP/2 where a rule allows them, one by one over one connection, and else are refused with the reason', async () => {
    await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', http: { methods: ['GET', 'POST'], paths: ['/v1/**', '/bytes/*'], headers: { 'x-mode': 'safe' } } }] });
    const mark = await scene.net.mark();
    const { said, body } = await get(box, '--http2', '-H', 'X-Mode: safe', '-d', 'hello', 'https://api.example.test/v1/a?b=1');
    assert.equal(said, '2 200', body);
    const seen = JSON.parse(body) as { version: string; path: string; body: string; headers: Record<string, string> };
    assert.deepEqual([seen.version, seen.path, seen.body, seen.headers[':authority'] ?? seen.headers['host']], ['2.0', '/v1/a?b=1', 'hello', 'api.example.test']);
    for (const argv of [['https://api.example.test/v1/a'], ['-H', 'x-mode: safe', 'https://api.example.test/v2'], ['-H', 'x-mode: safe', '-X', 'DELETE', 'https://api.example.test/v1/a']]) {
      const denied = await get(box, '--http2', ...argv);
      assert.equal(denied.said, '2 403');
      assert.match(denied.body, /EGRESS_DENIED/);
    }
    assert.deepEqual((await scene.net.since(mark)).requests.map(({ method, path }) => `${method} ${path}`), ['POST /v1/a?b=1']);
    const down = await box.exec(['sh', '-c', 'curl -sS --http2 -H x-mode:safe https://api.example.test/bytes/5000000 | wc -c']);
    assert.equal(down.stdout.toString().trim(), '5000000', down.stderr);
    const up = await get(box, '--http2', '-H', 'x-mode: safe', '-H', 'content-type: text/plain', '--data-binary', '@/usr/bin/curl', 'https://api.example.test/bytes/1');
    assert.equal(up.said, '2 200');
    assert.ok((await box.events()).some(({ event, host, address }) => event === 'request' && host === 'api.example.test' && address === PUBLIC));
  });

  test('that two readers could read as two, or that go elsewhere, do not reach the server', { timeout: 180_000 }, async () => {
    await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', http: { paths: ['/v1/**'] } }] });
    const mark = await scene.net.mark();
    const ends = Object.fromEntries((await box.python(SMUGGLE)).map((line) => line.split(': ') as [string, string]));
    const { control, ...others } = ends;
    assert.equal(control, 'answered');
    const dropped = ['line', 'nul']; // the field is none, and does not go on
    for (const [name, end] of Object.entries(others)) if (!dropped.includes(name)) assert.ok(['reset', 'denied', 'goaway', 'gone'].includes(end), `${name}: ${end}`);
    assert.equal(Object.keys(others).length, 23);
    const { requests } = await scene.net.since(mark);
    for (const { path, headers } of requests) {
      assert.equal(path, '/v1/a');
      assert.ok(headers.every(([name]) => !['x-a', 'x-injected', 'x-upper', 'transfer-encoding', 'upgrade'].includes(name.toLowerCase())), JSON.stringify(headers));
    }
  });

  test('that are given up as soon as they are made end their session, are on record, and cost another sandbox nothing', { timeout: 180_000 }, async () => {
    await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', http: { paths: ['/v1/**'] } }] });
    await using other = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https' }] });
    const attack = box.python(RAPID);
    let served = 0;
    for (let n = 0; n < 5; n++) if ((await get(other, '--http2', 'https://api.example.test/bytes/1')).said === '2 200') served += 1;
    const [ends = ''] = await attack;
    assert.equal(served, 5);
    assert.ok(ends.split(' ').every((end) => ['goaway', 'gone'].includes(end)), ends);
    await box.refusals([/requests were given up within 60 s|session of HTTP\/2 was ended/]);
  });

  test('are at most 100 at once, and those beyond are refused', async () => {
    await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https' }] });
    const [line = ''] = await box.python(MANY);
    const [ended = 0, answered = 0] = line.split(' ').map(Number);
    assert.ok(answered >= 50 && answered <= 150 && ended === 150, line);
    assert.equal((await get(box, '--http2', 'https://api.example.test/bytes/1')).said, '2 200');
  });

  test('by prior knowledge on plain http are refused', async () => {
    await using box = await scene.open({ level: 'container', rules: ['api.example.test:80'] });
    const mark = await scene.net.mark();
    const { status } = await box.exec(['curl', '-sS', '--max-time', '10', '--http2-prior-knowledge', 'http://api.example.test/v1/a']);
    assert.notEqual(status, 0);
    assert.deepEqual((await scene.net.since(mark)).requests, []);
  });

  test('end when the rules that allowed them do', async () => {
    await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https' }] });
    const mark = await scene.net.mark();
    const running = box.exec(['sh', '-c', 'curl -sS --http2 --limit-rate 100k https://api.example.test/bytes/900000000000 >/dev/null; echo ended $?']);
    await scene.net.until(({ requests }) => requests.length > 0, { mark });
    const changed = await scene.caisson(['network', box.id]);
    const closed = await scene.caisson(['network', box.id, '--allow', 'other.example.test']);
    assert.equal(closed.status, 0, `${closed.stderr}${changed.stderr}`);
    assert.match((await running).stdout.toString(), /^ended (?!0)/);
  });

  for (const version of ['--http1.1', '--http2']) {
    test(`hold messages of MCP to their rule, and an agent is told in their own words (${version})`, async () => {
      await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', http: { paths: ['/mcp'], mcp: { methods: ['tools/*', 'initialize'], tools: ['read_*'] } } }] });
      const post = (body: string, ...more: readonly string[]): Promise<{ readonly said: string; readonly body: string }> => get(box, version, '-H', 'content-type: application/json', '-d', body, ...more, 'https://api.example.test/mcp');
      const call = (tool: string): string => JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: tool, arguments: { path: 'a-secret-argument' } } });
      const mark = await scene.net.mark();
      const allowed = await post(`  ${call('read_file')}`);
      assert.match(allowed.said, / 200$/, allowed.body);
      assert.equal((JSON.parse(allowed.body) as { body: string }).body, `  ${call('read_file')}`, 'as it was read');
      const denied = await post(call('drop_table'));
      assert.match(denied.said, / 200$/);
      const { id, error } = JSON.parse(denied.body) as { id: number; error: { code: number; message: string; data: Record<string, string> } };
      assert.deepEqual([id, error.code, error.data['error']], [7, -32_001, 'EGRESS_DENIED']);
      assert.match(error.message, /tools\/call of drop_table/);
      for (const body of [`[${call('read_a')},${call('drop_table')}]`]) assert.equal((JSON.parse((await post(body)).body) as readonly unknown[]).length, 2);
      for (const body of [call('read_file').replace('"id":7', '"id":7,"method":"tools/list"'), 'x', '{}']) assert.match((await post(body)).said, / 403$/, body);
      assert.match((await get(box, version, 'https://api.example.test/mcp')).said, / 403$/);
      const big = await box.exec(['sh', '-c', `head -c 2000000 /dev/zero | curl -sS ${version} -w '%{http_code}' -o /dev/null -H 'content-type: application/json' --data-binary @- https://api.example.test/mcp`]);
      assert.match(big.stdout.toString(), /403/);
      assert.equal((await scene.net.since(mark)).requests.length, 1);
      const record = JSON.stringify(await box.events());
      assert.match(record, /"mcp":\[\{"method":"tools\/call","tool":"read_file"\}\]/);
      assert.ok(!record.includes('a-secret-argument'));
    });
  }
});
