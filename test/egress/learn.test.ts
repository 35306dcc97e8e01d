import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { EgressRule, Level } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import type { Said } from '../cli/given.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, quietMark, sinkSawNothing, type Scene } from './given.ts';
import type { EgressEvent } from './record.ts';

const PUBLIC = '93.184.216.34';
const NAMES = ['api.example.test', 'web.example.test', 'echo.example.test', 'other.example.test', 'pkg.example.test'];
/** Speaks TLS, HTTP and something else, each to a name of its own, and by the proxies to two that it has spoken to. */
const WORK = `
set -e
curl -ksS --max-time 10 -o /dev/null https://api.example.test/v1/models
curl -sS --max-time 10 -o /dev/null http://web.example.test/items/1
curl -sS --max-time 10 -o /dev/null -X POST -d x http://web.example.test/login?token=secret
curl -ksS --max-time 10 -o /dev/null -x socks5h://198.18.0.1:1080 https://pkg.example.test/
curl -sS --max-time 10 -o /dev/null -x http://198.18.0.1:3128 http://web.example.test/items/2
python3 -c "
import socket
with socket.create_connection(('echo.example.test', 7), 5) as s:
    s.sendall(b'hello'); assert s.recv(5) == b'hello'"
echo done
`;
const LEARNED: readonly EgressRule[] = [
  { host: 'api.example.test', port: 443, protocol: 'tls' },
  { host: 'echo.example.test', port: 7, protocol: 'tcp' },
  { host: 'pkg.example.test', port: 443, protocol: 'tls' },
  { host: 'web.example.test', port: 80, protocol: 'http', http: { methods: ['GET', 'POST'], paths: ['/items/1', '/items/2', '/login'] } },
];
/** Tries one way after the other and says which of them came through. */
const ATTACK = `
import socket, sys
def tcp(host, port):
    with socket.create_connection((host, port), 3) as s:
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: " + host.encode() + b"\\r\\nConnection: close\\r\\n\\r\\n"); return b" 200 " in s.recv(100)
def udp(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1); s.sendto(b"canary", (host, port)); return s.recv(10) != b""
def proxied(line):
    with socket.create_connection(("198.18.0.1", 3128), 3) as s:
        s.settimeout(3); s.sendall(line + b"\\r\\n\\r\\n"); return b" 200 " in s.recv(100)
ways = {
  "a raw address": lambda: tcp("93.184.216.34", 80), "metadata": lambda: tcp("169.254.169.254", 80), "a private address": lambda: tcp("10.0.0.1", 80),
  "another sandbox": lambda: tcp(sys.argv[1], 80), "this host": lambda: tcp("127.0.0.1", 80),
  "a private name": lambda: tcp("private.example.test", 80), "a private name, unread": lambda: tcp("private.example.test", 8080), "a name of metadata": lambda: tcp("metadata.example.test", 80), "a name of this host": lambda: tcp("loop.example.test", 80),
  "UDP to an address": lambda: udp("93.184.216.34", 7), "UDP to a name": lambda: udp("echo.example.test", 7), "DNS elsewhere": lambda: udp("9.9.9.9", 53),
  "CONNECT to metadata": lambda: proxied(b"CONNECT 169.254.169.254:80 HTTP/1.1"), "CONNECT to a private name": lambda: proxied(b"CONNECT private.example.test:8080 HTTP/1.1"),
  "a request for metadata": lambda: proxied(b"GET http://169.254.169.254/ HTTP/1.1\\r\\nHost: 169.254.169.254"),
}
for name, way in ways.items():
    try: came = way()
    except OSError: came = False
    if came: print("through:", name)
print("tried", len(ways))
`;

describe('rules that are learned from what a command uses', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene({ policy: ({ net }) => ({ network: { certificateAuthorities: [net.caPem], deny: [{ host: 'denied.example.test' }] } }) });
    for (const name of [...NAMES, 'denied.example.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
    for (const [name, address] of [['private', '10.0.0.1'], ['metadata', '169.254.169.254'], ['loop', '127.0.0.1']]) await scene.net.zone.set(`${name}.example.test`, { addresses: [address ?? ''], ttlSeconds: 3_600 });
  });
  after(() => scene[Symbol.asyncDispose]());
  const said = ({ status, stdout, stderr }: Said): string => `${status}\n${stdout.toString()}\n${stderr}`;
  const learn = (...args: readonly string[]): Promise<Said> => scene.caisson(['egress', 'learn', ...args]);
  const rulesIn = (text: string): readonly EgressRule[] => (JSON.parse(text) as { readonly rules: readonly EgressRule[] }).rules;
  const file = (name: string, value: unknown): string => {
    writeFileSync(`${scene.dir}/${name}`, JSON.stringify(value));
    return `${scene.dir}/${name}`;
  };
  /** What is on record of the sandbox that had the last of it. */
  const lastEvents = async (): Promise<readonly EgressEvent[]> => {
    const found: { readonly subject: string; readonly body: EgressEvent }[] = [];
    for await (const { entry } of readEntries(scene.paths.evidence)) if (entry.kind === 'egress') found.push({ subject: entry.subject, body: entry.body as unknown as EgressEvent });
    return found.filter(({ subject }) => subject === found.at(-1)?.subject).map(({ body }) => body);
  };

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`what a command used becomes rules by which it runs again, and by which another host is refused (${level})`, async () => {
      const out = `${scene.dir}/learned-${level}.json`;
      const learned = await learn('--level', level, '--out', out, '--', 'sh', '-c', WORK);
      assert.equal(learned.status, 0, said(learned));
      assert.equal(learned.stdout.toString(), 'done\n');
      assert.deepEqual(rulesIn(readFileSync(out, 'utf8')), LEARNED);
      for (const event of (await lastEvents()).filter(({ event: name }) => name === 'connect' || name === 'request')) assert.equal(event.rule, 'learn');
      assert.doesNotMatch(readFileSync(out, 'utf8'), /secret/, 'queries are not on record');

      const again = await scene.caisson(['run', '--level', level, '--policy', out, '--', 'sh', '-c', WORK]);
      assert.equal(again.status, 0, said(again));
      const mark = await quietMark(scene);
      for (const url of ['https://other.example.test/', 'http://api.example.test/', 'https://api.example.test:8443/', 'http://web.example.test/items/3']) {
        const { status, stdout } = await scene.caisson(['run', '--level', level, '--policy', out, '--', 'curl', '-ksS', '--fail', '--max-time', '5', url]);
        assert.notEqual(status, 0, `${url}: ${stdout.toString()}`);
      }
      await sinkSawNothing(scene, mark);
    });
  }

  test('without --out the rules alone are on stdout, and the exit status is that of the command', async () => {
    const learned = await learn('--', 'sh', '-c', 'echo out; echo err >&2; curl -ksS -o /dev/null https://api.example.test/; exit 7');
    assert.equal(learned.status, 7, said(learned));
    assert.deepEqual(rulesIn(learned.stdout.toString()), [LEARNED[0]]);
    assert.match(learned.stderr, /^out$/m);
  });

  test('a command in an image, or on a folder, is learned from as well', async () => {
    const folder = mkdtempSync(`${scene.dir}/in-`);
    writeFileSync(`${folder}/page`, 'web.example.test');
    const learnedIn = await learn('--in', folder, '--', 'sh', '-c', 'echo out; curl -sS http://$(cat page)/a');
    assert.deepEqual(rulesIn(learnedIn.stdout.toString()), [{ host: 'web.example.test', port: 80, protocol: 'http', http: { methods: ['GET'], paths: ['/a'] } }], said(learnedIn));
    const ofImage = await learn('--image', 'host', '--', 'sh', '-c', 'curl -ksS -o /dev/null https://api.example.test/; echo out; exit 7');
    assert.equal(ofImage.status, 7, said(ofImage));
    assert.deepEqual(rulesIn(ofImage.stdout.toString()), [LEARNED[0]]);
  });

  test('a host that is asked for by https has its requests learned', async () => {
    const learned = await learn('--allow', 'api.example.test/https', '--', 'curl', '-sS', '-o', '/dev/null', 'https://api.example.test/v1/models');
    assert.deepEqual(rulesIn(learned.stdout.toString()), [{ host: 'api.example.test', port: 443, protocol: 'https', http: { methods: ['GET'], paths: ['/v1/models'] } }], said(learned));
  });

  test('while it learns, addresses, private names, metadata, UDP, other sandboxes and what the policy denies stay out of reach', async () => {
    await using other = await scene.open({ level: 'container', rules: ['api.example.test'] });
    const address = await scene.addressOf(other);
    const control = await learn('--', 'python3', '-c', ATTACK, 'web.example.test');
    assert.match(control.stderr, /^through: another sandbox$/m, 'what comes through is seen');
    const mark = await scene.net.mark();
    const learned = await learn('--', 'python3', '-c', ATTACK, address);
    assert.match(learned.stderr, /^tried 15$/m, said(learned));
    assert.doesNotMatch(learned.stderr, /through:/);
    const denied = await learn('--', 'curl', '-ksS', '--max-time', '5', 'https://denied.example.test/');
    assert.notEqual(denied.status, 0);
    for (const { stdout } of [learned, denied]) assert.deepEqual(rulesIn(stdout.toString()), []);
    // Names that a connection was asked for are looked up by the gate, at its own resolvers; nothing else leaves.
    const { packets, connections } = await scene.net.since(mark);
    assert.deepEqual(packets.filter(({ destinationPort }) => destinationPort !== 53), []);
    assert.deepEqual(connections.filter(({ destinationPort }) => destinationPort !== 53), []);
  });

  test('a name that is only asked for does not leave this host: it is looked up when a connection to it is opened', async () => {
    const mark = await scene.net.mark();
    const asked = await learn('--', 'sh', '-c', 'for n in 1 2 3; do getent hosts canary-$n.example.test; done');
    assert.equal((asked.stderr.match(/canary-/g) ?? []).length, 3, said(asked));
    await sinkSawNothing(scene, mark);
    // What remains: a connection to a name has it looked up, and so says it to whoever serves its zone.
    await learn('--', 'sh', '-c', 'curl -sS --max-time 5 http://leak.example.test/ || true');
    const { queries } = await scene.net.since(mark);
    assert.ok(queries.some(({ name }) => name === 'leak.example.test'));
  });

  test('a policy that forbids to learn refuses it, and nothing starts', async () => {
    await using strict = await openScene({ policy: () => ({ network: { learn: false } }) });
    const refused = await strict.caisson(['egress', 'learn', '--', 'true']);
    assert.equal(refused.status, 125);
    assert.match(refused.stderr, /EGRESS_EXCEEDS_POLICY: .*the policy forbids to learn/);
    assert.equal(refused.stdout.toString(), '');
  });

  test('a replay tells what other rules would decide otherwise, with both rules, and exits 1 for it', async () => {
    const replay = (...args: readonly string[]): Promise<Said> => scene.caisson(['egress', 'replay', ...args]);
    await using box = await scene.open({ level: 'container', rules: [{ host: 'web.example.test', port: 80 }] });
    await box.exec(['curl', '-sS', '-o', '/dev/null', 'http://web.example.test/a']);
    await box.exec(['curl', '-sS', '-o', '/dev/null', '--max-time', '5', '-x', 'http://198.18.0.1:3128', 'https://api.example.test/']);
    await box.refusals(['api.example.test:443']);
    const same = await replay('--policy', file('same.json', { rules: [{ host: 'web.example.test', port: 80 }] }), '--sandbox', box.id);
    assert.equal(same.status, 0, said(same));
    const changed = file('changed.json', { rules: [{ host: 'web.example.test', port: 80, http: { paths: ['/b'] } }, { host: 'api.example.test', name: 'the API' }] });
    const told = await replay('--policy', changed, '--sandbox', box.id, '--since', '1h', '--json');
    assert.equal(told.status, 1, said(told));
    const { differs } = JSON.parse(told.stdout.toString()) as { differs: readonly Record<string, unknown>[] };
    assert.deepEqual(differs.map(({ before: was, after: is, host, port, method, path, ruleBefore, ruleAfter }) => [was, is, host, port, method, path, ruleBefore, ruleAfter]), [
      ['allow', 'deny', 'web.example.test', 80, 'GET', '/a', 'allow web.example.test:80', 'allow web.example.test:80'],
      ['deny', 'allow', 'api.example.test', 443, null, null, null, 'the API'],
    ]);
    assert.match((await replay('--policy', changed, '--sandbox', box.id)).stdout.toString(), /^allow +deny +GET web\.example\.test:80\/a +1 /m);
    assert.equal((await replay('--policy', changed, '--sandbox', box.id, '--since', '2999-01-01')).status, 0, 'nothing is so young');
    assert.equal((await replay('--policy', file('bad.json', { rules: [{ host: '10.0.0.1' }] }))).status, 2);
  });
});
