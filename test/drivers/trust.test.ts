import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { TRUST_ENV, type IsolationSpec } from '@caisson/contract';
import type { ImageInfo } from '@caisson/images';
import { hideUnifiedCgroup, type Machine } from '@caisson/runtime';
import { BUSYBOX, busybox, openBench, plain, type Bench, type Member } from '../images/given.ts';
import { makeAuthority, trusting, type Authority } from './authorities.ts';
import { againInOwnMounts, IS_ROOT, leftOf, needsOwnMounts, openGround, readHost, specFor, type Ground } from './given.ts';
import { runIn } from './suite.ts';

const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });
const PATH = 'PATH=/usr/bin:/bin';
const TRUSTED = [PATH, ...Object.entries(TRUST_ENV).map(([name, value]) => `${name}=${value}`)];
const BUNDLE = '/etc/caisson/ca-bundle.crt';
const OF_DEBIAN = '/etc/ssl/certs/ca-certificates.crt';
const OF_FEDORA = '/etc/pki/tls/certs/ca-bundle.crt';

/** A server inside and one client of it, which says `accepted` if it trusts the server. */
const SERVE = `
import os, ssl, subprocess, sys, threading, socket
open('/tmp/server.pem', 'w').write(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/tmp/server.pem')
listening = socket.create_server(('127.0.0.1', 0))
def serve():
  while True:
    connection, _ = listening.accept()
    try:
      with context.wrap_socket(connection, server_side=True) as tls:
        tls.recv(4096)
        tls.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 8\\r\\nConnection: close\\r\\n\\r\\naccepted')
    except OSError: pass
threading.Thread(target=serve, daemon=True).start()
argv = [each.replace('PORT', str(listening.getsockname()[1])) for each in sys.argv[2:]]
done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
print(done.stdout.strip()[:200] or done.stderr.strip()[-400:])
`;
const CLIENTS: Readonly<Record<string, readonly string[]>> = {
  '/usr/bin/python3': ['-c', "import ssl, socket\ntls = ssl.create_default_context().wrap_socket(socket.create_connection(('127.0.0.1', PORT)), server_hostname='localhost')\ntls.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\nprint(tls.recv(4096).decode()[-8:])"],
  '/usr/bin/curl': ['-sS', 'https://localhost:PORT/'],
  '/usr/bin/node': ['-e', "fetch('https://localhost:PORT/').then((answer) => answer.text()).then(console.log, (error) => console.log(error.cause.code))"],
};
const REFUSED = /certificate|UNABLE_TO_VERIFY|SELF_SIGNED/i;

const LOCK = `
import fcntl, sys, time
try:
  files = [open(path) if not path.endswith('/') else __import__('os').open(path, 0) for path in sys.argv[2:]]
  for file in files: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  print('locked', flush=True)
except OSError as error: print(error)
time.sleep(float(sys.argv[1]))`;

/** What an image may have in the place of its list; `root` is its root. What the bundle says of it, or how the launch fails. */
type Attack = readonly [what: string, make: (root: string, list: string) => void, expected?: RegExp];

const ATTACKS: readonly Attack[] = [
  ['a link to a file of the host', (_, list) => symlinkSync('/etc/shadow', list)],
  ['a link that goes up and out', (_, list) => symlinkSync(`${'../'.repeat(12)}etc/shadow`, list)],
  ['a link through a folder that is a link to the root', (root, list) => (symlinkSync('/', `${root}/up`), symlinkSync('/up/../../up/etc/hostname-of-host', list))],
  ['links in a circle', (root, list) => (symlinkSync('/etc/b', `${root}/etc/a`), symlinkSync('/etc/a', `${root}/etc/b`), symlinkSync('/etc/a', list))],
  ['a link to nothing', (_, list) => symlinkSync('/nowhere', list)],
  ['a file of its root alone', (_, list) => writeFileSync(list, 'SECRET', { mode: 0o600 })],
  ['a file in a folder of its root alone', (root, list) => (mkdirSync(`${root}/closed`), writeFileSync(`${root}/closed/a`, 'SECRET'), chmodSync(`${root}/closed`, 0o700), symlinkSync('/closed/a', list))],
  ['a pipe', (_, list) => void execFileSync('/usr/bin/mkfifo', [list])],
  ['a device', (_, list) => void execFileSync('/usr/bin/mknod', ['-m', '666', list, 'c', '1', '5'])],
  ['a folder', (_, list) => mkdirSync(list)],
  ['a link to a process', (_, list) => symlinkSync('/proc/1/environ', list)],
  ['a link to what will be written', (root, list) => (mkdirSync(`${root}/tmp`, { recursive: true }), writeFileSync(`${root}/tmp/list`, 'x'), symlinkSync('/tmp/list', list))],
  ['a link to the bundle itself', (_, list) => symlinkSync(BUNDLE, list)],
  ['a list of 5 MiB', (_, list) => (writeFileSync(list, ''), truncateSync(list, 5 * 2 ** 20)), /the list of authorities of its image, .* has 5242880 bytes/],
];

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) test('a sandbox trusts an authority of its own', (t) => t.skip('needs root: cgroups cannot be made without it'));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const name of ['crun', 'runc', 'runsc']) trusts(name, runtimes.some((runtime) => runtime.name === name) ? false : `${name} is not installed`);
}

function trusts(name: string, skip: string | false): void {
  suite(`trust under ${name}`, { skip }, () => {
    let ground: Ground;
    let bench: Bench;
    let own: Authority;
    let other: Authority;
    /** Images that no import would let through, by digest. */
    const planted = new Map<string, string>();

    before(async () => {
      [own, other] = [makeAuthority('Caisson test one'), makeAuthority('Caisson test two')];
      bench = await openBench({}, '/run');
      ground = await openGround(name, {
        images: {
          use: (digest) => {
            const folder = planted.get(digest);
            return folder === undefined ? bench.store.use(digest) : { folder, [Symbol.dispose]: () => undefined };
          },
        },
      });
    });
    after(async () => {
      await ground?.[Symbol.asyncDispose]();
      await bench?.[Symbol.asyncDispose]();
    });

    const spec = (authority: Authority | null, image?: string): IsolationSpec => {
      const plainly = specFor(ground.host, { pids: 100 }, image as `sha256:${string}`);
      return authority === null ? plainly : trusting(plainly, authority.certificate);
    };
    async function inside(what: IsolationSpec, use: (machine: Machine) => Promise<void>): Promise<void> {
      const machine = await ground.driver.launch(what, never());
      try {
        await use(machine);
      } finally {
        await machine.close();
        await ground.driver.settled();
      }
      assert.deepEqual(leftOf(ground), []);
    }
    async function said(machine: Machine, argv: readonly string[], env: readonly string[] = [PATH]): Promise<string> {
      const { end, stdout, stderr } = await runIn(machine, argv, { env });
      assert.deepEqual(end, { kind: 'exited', code: 0 }, stderr.toString());
      return stdout.toString();
    }
    const sh = (machine: Machine, script: string): Promise<string> => said(machine, ['/bin/sh', '-c', script]);
    const listOfHost = (): string => readFileSync(`${ground.base}/images/host${OF_DEBIAN}`, 'utf8');

    test(`${name}: the sandbox has the authorities of its image and its own, everywhere, and can change none of them`, { skip: !existsSync(OF_DEBIAN) && 'ca-certificates is not installed' }, () => inside(spec(own), async (machine) => {
      for (const path of [BUNDLE, OF_DEBIAN]) assert.equal(await sh(machine, `cat ${path}`), own.certificate + listOfHost(), path);
      assert.equal(await sh(machine, 'cat /etc/caisson/ca.crt; ls /etc/caisson'), `${own.certificate}ca-bundle.crt\nca.crt\n`);
      const places = `${BUNDLE} ${OF_DEBIAN} /etc/caisson/ca.crt`;
      assert.equal(await sh(machine, `for f in ${places} /etc/caisson/new; do (echo x >> $f) 2>/dev/null && echo $f; rm $f 2>/dev/null && echo $f; done; chmod 777 ${places} 2>/dev/null && echo changed; true`), '');
      const mounts = (await sh(machine, 'cat /proc/mounts')).split('\n').map((line) => line.split(' ')).filter(([, at]) => at === '/etc/caisson' || at === OF_DEBIAN);
      assert.deepEqual(mounts.map(([, at, , options = '']) => [at, options.split(',').includes('ro')]), [['/etc/caisson', true], [OF_DEBIAN, true]]);
    }));

    test(`${name}: a sandbox without an authority of its own has the same files, empty, and the list of its image`, () => inside(spec(null), async (machine) => {
      assert.equal(await sh(machine, 'stat -c "%n %s" /etc/caisson/*'), '/etc/caisson/ca-bundle.crt 0\n/etc/caisson/ca.crt 0\n');
      if (existsSync(OF_DEBIAN)) assert.equal(await sh(machine, `cat ${OF_DEBIAN}`), listOfHost());
    }));

    test(`${name}: of two sandboxes neither sees whom the other trusts, and neither can signal by a lock`, async () => {
      const [first, second, third] = await Promise.all([spec(own), spec(other), spec(own)].map((each) => ground.driver.launch(each, never())));
      assert.ok(first && second && third);
      try {
        const lines = (text: string): Set<string> => new Set(text.split('\n').filter((line) => line.length > 40));
        const [one, two] = [lines(await sh(first, 'cat /etc/caisson/*')), lines(await sh(second, 'cat /etc/caisson/*'))];
        for (const line of lines(own.certificate).difference(lines(other.certificate))) assert.ok(one.has(line) && !two.has(line), line);
        for (const line of lines(other.certificate).difference(lines(own.certificate))) assert.ok(two.has(line) && !one.has(line), line);
        if (!existsSync('/usr/bin/python3')) return;
        const lock = (machine: Machine, seconds: number): Promise<string> => said(machine, ['/usr/bin/python3', '-c', LOCK, `${seconds}`, BUNDLE, '/etc/caisson/ca.crt', '/etc/caisson/', ...(existsSync(OF_DEBIAN) ? ['/etc/ssl/certs/'] : [])]);
        const holding = lock(first, 2.5);
        await delay(1_200);
        assert.equal(await lock(third, 0), 'locked\n', 'with the same certificate');
        assert.equal(await holding, 'locked\n');
      } finally {
        await Promise.all([first.close(), second.close(), third.close()]);
        await ground.driver.settled();
      }
      assert.deepEqual(leftOf(ground), []);
    });

    for (const [program, args] of Object.entries(CLIENTS)) {
      const lacks = [program, '/usr/bin/python3'].find((each) => !existsSync(each));
      test(`${name}: ${program} takes a server that the sandbox's authority signed for true, and no other`, { skip: lacks !== undefined && `${lacks} is not installed` }, async () => {
        const ask = (machine: Machine, env: readonly string[]) => async ({ server }: Authority): Promise<string> => (await said(machine, ['/usr/bin/python3', '-c', SERVE, server, program, ...args], env)).trim();
        await inside(spec(own), async (machine) => {
          assert.equal(await ask(machine, TRUSTED)(own), 'accepted');
          assert.match(await ask(machine, TRUSTED)(other), REFUSED);
          if (program === '/usr/bin/curl' && existsSync(OF_DEBIAN)) assert.equal(await ask(machine, [PATH])(own), 'accepted', 'by the list of the system');
        });
        await inside(spec(null), async (machine) => {
          for (const env of [TRUSTED, [PATH]]) assert.match(await ask(machine, env)(own), REFUSED);
        });
      });
    }

    suite(`${name}: images`, { skip: !existsSync(BUSYBOX) && 'needs busybox-static' }, () => {
      const image = (members: readonly Member[]): Promise<ImageInfo> => bench.layout({ layers: [plain([...busybox(), ...members])] });

      test(`${name}: every list of an image has the authority beside its own, by every name that leads to it`, async () => {
        const { digest } = await image([
          { name: './etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', body: 'of fedora\n' },
          { name: `.${OF_FEDORA}`, type: '2', target: '../../../../../etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem' },
          { name: `.${OF_DEBIAN}`, type: '2', target: '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem' },
          { name: './etc/ssl/cert.pem', body: 'of alpine, without an end' },
        ]);
        await inside(spec(own, digest), async (machine) => {
          for (const path of [BUNDLE, OF_DEBIAN, OF_FEDORA, '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem']) assert.equal(await sh(machine, `cat ${path}`), `${own.certificate}of fedora\n`, path);
          assert.equal(await sh(machine, 'cat /etc/ssl/cert.pem'), `${own.certificate}of alpine, without an end`);
          assert.equal(await sh(machine, 'cat /etc/caisson/ca.crt'), own.certificate);
        });
        await inside(spec(null, digest), async (machine) => {
          assert.equal(await sh(machine, `cat ${BUNDLE} /etc/caisson/ca.crt ${OF_FEDORA}`), 'of fedora\n');
        });
      });

      test(`${name}: an image without a list, or with another thing in the place, trusts the one authority`, async () => {
        const { digest } = await image([{ name: './etc/caisson', type: '2', target: '/tmp' }]);
        await inside(spec(own, digest), async (machine) => {
          assert.equal(await sh(machine, `cat ${BUNDLE}; ls /etc/caisson; ls -d /tmp/ca* 2>/dev/null; true`), `${own.certificate}ca-bundle.crt\nca.crt\n`);
        });
      });

      for (const [index, [what, make, refused]] of ATTACKS.entries()) {
        test(`${name}: with ${what} for a list, the launcher reads nothing that the sandbox could not and writes nothing to the host`, async () => {
          const { digest } = await image([]);
          using held = bench.store.use(digest);
          const hostile = `sha256:${index.toString(16).padStart(64, '0')}`;
          const folder = `${bench.dir}/planted-${index}`;
          cpSync(held.folder, folder, { recursive: true, verbatimSymlinks: true });
          for (const each of ['', '/rootfs', '/additions']) chmodSync(folder + each, 0o755);
          chmodSync(`${folder}/additions/workspace`, 0o700);
          mkdirSync(`${folder}/rootfs/etc/ssl/certs`, { recursive: true });
          make(`${folder}/rootfs`, `${folder}/rootfs${OF_DEBIAN}`);
          planted.set(hostile, folder);
          try {
            if (refused !== undefined) {
              await assert.rejects(ground.driver.launch(spec(own, hostile), never()), { code: 'LAUNCH_FAILED', message: refused });
              assert.deepEqual(leftOf(ground), []);
              return;
            }
            await inside(spec(own, hostile), async (machine) => {
              assert.equal(await sh(machine, `cat ${BUNDLE}`), own.certificate);
            });
          } finally {
            planted.delete(hostile);
            rmSync(folder, { recursive: true, force: true });
          }
        });
      }

      test(`${name}: an image that was brought in before there was a place for it has one when the store is opened again`, async () => {
        await using earlier = await openBench({}, '/run');
        const { digest } = await earlier.layout({ layers: [plain(busybox())] });
        const folder = earlier.store.use(digest).folder;
        for (const file of ['ca.crt', 'ca-bundle.crt']) unlinkSync(`${folder}/additions/etc/caisson/${file}`);
        rmSync(`${folder}/additions/etc/caisson`, { recursive: true });
        await openBench({ dir: `${earlier.dir}/images` }, '/run').then((again) => again[Symbol.asyncDispose]());
        planted.set(digest, folder);
        await inside(spec(own, digest), async (machine) => {
          assert.equal(await sh(machine, `cat ${BUNDLE}`), own.certificate);
        });
        planted.delete(digest);
      });
    });
  });
}
