import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { instanceId, type CreateRequest, type Level } from '@caisson/contract';
import { processUids } from '@caisson/runtime';
import { Sandbox, Snapshots } from '@caisson/sdk';
import { cli } from '../cli/given.ts';
import { evidenceIsWhole, kill, levelsHere, randomFrom, worksAgain, type Role } from '../faults/given.ts';
import { settledLeftovers } from '../faults/leftovers.ts';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { shippedPolicy } from '../isolation/given.ts';
import { filesWith, memoryHolds } from './host-search.ts';
import { canary, SEARCH } from './search-inside.ts';

const LEVELS = ['container', 'gvisor'] as const satisfies readonly Level[];
const PATIENCE_MS = 30_000;
/** Reads the file as fast as it can until it holds what ends the reading, and says whatever it saw that is none of the whole values. */
const READ = `
import sys
whole, last = set(sys.argv[1:]), sys.argv[-1]
reads, torn, text = 0, set(), ""
while text != last:
    try: text = open("/run/secrets/rotating").read().strip()
    except OSError as error: text = str(error)
    reads += 1
    if text not in whole: torn.add(text[:50])
print(reads > 20, *torn)
`;

/**
 * Asks for leases on files of its own that nobody writes, and on the files that are named, and says what it got; then it opens what comes in their
 * places, asks again and again, and never gives one up. Whoever opens a file for writing on which there is a lease waits until the kernel takes that away.
 */
const LEASE = `
import errno, fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
kept = []
def lease(path, kind):
    kept.append(os.open(path, os.O_RDONLY))
    try:
        fcntl.fcntl(kept[-1], fcntl.F_SETLEASE, kind)
        return "granted"
    except OSError as error: return errno.errorcode[error.errno]
said = []
for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
    own = f"/workspace/own-{kind}"
    open(own, "w").close()
    said += [lease(path, kind) for path in [own, *sys.argv[1:]]]
with open("/workspace/said.part", "w") as file: file.write(" ".join(said))
os.rename("/workspace/said.part", "/workspace/said")
seen = set()
while True:
    for path in sys.argv[1:]:
        try:
            inode = os.stat(path).st_ino
            if inode not in seen: lease(path, fcntl.F_RDLCK)
            seen.add(inode)
        except OSError: pass
    for file in kept:
        try: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError: pass
`;
/** The kernel takes a lease away after 45 s (/proc/sys/fs/lease-break-time). */
const STALLED_MS = 20_000;

describe('a secret that is a file', { skip: IS_ROOT ? false : NEEDS_ROOT, concurrency: false }, () => {
  const value = `${canary()}\n-----END-----\n`;
  /** Of a secret that no test has a command print, because that would go through control. */
  const sealed = `${canary()}\n-----END-----\n`;
  const text = sealed.split('\n')[0] ?? '';
  const sources = mkdtempSync(`${tmpdir()}/caisson-sources-`);
  const dir = mkdtempSync(`${tmpdir()}/caisson-files-`);
  const source = (name: string, content: string): `file:/${string}` => {
    writeFileSync(`${sources}/${name}`, content, { mode: 0o600 });
    return `file:/${sources.slice(1)}/${name}`;
  };
  let caisson: Caisson;
  let levels: readonly Level[];

  before(async () => {
    const secrets = {
      sealed: { from: source('sealed', sealed), file: 'sealed', env: 'KEY_FILE' },
      key: { from: source('key', value), file: 'id_ed25519' },
      db: { from: source('db', `${canary()}\n`), file: '.pgpass', env: 'PGPASSFILE' },
      rotating: { from: source('rotating', 'first'), file: 'rotating' },
      brief: { from: source('brief', 'soon gone'), file: 'brief', ttlMs: 8_000 },
      passing: { from: source('passing', 'later gone'), file: 'passing', ttlMs: 15_000 },
      gone: { from: `file:/${sources.slice(1)}/none`, file: 'gone' },
    };
    writeFileSync(`${dir}/policy.json`, JSON.stringify({ ...shippedPolicy, secrets }));
    caisson = await startCaisson({ dir });
    levels = await levelsHere(caisson);
  });
  after(async () => {
    await caisson?.[Symbol.asyncDispose]();
    for (const each of [dir, sources]) rmSync(each, { recursive: true, force: true });
  });

  const connection = (): { readonly socket: string } => ({ socket: caisson.paths.apiSocket });
  const create = (request: CreateRequest): Promise<Sandbox> => Sandbox.create(request, { connection: connection() });
  const said = async (box: Sandbox, argv: readonly string[]): Promise<string> => {
    const { exit, stdout, stderr } = await box.exec(argv);
    assert.equal(exit, 0, stderr);
    return stdout;
  };
  const listed = (box: Sandbox): Promise<string> => said(box, ['ls', '-A', '/run/secrets']);
  const pidOf = async (name: string): Promise<number> => (await caisson.status()).processes.find((one) => one.name === name)?.pid ?? 0;
  const eventually = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    for (const untilMs = Date.now() + PATIENCE_MS; !(await holds().catch(() => false)); await delay(50)) assert.ok(Date.now() < untilMs, what);
  };

  for (const level of LEVELS) {
    const here = (t: { skip(why: string): void }): boolean => levels.includes(level) || (t.skip(`no runtime of level ${level}`), false);

    test(`is in its file, for the sandbox's user alone, and nowhere else in the sandbox, on the host or on record (${level})`, { timeout: 240_000 }, async (t) => {
      if (!here(t)) return;
      await using box = await create({ level, secrets: ['sealed', 'db'] });
      await using other = await create({ level });
      const info = await box.info();
      assert.deepEqual([info.secrets, info.network, info.warm], [['sealed', 'db'], null, false], 'it needs no network');
      const digest = createHash('sha256').update(sealed).digest('hex');
      assert.equal(await said(box, ['sh', '-c', 'sha256sum $KEY_FILE; stat -c "%n %a %U" $KEY_FILE $PGPASSFILE']), `${digest}  /run/secrets/sealed\n/run/secrets/sealed 400 agent\n/run/secrets/.pgpass 400 agent\n`);
      await box.spawn(['sh', '-c', 'while true; do sleep 1; done']); // others are searched, which were never told anything
      const half = Math.floor(text.length / 2);
      assert.equal(await said(box, ['python3', '-c', SEARCH, text.slice(0, half), text.slice(half)]), 'found 1 /run/secrets/sealed\n');
      assert.equal(await said(other, ['python3', '-c', SEARCH, text.slice(0, half), text.slice(half)]), 'found 0\n');

      await box.files.write('note', 'a marker of the workspace');
      const snapshot = await box.snapshot();
      const exported: Buffer[] = [];
      for await (const chunk of await Snapshots.export(snapshot.id, { connection: connection() })) exported.push(chunk as Buffer);
      assert.ok(Buffer.concat(exported).includes('a marker of the workspace'), 'control: what is in the workspace is in the archive');
      assert.ok(!Buffer.concat(exported).includes(text));
      assert.ok(!JSON.stringify(await box.changes({ from: snapshot.id })).includes('secrets'));
      const { dir: state, run } = caisson.paths;
      for (const folder of [state, run]) assert.deepEqual(filesWith(folder, text), [], folder);
      assert.deepEqual(filesWith(sources, text), [`${sources}/sealed`], 'control: the search of files finds it where it is');
      for (const role of ['control', 'gate', 'scribe']) assert.equal(memoryHolds(await pidOf(role), text), false, role);
      assert.equal(memoryHolds(await pidOf('vault'), text), true, 'control: the search of memory finds it where it is');
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        for (const file of ['cmdline', 'environ']) assert.ok(!readable(`/proc/${pid}/${file}`).includes(text), `${file} of ${pid}`);
      }
    });

    test(`can be read on the host by root and the sandbox's own uid, and by no other (${level})`, async (t) => {
      if (!here(t)) return;
      await using box = await create({ level, secrets: ['key'] });
      const launcher = await pidOf('launcher');
      const path = `${caisson.paths.sandboxes}/${box.id}/secrets/shown/id_ed25519`;
      assert.ok(!existsSync(path), 'it is in the mount namespace of the launcher alone');
      const { uid } = JSON.parse(await inNamespace(launcher, [process.execPath, '-p', `JSON.stringify(require('node:fs').statSync(${JSON.stringify(path)}))`])) as { readonly uid: number };
      const ids = processUids(instanceId(caisson.paths.dir));
      const readAs = (as: number): Promise<string> => inNamespace(launcher, ['setpriv', '--reuid', `${as}`, '--regid', `${as}`, '--clear-groups', 'cat', path]).catch(() => 'refused');
      assert.equal(await readAs(uid), value);
      for (const as of [uid - 1, uid + 2, ids.control, ids.gate, ids.scribe, ids.images, 65_534]) assert.equal(await readAs(as), 'refused', `${as}`);
    });

    test(`is gone within a second of its revocation, from this sandbox and no other, and is counted while it is there (${level})`, async (t) => {
      if (!here(t)) return;
      await using box = await create({ level, secrets: ['key', 'db', 'rotating'] });
      await using other = await create({ level, secrets: ['key'] });
      assert.deepEqual((await box.secrets.list()).map(({ secret, file, uses }) => [secret, file, uses]), [['key', '/run/secrets/id_ed25519', 1], ['db', '/run/secrets/.pgpass', 1], ['rotating', '/run/secrets/rotating', 1]]);
      const tookMs: number[] = [];
      for (const secret of ['key', 'db', 'rotating']) {
        const startMs = performance.now();
        await box.secrets.revoke(secret);
        tookMs.push(performance.now() - startMs); // it has resolved: what is looked for is gone by then
      }
      assert.equal(await listed(box), '');
      assert.ok(Math.min(...tookMs) < 1_000, tookMs.join());
      assert.deepEqual(await box.secrets.list(), []);
      await assert.rejects(box.secrets.revoke('key'), { code: 'LEASE_NOT_FOUND' });
      assert.equal(await listed(other), 'id_ed25519\n');
      assert.equal((await cli(caisson.env, ['secrets', 'revoke', other.id, 'key'])).status, 0);
      assert.equal(await listed(other), '');
    });

    test(`that is rotated is one whole value or the other to whoever reads it all the time, in every sandbox (${level})`, { timeout: 120_000 }, async (t) => {
      if (!here(t)) return;
      const values = Array.from({ length: 6 }, (_, n) => `${n}`.repeat(1_000 * (n + 1)));
      source('rotating', `${values[0]}\n`);
      await using box = await create({ level, secrets: ['rotating'] });
      await using other = await create({ level, secrets: ['rotating'] });
      const reading = said(box, ['python3', '-c', READ, ...values]);
      const [first] = await box.secrets.list();
      for (const each of values.slice(1)) {
        source('rotating', `${each}\n`);
        const { status, stdout, stderr } = await cli(caisson.env, ['secrets', 'rotate', 'rotating']);
        assert.equal(status, 0, stderr);
        for (const { id } of [box, other]) assert.match(stdout.toString(), new RegExp(`^${id}$`, 'm'));
      }
      assert.equal(await reading, 'True\n');
      assert.equal(await said(other, ['cat', '/run/secrets/rotating']), `${values.at(-1) ?? ''}\n`);
      assert.equal((await box.secrets.list())[0]?.uses, (first?.uses ?? 0) + values.length - 1);
      rmSync(`${sources}/rotating`);
      const refused = await cli(caisson.env, ['secrets', 'rotate', 'rotating']);
      assert.match(refused.stderr, /SECRET_UNAVAILABLE/);
      assert.equal(await said(box, ['cat', '/run/secrets/rotating']), `${values.at(-1) ?? ''}\n`, 'what cannot be had anew stays as it is');
      source('rotating', 'first');
    });

    test(`whose time is over is gone, and the rest stays (${level})`, async (t) => {
      if (!here(t)) return;
      await using box = await create({ level, secrets: ['brief', 'key'] });
      await eventually('it is still there', async () => (await listed(box)) === 'id_ed25519\n');
      await eventually('it is still listed', async () => (await box.secrets.list()).map(({ secret }) => secret).join() === 'key');
    });

    test(`is leased anew to a fork, or not at all, and is what it has left to a sandbox that is put back (${level})`, { timeout: 120_000 }, async (t) => {
      if (!here(t)) return;
      await using box = await create({ level, secrets: ['key', 'db'] });
      const snapshot = await box.snapshot();
      await using heir = await box.fork();
      await using poor = await box.fork({ secrets: [] });
      await using from = await create({ level, from: snapshot.id });
      assert.equal(await listed(heir), '.pgpass\nid_ed25519\n');
      assert.deepEqual([await listed(poor), await listed(from)], ['', '']);
      await box.secrets.revoke('key');
      assert.equal(await listed(heir), '.pgpass\nid_ed25519\n', 'the lease of the fork is its own');
      await box.restore(snapshot);
      assert.equal(await listed(box), '.pgpass\n', 'what was revoked is not there again');
      assert.equal((await box.secrets.list())[0]?.uses, 2, 'the launcher has read it twice');
      await box.secrets.revoke('db');
      assert.equal(await listed(box), '');
    });

    test(`keeps memory from being saved, also when it is gone again, and is not given to what goes on from memory (${level})`, async (t) => {
      if (!here(t)) return;
      await using box = await create({ level, secrets: ['key'] });
      const refusal = { code: 'CHECKPOINT_UNAVAILABLE', message: /had files of secrets may hold what they read/ };
      await assert.rejects(box.snapshot({ memory: true }), refusal);
      await assert.rejects(box.fork({ memory: true, secrets: [] }), refusal);
      await box.secrets.revoke('key');
      await assert.rejects(box.snapshot({ memory: true }), refusal);
      if (level !== 'gvisor') return;
      await using plain = await create({ level });
      const { id } = await plain.snapshot({ memory: true });
      await assert.rejects(create({ level, from: id, memory: true, secrets: ['key'] }), { code: 'CHECKPOINT_UNAVAILABLE', message: /cannot be given files of secrets/ });
      await using again = await create({ level, from: id, memory: true });
      assert.equal((await again.exec(['true'])).exit, 0, 'control: without a secret its memory is saved and goes on');
    });

    test(`is there in a single run, which needs no network, and nothing of it is left (${level})`, async (t) => {
      if (!here(t)) return;
      const { result, stdout } = await caisson.run({ argv: ['sh', '-c', 'cat /run/secrets/id_ed25519; ls /sys/class/net 2>/dev/null; ls /run/secrets'], level, secrets: ['key'] });
      assert.deepEqual([result.exit, result.network, stdout.toString()], [0, null, `${value}id_ed25519\n`]);
      await assert.rejects(create({ level, secrets: ['key', 'gone'] }), { code: 'SECRET_UNAVAILABLE', message: /secret gone cannot be had: the file cannot be opened \(ENOENT\)/ });
      const refused = await caisson.run({ argv: ['true'], level, secrets: ['gone'] });
      assert.match(refused.result.reason, /SECRET_UNAVAILABLE|cannot be had/);
      assert.equal(refused.result.level.delivered, null);
      assert.deepEqual(await settledLeftovers(caisson.paths), []);
    });

    test(`outlives the end of control and of the vault, and can be rotated and revoked then (${level})`, { timeout: 120_000 }, async (t) => {
      if (!here(t)) return;
      source('rotating', 'first');
      await using box = await create({ level, secrets: ['rotating', 'key'] });
      for (const role of ['vault', 'control'] as const satisfies readonly Role[]) {
        const pid = await pidOf(role);
        await kill(caisson, role);
        await eventually(`${role} does not come back`, async () => ![0, pid].includes(await pidOf(role)) && (await box.info()).state === 'running');
        assert.equal(await said(box, ['cat', '/run/secrets/id_ed25519']), value, role);
        source('rotating', role);
        await eventually('it is not rotated', async () => (await cli(caisson.env, ['secrets', 'rotate', 'rotating'])).stdout.toString().includes(box.id) && (await said(box, ['cat', '/run/secrets/rotating'])) === role);
      }
      await box.secrets.revoke('key');
      assert.equal(await listed(box), 'rotating\n');
    });
  }

  test('cannot be leased from the kernel by the sandbox that has it: neither revocation, rotation nor the end of its time waits for it, nor does another sandbox', { timeout: 240_000 }, async () => {
    source('rotating', 'first');
    await using box = await create({ level: 'container', secrets: ['key', 'rotating', 'passing'] });
    await using other = await create({ level: 'container' });
    const within = async (what: string, act: () => Promise<unknown>): Promise<void> => {
      const startMs = performance.now();
      await Promise.all([act(), other.exec(['true'])]);
      await other.exec(['true']);
      const tookMs = Math.round(performance.now() - startMs);
      assert.ok(tookMs < STALLED_MS, `${what} took ${tookMs} ms`);
    };
    await box.spawn(['python3', '-c', LEASE, '/run/secrets/id_ed25519', '/run/secrets/rotating', '/run/secrets/passing']);
    await eventually('it says nothing', async () => (await box.exec(['test', '-e', '/workspace/said'])).exit === 0);
    const asked = (await said(box, ['cat', '/workspace/said'])).split(' ');
    for (const untilMs = Date.now() + 15_000 + STALLED_MS; (await listed(box)).includes('passing'); await within('the end of its time', () => listed(box))) assert.ok(Date.now() < untilMs, 'it is still there');
    for (const each of ['second', 'third', 'fourth']) {
      source('rotating', each);
      await within('a rotation', async () => assert.equal((await cli(caisson.env, ['secrets', 'rotate', 'rotating'])).status, 0));
    }
    for (const secret of ['key', 'rotating']) await within('a revocation', () => box.secrets.revoke(secret));
    assert.equal(await listed(box), '');
    assert.deepEqual(asked, ['granted', 'EAGAIN', 'EAGAIN', 'EAGAIN', 'granted', 'EAGAIN', 'EAGAIN', 'EAGAIN'], 'control: it has leases on files of its own');
  });

  test('goes with the launcher: whenever that is killed, nothing of it is mounted and no sandbox has it', { timeout: 280_000 }, async () => {
    const seed = Number(process.env['CAISSON_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const random = randomFrom(seed);
    for (let trial = 0; trial < 6; trial++) {
      const level = levels[trial % levels.length] ?? 'container';
      const old = await create({ level, secrets: ['key', 'db'] });
      assert.equal(await listed(old), '.pgpass\nid_ed25519\n');
      const creating = Array.from({ length: 3 }, () => create({ level, secrets: ['key', 'db', 'brief'] }).then((box) => box.close(), () => undefined).catch(() => undefined));
      await delay(random() * 150);
      await kill(caisson, 'launcher');
      await Promise.all(creating);
      await worksAgain(connection());
      assert.deepEqual(await settledLeftovers(caisson.paths), [], `seed ${seed}, trial ${trial}`);
      const launcher = await pidOf('launcher');
      assert.ok(!readFileSync(`/proc/${launcher}/mounts`, 'utf8').includes(`${old.id}/secrets`));
    }
    await evidenceIsWhole(caisson);
  });
});

/** What a program says in the mount namespace of a process. */
async function inNamespace(pid: number, argv: readonly string[]): Promise<string> {
  return (await promisify(execFile)('nsenter', [`--mount=/proc/${pid}/ns/mnt`, '--', ...argv])).stdout;
}

function readable(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // it has ended
  }
}
