import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type IsolationSpec } from '@caisson/contract';
import { hideUnifiedCgroup, type LiveMachine } from '@caisson/runtime';
import { busybox, BUSYBOX, openBench, plain, type Bench } from '../images/given.ts';
import { againInOwnMounts, IS_ROOT, leftOf, needsOwnMounts, openGround, readHost, specFor, type Ground } from './given.ts';
import { runIn } from './suite.ts';

const SANDBOX = 'sbx-0000000000000001';
const KEY = 'lea-0000000000000001';
const OTHER = 'lea-0000000000000002';
const VALUE = 'canary-of-a-file\nwith two lines\n';
const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });

/** Tries all that would change a file or the folder, and says what it could. */
const CHANGE = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
could = []
def attempt(what, act):
    try:
        act()
        could.append(what)
    except (OSError, AssertionError): pass
def call(*args):
    assert getattr(libc, args[0])(*args[1:]) == 0
folder, path = b"/run/secrets", b"/run/secrets/id_ed25519"
attempt("write", lambda: open(path, "ab"))
attempt("truncate", lambda: os.truncate(path, 0))
attempt("create", lambda: open(folder + b"/new", "wb"))
attempt("remove", lambda: os.remove(path))
attempt("rename", lambda: os.rename(path, folder + b"/other"))
attempt("rename over", lambda: (open("/tmp/mine", "w").close(), os.rename("/tmp/mine", path)))
attempt("link in", lambda: os.symlink("/etc/passwd", folder + b"/link"))
attempt("link out", lambda: os.link(path, "/tmp/linked"))
attempt("chmod", lambda: os.chmod(path, 0o666))
attempt("chmod folder", lambda: os.chmod(folder, 0o777))
attempt("chown", lambda: os.chown(path, 1000, 1000))
attempt("utime", lambda: os.utime(path))
attempt("xattr", lambda: os.setxattr(path, b"user.a", b"b"))
fd = os.open(path, os.O_RDONLY)
attempt("fchmod", lambda: os.fchmod(fd, 0o666))
attempt("reopen", lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR))
attempt("unmount", lambda: call("umount2", folder, 2))
attempt("remount", lambda: call("mount", b"none", folder, None, 0x1020, None))
attempt("mount over", lambda: call("mount", b"tmpfs", folder, b"tmpfs", 0, None))
attempt("bind", lambda: call("mount", folder, b"/tmp", None, 0x1000, None))
attempt("move", lambda: os.rename("/run", "/tmp/run"))
attempt("own namespace", lambda: call("unshare", 0x10020000))
attempt("control", lambda: (open("/tmp/control", "w").close(), os.chmod("/tmp/control", 0o600), os.link("/tmp/control", "/tmp/again"), os.truncate("/tmp/control", 0)))
print(*could)
`;
/** Reads one file as fast as it can until the time is over, and counts what it sees by what it begins with; anything but one whole value is told. */
const READ = `
import sys, time
until, seen, reads = time.monotonic() + float(sys.argv[1]), set(), 0
while time.monotonic() < until:
    try: text = open("/run/secrets/id_ed25519").read()
    except FileNotFoundError: text = "missing"
    reads += 1
    seen.add(text[0] + str(len(text)) if len(set(text)) == 1 else "torn " + text[:40])
print(reads > 50, *sorted(seen))
`;

/** Opens every version of the files that are named and keeps it open and mapped; told to stop, it says how many it has and what is left in them. */
const HOLD = `
import mmap, os, select, sys
held, maps = {}, []
while not select.select([sys.stdin], [], [], 0)[0]:
    for name in sys.argv[1:]:
        try: file = os.open("/run/secrets/" + name, os.O_RDONLY)
        except FileNotFoundError: continue
        inode = os.fstat(file).st_ino
        if inode in held:
            os.close(file)
            continue
        held[inode] = file
        maps.append(mmap.mmap(file, 1, prot=mmap.PROT_READ))
        print(len(held), flush=True)
left = {byte for file in held.values() for byte in os.pread(file, 1 << 20, 0)}
print("left", len(held), sorted(left), flush=True)
`;

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) test('a sandbox has secrets as files', (t) => t.skip('needs root: nothing can be mounted without it'));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const name of ['crun', 'runc', 'runsc']) mounts(name, runtimes.some((runtime) => runtime.name === name) ? false : `${name} is not installed`);
}

interface Asked {
  readonly sandbox: string;
  readonly lease: string;
  readonly name: string;
}

function mounts(name: string, skip: string | false): void {
  suite(`secrets as files under ${name}`, { skip }, () => {
    let ground: Ground;
    let bench: Bench;
    const asked: Asked[] = [];
    /** What the vault answers. */
    let answer: (asked: Asked) => Promise<string> = async () => VALUE;
    let expiresMs: number | null = null;
    let aheadMs = 0;

    before(async () => {
      bench = await openBench({}, '/run');
      ground = await openGround(name, {
        images: { use: (digest) => bench.store.use(digest) },
        secrets: {
          now: () => Date.now() + aheadMs,
          value: async (asking) => {
            asked.push(asking);
            return { bytes: Buffer.from(await answer(asking)), expiresMs };
          },
        },
      });
    });
    after(async () => {
      await ground?.[Symbol.asyncDispose]();
      await bench?.[Symbol.asyncDispose]();
    });

    function spec(files: readonly { readonly name: string; readonly lease: string }[] = [{ name: 'id_ed25519', lease: KEY }], image: IsolationSpec['image'] = 'host'): IsolationSpec {
      const plainly = specFor(ground.host, { pids: 100 }, image);
      const at = plainly.mounts.findIndex(({ kind }) => kind === 'init');
      return { ...plainly, mounts: plainly.mounts.toSpliced(at, 0, { kind: 'secrets', sandbox: SANDBOX, files }) };
    }
    async function inside(what: IsolationSpec, use: (machine: LiveMachine) => Promise<void>): Promise<void> {
      const machine = await ground.driver.launch(what, never());
      try {
        await use(machine);
      } finally {
        answer = async () => VALUE;
        expiresMs = null;
        aheadMs = 0;
        await machine.close();
        await ground.driver.settled();
      }
      assert.deepEqual(leftOf(ground), []);
    }
    async function said(machine: LiveMachine, argv: readonly string[]): Promise<string> {
      const { end, stdout, stderr } = await runIn(machine, argv, { env: ['PATH=/usr/bin:/bin'] });
      assert.deepEqual(end, { kind: 'exited', code: 0 }, stderr.toString());
      return stdout.toString();
    }
    const sh = (machine: LiveMachine, script: string): Promise<string> => said(machine, ['/bin/sh', '-c', script]);
    const until = async (machine: LiveMachine, script: string, wanted: string): Promise<void> => {
      for (const untilMs = Date.now() + 10_000; ; await delay(20)) {
        const found = await sh(machine, script);
        if (found === wanted) return;
        assert.ok(Date.now() < untilMs, `${script}: ${found}`);
      }
    };

    test(`${name}: the sandbox's user alone can read the file, as it came, and nothing of it is in the bundle`, () => inside(spec(), async (machine) => {
      assert.deepEqual(asked.splice(0), [{ sandbox: SANDBOX, lease: KEY, name: 'id_ed25519' }]);
      assert.equal(await sh(machine, 'stat -c "%a %U %F %s" /run/secrets/*; ls -A /run/secrets; cat /run/secrets/id_ed25519'), `400 agent regular file ${VALUE.length}\nid_ed25519\n${VALUE}`);
      const options = (await sh(machine, 'grep " /run/secrets " /proc/mounts')).trim().split(' ')[3]?.split(',') ?? [];
      for (const option of ['ro', 'nosuid', 'noexec']) assert.ok(options.includes(option), options.join());
      const files = globSync(`${ground.base}/sandboxes/*/*`).filter((path) => !path.endsWith('/secrets'));
      assert.ok(files.some((path) => path.endsWith('/config.json')), 'control: the bundle is looked at');
      for (const path of files) assert.ok(!readFileSync(path).includes('canary'), path);
      const own = readFileSync('/proc/self/mounts', 'utf8').split('\n').filter((line) => line.includes(`${ground.base}/sandboxes/`) && line.includes('/secrets tmpfs'));
      assert.match(own.join('\n'), /^[^\n]+ rw,nosuid,nodev,noexec,\S*size=6144k,nr_inodes=16384/);
    }));

    test(`${name}: nothing in the sandbox can change, replace, cover or unmount it`, () => inside(spec(), async (machine) => {
      assert.equal(await said(machine, ['/usr/bin/python3', '-c', CHANGE]), 'control\n');
      assert.equal(await sh(machine, 'cat /run/secrets/*'), VALUE);
    }));

    test(`${name}: who reads while it is replaced sees one whole value or the other`, () => inside(spec(), async (machine) => {
      answer = async () => 'a'.repeat(60_000);
      await machine.secrets?.renew(KEY);
      const reading = said(machine, ['/usr/bin/python3', '-c', READ, '3']);
      let isReading = true;
      void reading.catch(() => undefined).then(() => (isReading = false));
      for (let round = 0; isReading; round++) {
        answer = async () => (round % 2 === 0 ? 'b'.repeat(61_000) : 'a'.repeat(60_000));
        await machine.secrets?.renew(KEY);
      }
      assert.equal(await reading, 'True a60000 b61000\n');
    }));

    test(`${name}: what is dropped is gone at once, also for who has it open, and does not come back by a renewal that was under way`, () => inside(spec([{ name: 'id_ed25519', lease: KEY }, { name: 'other', lease: OTHER }]), async (machine) => {
      const late = Promise.withResolvers<string>();
      answer = () => late.promise;
      const holding = runIn(machine, ['/usr/bin/python3', '-c', 'import sys\nfile = open("/run/secrets/id_ed25519", "rb", 0)\nprint("open", flush=True)\nsys.stdin.read()\nprint(set(file.read()))'], { env: ['PATH=/usr/bin'], stdin: true }, async (exec) => {
        await until(machine, 'ls -l /proc/*/fd 2>/dev/null | grep -c id_ed25519; true', '1\n');
        const renewing = machine.secrets?.renew(KEY);
        machine.secrets?.drop(KEY);
        assert.equal(await sh(machine, 'ls /run/secrets; cat /run/secrets/id_ed25519 2>&1 | tail -c 26'), 'other\nNo such file or directory\n');
        late.resolve('a later value');
        await assert.rejects(renewing ?? Promise.resolve(), { code: 'LEASE_NOT_FOUND' });
        await exec.endStdin();
      });
      assert.match((await holding).stdout.toString(), /^open\n(?:\{0\}|set\(\))\n$/);
      assert.equal(await sh(machine, 'ls /run/secrets'), 'other\n');
      await assert.rejects(machine.secrets?.renew(KEY) ?? Promise.resolve(), { code: 'LEASE_NOT_FOUND' });
    }));

    test(`${name}: of two renewals the one that began later stays, and one that fails leaves the file as it was`, () => inside(spec(), async (machine) => {
      const first = Promise.withResolvers<string>();
      answer = () => first.promise;
      const earlier = machine.secrets?.renew(KEY);
      answer = async () => 'newer';
      await machine.secrets?.renew(KEY);
      first.resolve('older');
      await earlier;
      assert.equal(await sh(machine, 'cat /run/secrets/id_ed25519'), 'newer');
      answer = async () => 'x'.repeat(6 * 2 ** 20 + 1);
      await assert.rejects(machine.secrets?.renew(KEY) ?? Promise.resolve(), { code: 'SECRET_UNAVAILABLE', message: /cannot be written \(ENOSPC\)/ });
      answer = () => Promise.reject(new CaissonError('SECRET_UNAVAILABLE', { secret: 'key', detail: 'gone' }));
      await assert.rejects(machine.secrets?.renew(KEY) ?? Promise.resolve(), { code: 'SECRET_UNAVAILABLE' });
      assert.equal(await sh(machine, 'cat /run/secrets/*'), 'newer');
      answer = async () => 'newest';
      await machine.secrets?.renew(KEY);
      assert.equal(await sh(machine, 'cat /run/secrets/*'), 'newest', 'what could not be written takes no room');
    }));

    test(`${name}: a file whose time is over goes away by itself`, async () => {
      expiresMs = Date.now() + 2_000;
      await inside(spec(), (machine) => until(machine, 'ls /run/secrets', ''));
    });

    test(`${name}: a file goes away by the clock of the wall, however far that jumps`, (t) => inside(spec(), async (machine) => {
      expiresMs = Date.now() + 3_600_000;
      t.mock.timers.enable({ apis: ['setTimeout'] });
      try {
        await machine.secrets?.renew(KEY);
        t.mock.timers.tick(30_000);
        t.mock.timers.tick(30_000);
        aheadMs = 7_200_000;
        t.mock.timers.tick(30_000);
      } finally {
        t.mock.timers.reset();
      }
      assert.equal(await sh(machine, 'ls /run/secrets'), '');
    }));

    test(`${name}: a sandbox that keeps every version open keeps nothing in it, and no rotation from being made`, { timeout: 120_000 }, () => {
      const files = Array.from({ length: 4 }, (_, n) => ({ name: `file-${n}`, lease: `lea-000000000000000${n}` }));
      return inside(spec(files), async (machine) => {
        const descriptors = (): number => readdirSync('/proc/self/fd').length;
        const few = descriptors();
        let told = '';
        const command = { argv: ['/usr/bin/python3', '-c', HOLD, ...files.map((file) => file.name)], env: ['PATH=/usr/bin'], cwd: '/', stdin: true, outputBytes: 1_000_000 };
        const holding = machine.spawn(command, { onOutput: async (_, bytes) => void (told += bytes.toString()) });
        const seen = async (count: number): Promise<void> => {
          for (const untilMs = Date.now() + 20_000; !told.split('\n').includes(`${count}`); await delay(2)) assert.ok(Date.now() < untilMs, `version ${count} is not seen: ${told}`);
        };
        await seen(files.length);
        for (let round = 1; round <= 30; round++) {
          answer = async () => (round <= 5 ? `${round}`.repeat(64 * 1024) : `small ${round}`); // 20 of 64 KiB, and 100 others
          await Promise.all(files.map(async ({ lease }) => machine.secrets?.renew(lease)));
          await seen(files.length * (round + 1));
        }
        assert.equal(await sh(machine, 'cat /run/secrets/*'), 'small 30'.repeat(files.length));
        assert.ok(descriptors() <= few + 16, `${descriptors()} descriptors, and ${few} at first`);
        for (const { lease } of files) machine.secrets?.drop(lease);
        await holding.endStdin();
        assert.deepEqual((await holding.done).end, { kind: 'exited', code: 0 }, told);
        assert.match(told, /\nleft 124 \[0?\]\n$/);
      });
    });

    test(`${name}: another sandbox sees nothing of it`, () => inside(spec(), async (machine) => {
      const other = await ground.driver.launch(specFor(ground.host), never());
      try {
        assert.equal(await sh(machine, 'ls /run/secrets'), 'id_ed25519\n');
        assert.equal(await sh(other, 'ls -A /run/secrets; grep -c secrets /proc/mounts; true'), '0\n');
      } finally {
        await other.close();
      }
    }));

    test(`${name}: when one of its secrets cannot be had nothing starts, and nothing is left`, async () => {
      answer = ({ lease }) => (lease === KEY ? Promise.resolve(VALUE) : Promise.reject(new CaissonError('SECRET_UNAVAILABLE', { secret: 'other', detail: 'the vault does not answer' })));
      await assert.rejects(ground.driver.launch(spec([{ name: 'id_ed25519', lease: KEY }, { name: 'other', lease: OTHER }]), never()), { code: 'SECRET_UNAVAILABLE' });
      answer = async () => 'x'.repeat(4 * 2 ** 20);
      await assert.rejects(ground.driver.launch(spec([{ name: 'id_ed25519', lease: KEY }, { name: 'other', lease: OTHER }]), never()), { code: 'SECRET_UNAVAILABLE' });
      answer = async () => VALUE;
      await ground.driver.settled();
      assert.deepEqual(leftOf(ground), []);
    });

    test(`${name}: an image with something else in the place has the secrets there, and nothing goes where a link of it leads`, { skip: !existsSync(BUSYBOX) && 'needs busybox-static' }, async () => {
      for (const link of ['./run', './run/secrets']) {
        const { digest } = await bench.layout({ layers: [plain([...busybox(), { name: link, type: '2', target: '/tmp' }])] });
        await inside(spec(undefined, digest as IsolationSpec['image']), async (machine) => {
          assert.equal(await sh(machine, 'cat /run/secrets/id_ed25519; ls -A /tmp'), VALUE, link);
        });
      }
    });
  });
}
