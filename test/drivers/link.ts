import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { RESOLV_CONF, TRUST_ENV } from '@caisson/contract';
import { quietMark, sinkSawNothing } from '../egress/given.ts';
import { inside } from '../egress/internet/contact.ts';
import { noInternet } from '../egress/internet/internet.ts';
import { BY_PROXY, CONTROL, DIRECT, INSIDE, onRecord, REACH, REACH_PROGRAM } from '../egress/reach.ts';
import { PUBLIC, talkOn } from '../egress/talk.ts';
import { childProgram, openGround, specFor, type Ground } from './given.ts';
import { openLinkBench, processesIn, type LinkBench } from './linked.ts';
import { runIn } from './suite.ts';

const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });
const SOON_MS = 10_000;
const WORKS_MS = 20_000;
/** How long something is broken while nothing may leave. */
const BROKEN_MS = 1_000;
const CURL = ['curl', '-sS', '--max-time', '10', '-o', '/dev/null', '-w', '%{http_code}'];

/** All that a program sees of the network that it has: interfaces, addresses, routes, and every setting of the kernel that it may read. */
const VIEW = `
import os
for path in ("/proc/net/dev", "/proc/net/if_inet6", "/proc/net/route", "/proc/net/ipv6_route", "/proc/net/fib_trie", "/proc/net/arp"):
    for line in open(path):
        print(path, *(line.split()[:1] if path == "/proc/net/dev" else [part for part in line.split() if len(part) != 8 or "route" not in path or path == "/proc/net/route"]))
for folder, _, names in sorted(os.walk("/proc/sys/net")):
    for name in sorted(names):
        try: print(os.path.join(folder, name), open(os.path.join(folder, name)).read().split())
        except OSError as error: print(os.path.join(folder, name), error.errno)
`;
/** What a program is told of names, by the host or by Caisson, and whether it can be changed. */
const NAMES = `
for f in resolv.conf hosts hostname; do echo "$f:"; cat /etc/$f; (echo x >> /etc/$f) 2>/dev/null && echo written; rm -f /etc/$f 2>/dev/null && echo removed; done
cat /proc/sys/kernel/hostname`;
const ECHO = `
import socket, sys, time
with socket.create_connection(("example.test", 7), 5) as out:
    out.settimeout(20)
    print("open", flush=True)
    try:
        while True:
            out.sendall(b"kept")
            if not out.recv(100): raise OSError("ended")
            time.sleep(0.05)
    except OSError as error: print("cut")
`;

const NOTHING = /^$/;

export interface LinkDriver {
  /** Another runtime of this host by which a program sees the same of its network. Default: it is not compared. */
  readonly like?: string | undefined;
  /** What of that it hides. Default: nothing. */
  readonly hides?: RegExp | undefined;
  /** Kinds of attack to make, where faults of the gate are tried too. Default: both. */
  readonly ways?: readonly string[] | undefined;
  /** What may be left of its sandboxes beside links. */
  readonly left: (ground: Ground) => readonly string[];
  /** Tests that it alone has. */
  readonly own?: (given: () => { readonly bench: LinkBench; readonly ground: Ground }) => void;
}

/** Is refused a name, and prints the file once it says so. */
const DENIED = `
import socket, time
with socket.create_connection(("198.18.0.1", 3128), 5) as out:
    out.sendall(b"CONNECT evil.test:443 HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n"); out.recv(1000)
for _ in range(100):
    said = open("/run/caisson/denials.json").read()
    if "evil.test" in said: break
    time.sleep(0.1)
print(said.strip())
`;
/** Prints what can be written. */
const WRITES = `
for name, path in (("create", "/run/caisson/x"), ("write", "/run/caisson/denials.json"), ("control", "/tmp/control")):
    try:
        with open(path, "w"): print(name)
    except OSError: pass
`;

/** What every driver promises of a link to the gate. */
export function linkSuite(name: string, skip: string | false, { like, hides, ways = [DIRECT, BY_PROXY], left, own }: LinkDriver): void {
  suite(`the link of a sandbox under ${name}`, { skip: skip || noInternet() }, () => {
    let bench: LinkBench;
    let ground: Ground;
    before(async () => {
      bench = await openLinkBench();
      ground = await openGround(name, { gate: bench.gate });
      for (const host of ['example.test', 'evil.test', 'api.example.test']) await bench.scene.net.zone.set(host, { addresses: [PUBLIC], ttlSeconds: 3_600 });
    });
    after(async () => {
      await ground?.[Symbol.asyncDispose]();
      await bench?.[Symbol.asyncDispose]();
    });
    /** A namespace that nobody is in any more goes when the kernel comes to it, and its link with it. */
    const nothingLeft = async (of = ground): Promise<void> => {
      for (const untilMs = performance.now() + SOON_MS; bench.links().length > 0 && performance.now() < untilMs; ) await delay(20);
      assert.deepEqual([...bench.links(), ...left(of)], []);
    };

    test(`${name}: the link is there before pid 1 says what it sees, beside nothing but loopback, and gives no right to change it`, async () => {
      {
        await using box = await bench.open(ground);
        const { hello } = box.machine;
        assert.deepEqual([hello.interfaces.toSorted(), hello.capabilities, hello.noNewPrivileges], [['eth0', 'lo'], '0', true]);
        assert.equal(bench.links().length, 1, 'control: it is seen');
        const addresses = (await box.said(['cat', '/proc/net/fib_trie'])).split('\n').flatMap((line, at, all) => (line.includes('/32 host LOCAL') ? (/[\d.]+$/.exec(all[at - 1] ?? '')?.[0] ?? []) : []));
        assert.deepEqual([...new Set(addresses)].toSorted(), ['127.0.0.1', box.address]);
      }
      await nothingLeft();
    });

    if (like !== undefined) test(`${name}: a program sees the network that ${like} gives, to every setting of the kernel`, async () => {
      await using other = await openGround(like, { gate: bench.gate });
      const view = async (of: Ground): Promise<readonly string[]> => {
        await using box = await bench.open(of);
        const hex = box.address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
        return (await box.python(VIEW)).map((line) => line.replaceAll(box.address, 'ADDRESS').replaceAll(new RegExp(`(ca150050[0-9a-f]{12})${hex.join('')}`, 'g'), '$1ADDRESS'));
      };
      const [seen, expected] = [await view(ground), await view(other)];
      assert.ok(seen.length > 100, `${seen.length} lines`);
      assert.deepEqual(seen.filter((line) => !expected.includes(line)), []);
      assert.deepEqual(expected.filter((line) => !seen.includes(line) && !(hides ?? NOTHING).test(line)), []);
    });

    test(`${name}: names are told as Caisson tells them, with a link and without, and nothing of the host's`, async () => {
      const told = `resolv.conf:\n${RESOLV_CONF}hosts:\n127.0.0.1 localhost\n::1 localhost\nhostname:\ncaisson\ncaisson\n`;
      await using box = await bench.open(ground);
      const alone = await ground.driver.launch(specFor(ground.host), never());
      try {
        assert.equal(await box.said(['sh', '-c', NAMES]), told);
        assert.equal((await runIn(alone, ['sh', '-c', NAMES])).stdout.toString(), told);
        const seen = await box.said(['sh', '-c', 'cat /proc/self/mountinfo /etc/* 2>/dev/null; true']);
        for (const word of [` ${hostname()} `, ...readFileSync('/etc/resolv.conf', 'utf8').split(/\s+/).filter((each) => each.length > 8 && each !== 'nameserver')]) assert.ok(!seen.includes(word), word);
      } finally {
        await alone.close();
      }
    });

    test(`${name}: what a rule allows is reached by name, and nothing else`, async () => {
      await using box = await bench.open(ground, { rules: [{ host: 'example.test', port: 80 }, { host: 'example.test' }] });
      assert.equal(await box.said([...CURL, 'http://example.test/']), '200');
      assert.equal(await box.said([...CURL, '-k', 'https://example.test/']), '200');
      const mark = await quietMark(bench.scene);
      for (const url of ['http://evil.test/', 'http://example.test:8080/', `http://${PUBLIC}/`, 'http://[2600:1f18::34]/']) assert.notEqual((await runIn(box.machine, [...CURL, url])).end, { kind: 'exited', code: 0 }, url);
      await sinkSawNothing(bench.scene, mark);
      await box.refusals(['evil.test', 'example.test:8080', `${PUBLIC}:80/tcp`, '2600:1f18::34']);
      assert.equal((await box.events()).filter(({ event }) => event === 'connect' || event === 'request').length > 1, true);
    });

    test(`${name}: what a sandbox was refused is in a file that it reads and cannot write`, async () => {
      await using box = await bench.open(ground);
      const [file = ''] = await box.python(DENIED);
      assert.match(file, /"to": ?"evil\.test/);
      assert.deepEqual(await box.python(WRITES), ['control']);
    });

    if (ways.length > 0) test(`${name}: control: where there is no wall the attacks are answered`, async () => {
      const said = (await inside(bench.scene.net, ['python3', REACH, '203.0.113.77', CONTROL])).trimEnd().split('\n');
      assert.ok(said.filter((line) => line.includes('\tanswered')).length > 40);
    });

    for (const [way, pattern] of [['directly', DIRECT], ['by the proxies', BY_PROXY]] as const) {
      if (!ways.includes(pattern)) continue;
      test(`${name}: without a rule a sandbox reaches nothing ${way}, and what it tried is on record`, async () => {
        await using other = await bench.open(ground);
        const serving = other.machine.spawn({ argv: ['python3', '-m', 'http.server', '8000'], env: ['PATH=/usr/bin'], cwd: '/', stdin: false, outputBytes: 0 }, { onOutput: async () => undefined });
        const box = await bench.open(ground);
        try {
          const mark = await bench.scene.net.mark();
          const tries = await box.python(REACH_PROGRAM, other.address, pattern);
          assert.deepEqual(tries.filter((line) => !line.includes('\tno ')), []);
          assert.ok(tries.length > 100, `${tries.length} tries`);
          await sinkSawNothing(bench.scene, mark);
          const expected = tries.filter((line) => !INSIDE.test(line)).flatMap((line) => onRecord(line.split('\t')[0] ?? '') ?? []);
          assert.ok(expected.length > 40, `${expected.length} of them left`);
          await box.refusals(expected);
          assert.ok((await other.events()).every(({ event, what }) => event !== 'refused' || what === 'name'), 'nothing is put down to the other');
        } finally {
          await box[Symbol.asyncDispose]();
          await other.machine.close();
        }
        assert.equal((await serving.done).end.kind, 'lost', 'control: it served until it was closed');
      });
    }

    test(`${name}: rules that change on a running sandbox hold at once, and cut what they no longer allow`, async () => {
      await using box = await bench.open(ground, { rules: [{ host: 'example.test', port: 7 }] });
      const opened = Promise.withResolvers<void>();
      let said = '';
      const exec = box.machine.spawn({ argv: ['python3', '-c', ECHO], env: ['PATH=/usr/bin:/bin'], cwd: '/', stdin: false, outputBytes: 1_000 }, {
        onOutput: async (_, bytes) => {
          said += bytes.toString();
          if (said.includes('open')) opened.resolve();
        },
      });
      await Promise.race([opened.promise, exec.done]);
      assert.equal(said, 'open\n');
      const start = performance.now();
      await box.admit([{ host: 'example.test', port: 80 }]);
      assert.equal((await exec.done).end.kind, 'exited');
      assert.ok(performance.now() - start < SOON_MS);
      assert.equal(said, 'open\ncut\n');
      assert.equal(await box.said([...CURL, 'http://example.test/']), '200', 'what is allowed from then on');
      await box.admit([]);
      assert.notDeepEqual((await runIn(box.machine, [...CURL, 'http://example.test/'])).end, { kind: 'exited', code: 0 });
    });

    test(`${name}: requests are read by TLS through an authority that the sandbox alone trusts`, async () => {
      const rule = { host: 'api.example.test', http: { methods: ['GET'], paths: ['/v1/**'] } } as const;
      await using box = await bench.open(ground, { rules: [rule, { host: 'example.test' }], certified: ['api.example.test'] });
      const mark = await bench.scene.net.mark();
      for (const env of [{}, TRUST_ENV]) {
        assert.equal(await box.said([...CURL, 'https://api.example.test/v1/a'], env), '200', 'by the list of the system, and by the environment');
        assert.equal(await box.said([...CURL, 'https://api.example.test/v2'], env), '403');
        assert.equal(await box.said([...CURL, '-d', 'x', 'https://api.example.test/v1/a'], env), '403');
      }
      assert.deepEqual((await bench.scene.net.since(mark)).requests.map(({ method, path }) => `${method} ${path}`), ['GET /v1/a', 'GET /v1/a']);
      assert.equal((await runIn(box.machine, [...CURL, 'https://example.test/'])).end.kind === 'exited' && (await box.said(['sh', '-c', 'curl -sS https://example.test/ >/dev/null 2>&1; echo $?'])), '60\n', 'a host that is not read shows its own certificate');
      await using without = await bench.open(ground, { rules: [{ host: 'example.test' }] });
      assert.equal(await without.said(['stat', '-c', '%s', '/etc/caisson/ca.crt']), '0\n', 'no other sandbox has it');
    });

    if (ways.length > 0) test(`${name}: while the gate is stopped or dead nothing leaves, and the next gate knows the rules`, async () => {
      await using box = await bench.open(ground, { rules: [{ host: 'example.test', port: 7 }] });
      const { scene } = bench;
      const works = async (): Promise<void> => {
        const mark = await scene.net.mark();
        await scene.net.until(({ connections }) => connections.some(({ bytes }) => bytes.toString() === 'new'), { mark, timeoutMs: WORKS_MS });
      };
      const nothingLeaves = async (): Promise<void> => {
        await delay(300); // connections end with packets of their own
        const mark = await scene.net.mark();
        await delay(BROKEN_MS);
        await sinkSawNothing(scene, mark);
      };
      const begun = await scene.net.mark();
      const talked = talkOn(box, 8);
      await works();
      const stopped = await scene.pidOf('gate');
      process.kill(stopped, 'SIGSTOP');
      try {
        await nothingLeaves();
      } finally {
        process.kill(stopped, 'SIGCONT');
      }
      await works();
      const supervisor = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${stopped}/status`, 'utf8'))?.[1]);
      process.kill(supervisor, 'SIGSTOP'); // nobody starts the next one meanwhile
      try {
        process.kill(stopped, 'SIGKILL');
        await nothingLeaves();
      } finally {
        process.kill(supervisor, 'SIGCONT');
      }
      await works();
      const { made, refused } = await talked();
      assert.ok(made > 5 && refused > 10, JSON.stringify({ made, refused }));
      for (const { destinationPort, bytes } of (await scene.net.since(begun)).connections) assert.ok(destinationPort === 7 && !bytes.includes('evil'));
      await box.refusals(['example.test:8', 'evil.test', '198.18.77.7:7', `${PUBLIC}:7/tcp`]);
    });

    test(`${name}: a sandbox that was closed leaves no link, no namespace and no mount`, async () => {
      const box = await bench.open(ground, { rules: [{ host: 'example.test', port: 80 }] });
      const namespace = box.machine.hello.namespaces['net'] ?? '';
      assert.notDeepEqual(processesIn(namespace), [], 'control: it is seen');
      await box[Symbol.asyncDispose]();
      assert.deepEqual(processesIn(namespace), []);
      await nothingLeft();
    });

    test(`${name}: a launch with a link that is aborted at any moment leaves nothing`, async () => {
      for (const afterMs of [0, 10, 60, 150, 300]) {
        const aborting = new AbortController();
        const timer = setTimeout(() => aborting.abort(new Error('not wanted')), afterMs);
        const machine = await ground.driver.launch({ ...specFor(ground.host), network: 'gate' }, { signal: aborting.signal }).catch(() => null);
        clearTimeout(timer);
        await machine?.close();
        await ground.driver.settled();
        await nothingLeft();
      }
    });

    test(`${name}: links of a launcher that was killed are gone when the next has swept`, async () => {
      const base = mkdtempSync('/run/caisson-drivers-');
      const child = fork(childProgram, [name, base, JSON.stringify(bench.gate)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      const ids = await new Promise<string[]>((done, reject) => {
        child.once('message', (message) => done(message as string[]));
        child.once('exit', (code) => reject(new Error(`the launcher ended with ${code}`)));
      });
      assert.equal(bench.links().length, ids.length, 'control: they are there');
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
      const next = await openGround(name, { base, gate: bench.gate });
      assert.deepEqual((await next.driver.sweep()).toSorted(), ids.toSorted());
      await nothingLeft(next);
      await next[Symbol.asyncDispose]();
      rmSync(base, { recursive: true, force: true });
    });

    test(`NETWORK_UNAVAILABLE: ${name}: where there is no gate a sandbox with a link is not launched, and nothing is left`, async () => {
      await using without = await openGround(name);
      await assert.rejects(without.driver.launch({ ...specFor(without.host), network: 'gate' }, never()), { code: 'NETWORK_UNAVAILABLE' });
      assert.deepEqual(left(without), []);
    });

    own?.(() => ({ bench, ground }));
  });
}
