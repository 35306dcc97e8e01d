import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { asAgent, ended, freshId, opened, startAsAgent, AGENT, MIB, SKIP, SMALL } from './given.ts';

const ROOMY = { sizeBytes: 128 * MIB, inodes: 4096 } as const;

/** Every file says its own number when it is whole; `log` has a line for each that was made durable before. */
const WRITER = `import os, mmap
n = 0
m = os.open('mapped', os.O_RDWR | os.O_CREAT); os.ftruncate(m, 1 << 20); view = mmap.mmap(m, 1 << 20)
log = os.open('log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
  n += 1
  f = os.open('new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC); os.write(f, (b'%08d' % n) * 2000); os.fsync(f); os.close(f)
  os.rename('new', 'f%d' % (n % 50))
  view[(n * 4096) % (1 << 20)] = n % 256
  os.write(log, b'%08d\\n' % n); os.fsync(log)`;

test('snapshots of a workspace that is written, synced and mapped all the while are whole, and stop nobody', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  await store.create({ id, ...ROOMY });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  const writer = startAsAgent(attached.path, `exec python3 -c "$(cat <<'END'\n${WRITER}\nEND\n)"`);
  while (lastLogged(attached.path) < 5) await sleep(10);
  for (let i = 0; i < 10; i++) {
    const [layer, fork] = [freshId('lay'), freshId('wsp')];
    const before = lastLogged(attached.path);
    await store.snapshot(id, { layer });
    await store.fork(layer, { id: fork, passing: true });
    const seen = await store.attach(fork, { hostUid: AGENT, sandbox: 'sbx-two' });
    assert.ok(lastLogged(seen.path) >= before, 'what was synced before the snapshot is in it');
    for (const name of readdirSync(seen.path).filter((each) => /^f\d+$/.test(each))) {
      const text = readFileSync(`${seen.path}/${name}`, 'latin1');
      assert.equal(text, text.slice(0, 8).repeat(2000), `${name} is whole`);
    }
    assert.equal(asAgent(seen.path, 'echo more >more && sync && cat more').stdout, 'more\n');
    await seen.detach();
    await store.remove(fork);
  }
  const before = lastLogged(attached.path);
  while (lastLogged(attached.path) === before) await sleep(10);
  writer.kill('SIGKILL');
  await ended(writer);
  await attached.detach();
});

function lastLogged(path: string): number {
  try {
    return Number(readFileSync(`${path}/log`, 'latin1').trim().split('\n').at(-1));
  } catch {
    return 0;
  }
}

test('cycles of create, attach, detach and remove leave loop devices, mounts, files and descriptors as they were', { ...SKIP, timeout: 600_000 }, async () => {
  await using given = await opened();
  const { store, options } = given;
  const cycle = async (): Promise<void> => {
    const id = freshId('wsp');
    await store.create({ id, ...SMALL, passing: true });
    const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
    await attached.detach();
    await store.remove(id);
  };
  const now = (): object => ({
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    descriptors: readdirSync('/proc/self/fd').length,
    files: [...readdirSync(`${options.dir}/pool/images`), ...readdirSync(`${options.dir}/pool/records`), ...readdirSync(options.mounts)],
    loops: readdirSync('/sys/block').filter((name) => backing(name).startsWith(options.dir)).length,
  });
  await cycle();
  const before = now();
  for (let i = 0; i < Number(process.env['CAISSON_TEST_CYCLES'] ?? 25); i++) await cycle();
  assert.deepEqual(now(), before);
});

function backing(device: string): string {
  try {
    return readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8');
  } catch {
    return '';
  }
}

test('a workspace whose files are still held is not given away, and is when they are let go', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  const holder = startAsAgent(attached.path, 'exec sleep 60 >held');
  while (!readdirSync(attached.path).includes('held')) await sleep(10);
  const detached = attached.detach();
  await sleep(200);
  assert.equal(store.get(id)?.attachedTo, 'sbx-one');
  holder.kill('SIGKILL');
  await detached;
  assert.equal(store.get(id)?.attachedTo, null);
});
