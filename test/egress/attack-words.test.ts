import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { verifyLog } from '@caisson/evidence';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

/** Asks the HTTP proxy, says a TLS hello where it may go on, and prints everything that comes back. */
const ASK = `
import socket, ssl, sys
host, port, tls = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "tls"
out = socket.create_connection(("198.18.0.1", 3128), 5)
out.settimeout(10)
out.sendall(f"CONNECT {host}:{port} HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode())
got = b""
try:
    if tls:
        while b"\\r\\n\\r\\n" not in got: got += out.recv(1000)
        hello = ssl.MemoryBIO()
        side = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname=host)
        try: side.do_handshake()
        except ssl.SSLWantReadError: pass
        out.sendall(hello.read())
    while True:
        piece = out.recv(1000)
        if not piece: break
        got += piece
except OSError: pass
print(got.decode("latin1").split("\\r\\n")[0], "|", got.count(b"HTTP/1.1"), "|", "EGRESS_DENIED" in got.decode("latin1"))
`;
/** Keeps a connection, and prints when it ends. */
const KEEP = `
import socket, time
out = socket.create_connection(("turned.test", 7), 5)
out.settimeout(0.2)
begun, ended = time.monotonic(), None
while time.monotonic() - begun < 15 and ended is None:
    try:
        out.sendall(b"x")
        if not out.recv(10): ended = "ended"
    except TimeoutError: pass
    except OSError as error: ended = "cut"
    time.sleep(0.1)
print(ended)
`;

describe('what a client is told', { skip: noInternet() }, () => {
  let scene: Scene;
  let box: Box;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('inner.test', { addresses: ['10.1.1.1'] });
    await scene.net.zone.set('turned.test', { addresses: ['93.184.216.34'] });
    box = await scene.open({ level: 'container', rules: ['inner.test:7/tcp', 'inner.test:443', 'nobody.test:7/tcp', 'turned.test:7/tcp'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  test('a denial in the place of going on, and never in the middle of what it speaks with a server', async () => {
    assert.deepEqual(await box.python(ASK, 'inner.test', '7', 'plain'), ['HTTP/1.1 403 Forbidden | 1 | True']);
    assert.deepEqual(await box.python(ASK, 'nobody.test', '7', 'plain'), ['HTTP/1.1 502 Bad Gateway | 1 | False']);
    // A TLS client had to be told to go on, so that it names its server: all that can be said to it then is the end.
    assert.deepEqual(await box.python(ASK, 'inner.test', '443', 'tls'), ['HTTP/1.1 200 Connection established | 1 | False']);
    assert.deepEqual(await box.python(ASK, 'turned.test', '9', 'plain'), ['HTTP/1.1 403 Forbidden | 1 | True']);
  });

  test('rules that hold a connection to another protocol than it was opened with cut it', async () => {
    const mark = await scene.net.mark();
    const kept = box.python(KEEP);
    await scene.net.until(({ connections }) => connections.some(({ destinationPort, byteCount }) => destinationPort === 7 && byteCount > 0), { mark });
    const changed = await scene.caisson(['network', box.id, '--allow', 'turned.test:7/tls']);
    assert.equal(changed.status, 0, changed.stderr);
    assert.deepEqual(await kept, ['cut']);
    assert.ok((await box.events()).some(({ event, cut }) => event === 'closed' && /held to tls now/.test(cut ?? '')));
  });

  test('at the end of a sandbox the gate says how much it has put on record, and the log has it', async () => {
    await box[Symbol.asyncDispose]();
    const events = await box.events();
    const told = events.find(({ event }) => event === 'dismissed')?.told;
    const count = (name: string): number => events.filter(({ event }) => event === name).length;
    const bytesOut = events.reduce((sum, { event, bytesOut: out = 0 }) => sum + (event === 'closed' ? out : 0), 0);
    assert.ok(bytesOut > 0);
    assert.deepEqual([told?.connections, told?.closed, told?.requests, told?.bytesOut], [count('connect'), count('closed'), 0, bytesOut]);
    const { findings, unread } = await verifyLog(scene.paths.evidence);
    assert.deepEqual([findings, unread.count], [[], 0]);
  });
});
