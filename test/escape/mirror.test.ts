import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Level } from '@caisson/contract';
import { auditView } from '@caisson/projection';
import { readEntries } from '@caisson/evidence';
import { Sandbox } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { AT, mirrored } from './mirrored.ts';


/** Each attack on the mirror from inside must fail, and print what it failed with. */
const ATTACKS = `
import os, ctypes, fcntl
p = '${AT}'
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags):
    if libc.mount(source, target, kind, flags, None) != 0: raise OSError(ctypes.get_errno(), 'mount')
def umount():
    if libc.umount2(p.encode(), 2) != 0: raise OSError(ctypes.get_errno(), 'umount')
def replace():
    open('/workspace/own', 'w').write('x'); os.rename('/workspace/own', p)
def link():
    os.link(p, '/workspace/second'); open('/workspace/second', 'w')
attacks = {
  'write': lambda: open(p, 'w'), 'append': lambda: open(p, 'a'), 'truncate': lambda: os.truncate(p, 0), 'remove': lambda: os.unlink(p),
  'rename': lambda: os.rename(p, '/workspace/away'), 'replace': replace, 'chmod': lambda: os.chmod(p, 0o666), 'chown': lambda: os.chown(p, os.getuid(), -1),
  'utime': lambda: os.utime(p), 'xattr': lambda: os.setxattr(p, 'user.a', b'1'), 'link': link, 'folder': lambda: os.rename('/workspace', '/gone'),
  'fill': lambda: os.posix_fallocate(os.open(p, os.O_RDWR), 0, 1 << 20),
  'bind': lambda: mount(b'/tmp', p.encode(), b'', 4096), 'remount': lambda: mount(b'', p.encode(), b'', 4096 | 32), 'unmount': umount,
  'through proc': lambda: open('/proc/self/fd/%d' % os.open(p, os.O_RDONLY), 'w'),
}
for name, attack in attacks.items():
    try: attack(); print('HELD', name)
    except OSError as error: pass
print('over')
`;

describe('a mirror of records', { skip: IS_ROOT ? false : NEEDS_ROOT, concurrency: false }, () => {
  const { caisson, create } = mirrored();

  const at = (level: Level, body: (level: Level) => Promise<void>) => async (t: TestContext): Promise<void> => {
    if (!(await (await caisson()).levels()).includes(level)) return t.skip(`level ${level} is not available here`);
    await body(level);
  };

  const holdsItsOwn = async (level: Level): Promise<void> => {
    await using one = await create({ level });
    await using other = await create({ level });
    await other.exec(['true']);
    for (let done = 0; done < 3; done++) await one.exec(['true']);
    assert.deepEqual(await seenBy(one, 4), await expected(one.id, 4));
    await kill(await caisson(), ['control', 'mirror']);
    await one.exec(['true']);
    assert.deepEqual(await seenBy(one, 6), await expected(one.id, 6));
    assert.equal((await seenBy(other, 2)).every((line) => line.includes(other.id) && !line.includes(one.id)), true);
  };
  test('holds the records of its own sandbox alone, in order and once, and so after control and its writer were killed (container)', at('container', holdsItsOwn));
  test('holds the records of its own sandbox alone, in order and once, and so after control and its writer were killed (gvisor)', at('gvisor', holdsItsOwn));

  const cannotBeChanged = async (level: Level): Promise<void> => {
    await using box = await create({ level });
    const { stdout } = await box.exec(['python3', '-c', ATTACKS]);
    assert.equal(stdout.trimEnd(), 'over');
    assert.deepEqual(await seenBy(box, 2), await expected(box.id, 2));
  };
  test('can be neither written, removed, replaced, covered nor filled from inside (container)', at('container', cannotBeChanged));
  test('can be neither written, removed, replaced, covered nor filled from inside (gvisor)', at('gvisor', cannotBeChanged));

  test('cannot be changed by the files of the tenant, and is in no list, difference or archive', async () => {
    await using box = await create();
    await box.exec(['true']);
    await seenBy(box, 2);
    await assert.rejects(box.files.write(AT, 'forged'), { code: 'FILE_DENIED' });
    await assert.rejects(box.files.remove(AT), { code: 'FILE_DENIED' });
    await assert.rejects(box.files.move(AT, '/workspace/away'), { code: 'FILE_DENIED' });
    await box.files.write('/workspace/mine', 'x');
    await assert.rejects(box.files.move('/workspace/mine', AT, { replace: true }), { code: 'FILE_DENIED' });
    assert.deepEqual((await Array.fromAsync(box.files.list('/workspace'))).map(({ path }) => path), ['/workspace/mine']);
    const { changes } = await box.changes();
    assert.deepEqual(changes.map(({ path }) => path), ['mine']);
    assert.deepEqual((await seenBy(box, 3)).slice(0, 3), await expected(box.id, 3));
  });

  test('AUDIT_MIRROR_TAKEN: what has its name in a workspace stays as it is, a link that leads outside too', async () => {
    const name = 'taken';
    for (const make of [['sh', '-c', 'echo mine > audit.jsonl'], ['sh', '-c', 'ln -sf /etc/passwd audit.jsonl'], ['sh', '-c', 'rm audit.jsonl; mkdir audit.jsonl']]) {
      {
        await using box = await create({ workspace: name, auditMirror: false });
        assert.equal((await box.exec(make)).exit, 0);
      }
      await assert.rejects(create({ workspace: name }), { code: 'AUDIT_MIRROR_TAKEN' });
    }
    await using box = await create({ workspace: name, auditMirror: false });
    assert.equal((await box.exec(['test', '-d', AT])).exit, 0);
  });

  test('of a fork is its own, and a sandbox that asked for none has nothing of one', async () => {
    await using box = await create({ workspace: 'forked' });
    await box.exec(['true']);
    await using fork = await box.fork();
    assert.deepEqual(await seenBy(fork, 1), await expected(fork.id, 1));
    const { id } = await box.snapshot();
    await using plain = await create({ from: id, auditMirror: false });
    assert.equal((await plain.exec(['ls', '-A', '/workspace'])).stdout, '');
  });

  test('is whole again in a sandbox that was put back, and goes on in one that was paused', async () => {
    await using box = await create();
    const { id } = await box.snapshot();
    await box.exec(['true']);
    await box.restore(id);
    await box.pause();
    await box.resume();
    assert.deepEqual(await seenBy(box, 2), await expected(box.id, 2));
  });

  test('of a call has that call', async () => {
    const ran = await (await caisson()).run({ argv: ['sh', '-c', `until [ -s ${AT} ]; do sleep 0.05; done; cat ${AT}; echo x > ${AT} || echo held`], auditMirror: true });
    const [line, held] = ran.stdout.toString('utf8').trimEnd().split('\n');
    assert.deepEqual([line], await expected(ran.result.id, 1));
    assert.equal(held, 'held');
  });

  test('AUDIT_MIRROR_REFUSED: a call at level gvisor has no place for one, and does not run', async (t) => {
    if (!(await (await caisson()).levels()).includes('gvisor')) return t.skip('level gvisor is not available here');
    const { result } = await (await caisson()).run({ argv: ['true'], level: 'gvisor', auditMirror: true });
    assert.equal('code' in result.ending ? result.ending.code : '', 'AUDIT_MIRROR_REFUSED');
  });

  /** Asks from inside until there are so many lines; each question is an exec, and so a line more. */
  async function seenBy(box: Sandbox, least: number): Promise<readonly string[]> {
    const { stdout } = await box.exec(['sh', '-c', `for i in $(seq 200); do [ $(wc -l < ${AT}) -ge ${least} ] && break; sleep 0.05; done; cat ${AT}`]);
    return stdout.trimEnd().split('\n').slice(0, least);
  }

  async function expected(sandbox: string, count: number): Promise<readonly string[]> {
    const lines: string[] = [];
    for await (const { entry } of readEntries((await caisson()).paths.evidence)) {
      const record = auditView(entry);
      if (record?.sandbox_job === sandbox) lines.push(JSON.stringify(record));
    }
    return lines.slice(0, count);
  }
});

test('AUDIT_MIRROR_REFUSED: where the policy has no mirrors none is had', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  await using caisson = await startCaisson();
  await assert.rejects(Sandbox.create({ auditMirror: true }, { connection: { socket: caisson.paths.apiSocket } }), { code: 'AUDIT_MIRROR_REFUSED' });
  assert.equal((await caisson.status()).processes.some(({ name }) => name === 'mirror'), false);
});

/** Ends processes of an instance at once, and resolves when others have taken their places. */
async function kill(caisson: Caisson, names: readonly string[]): Promise<void> {
  const killed = (await caisson.status()).processes.filter(({ name }) => names.includes(name));
  for (const { pid } of killed) process.kill(pid, 'SIGKILL');
  for (const until = Date.now() + 20_000; Date.now() < until; await delay(50)) {
    const now = await caisson.status();
    const isBack = killed.every(({ name, pid }) => now.processes.some((other) => other.name === name && other.pid !== pid));
    if (isBack && await caisson.control().then(() => true, () => false)) return;
  }
}
