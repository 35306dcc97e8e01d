import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { decodeExit, decodeFailed, LANE, u32 } from '@caisson/runtime';
import { buildDir, compile, Conversation, INIT_SOURCES } from './given.ts';

const { SIGKILL, SIGTERM } = constants.signals;

/**
 * Whoever holds a write lease on a file (fcntl(2), F_SETLEASE) stops everybody who executes it, as a SIGSTOP between fork
 * and execve would: for as long as the holder likes, up to the 45 seconds of /proc/sys/fs/lease-break-time.
 */
const HOLD = `
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
path = sys.argv[1]
if not os.path.exists(path):
  open(path, 'wb').write(open('/bin/sh', 'rb').read()); os.chmod(path, 0o755)
fd = os.open(path, os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
`;

suite('the start of a program', () => {
  const build = buildDir();
  let binary = '';
  before(async () => {
    binary = await compile(`${build.path}/init`, INIT_SOURCES, ['-O2', '-static']);
    mkdirSync(`${build.path}/open`);
    chmodSync(`${build.path}/open`, 0o777);
  });
  after(() => build[Symbol.dispose]());

  /** Exec 1 holds a program that exec 2 is on its way to. */
  async function held(pid1: Conversation, name: string): Promise<void> {
    const path = `${build.path}/open/${name}`;
    pid1.spawn(1, ['python3', '-c', HOLD, path], { stdin: true });
    await pid1.frame(LANE.output, 1);
    pid1.spawn(2, [path, '-c', 'read line; exit "$line"'], { stdin: true });
  }
  const isTold = (pid1: Conversation, exec: number): boolean => pid1.frames.some((frame) => frame.exec === exec && frame.type !== LANE.stdinCredit);

  test('a program that cannot be executed yet keeps nobody waiting, and starts when it can', async () => {
    await using pid1 = new Conversation(binary);
    await held(pid1, 'waits');
    for (let exec = 3; exec < 8; exec++) {
      pid1.spawn(exec, ['sh', '-c', 'exit 3']);
      assert.equal(decodeExit((await pid1.frame(LANE.exit, exec, 10_000)).payload).value, 3);
    }
    assert.equal(isTold(pid1, 2), false);
    pid1.tell(LANE.stdin, 2, Buffer.from('7\n')); // is there when the program is
    pid1.credit(2, 10);
    pid1.tell(LANE.stdin, 1);
    assert.deepEqual(decodeExit((await pid1.frame(LANE.exit, 2)).payload), { signaled: false, value: 7, written: [0, 0], started: 7 });
  });

  for (const [what, signo, type, payload] of [['signal', SIGTERM, LANE.signal, u32(SIGTERM)], ['kill', SIGKILL, LANE.kill, undefined]] as const) {
    test(`a ${what} reaches a program that is on its way to be executed`, async () => {
      await using pid1 = new Conversation(binary);
      await held(pid1, what);
      await delay(100);
      pid1.tell(type, 2, payload);
      assert.deepEqual(decodeExit((await pid1.frame(LANE.exit, 2, 10_000)).payload), { signaled: true, value: signo, written: [0, 0], started: 2 });
    });
  }

  test('a program on its way to be executed does not hold the pipes of another open', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(3, ['cat'], { stdin: true });
    await held(pid1, 'pipes');
    await delay(100);
    pid1.tell(LANE.stdin, 3);
    assert.equal(decodeExit((await pid1.frame(LANE.exit, 3, 10_000)).payload).value, 0);
    assert.equal(isTold(pid1, 2), false);
  });

  test('many that cannot be executed at once, and many that can, each end as they should', async () => {
    await using pid1 = new Conversation(binary);
    const execs = Array.from({ length: 120 }, (_, index) => index + 1);
    for (const exec of execs) pid1.spawn(exec, exec % 2 === 0 ? ['/no/such/program'] : ['sh', '-c', `exit ${exec}`]);
    for (const exec of execs) {
      if (exec % 2 === 0) assert.deepEqual(decodeFailed((await pid1.frame(LANE.failed, exec)).payload), { stage: 'exec', errno: constants.errno.ENOENT });
      else assert.equal(decodeExit((await pid1.frame(LANE.exit, exec)).payload).value, exec);
    }
  });

  test('256 programs run side by side, one more is refused with EAGAIN, and then there is room again', async () => {
    await using pid1 = new Conversation(binary);
    for (let exec = 1; exec <= 257; exec++) pid1.spawn(exec, ['cat'], { stdin: true });
    assert.deepEqual(decodeFailed((await pid1.frame(LANE.failed, 257)).payload), { stage: 'setup', errno: constants.errno.EAGAIN });
    for (let exec = 1; exec <= 256; exec++) pid1.tell(LANE.stdin, exec);
    for (let exec = 1; exec <= 256; exec++) await pid1.frame(LANE.exit, exec, 10_000);
    pid1.spawn(258, ['true']);
    await pid1.frame(LANE.exit, 258);
  });

  test('a program starts with every signal at its default and none blocked, whatever its launcher ignored', async () => {
    const ignoring = `${build.path}/ignoring`;
    copyFileSync(binary, ignoring);
    await using pid1 = new Conversation(ignoring, ['sh', '-c', 'trap "" INT HUP USR1 PIPE TSTP; exec "$0"']);
    pid1.spawn(1, ['grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status']);
    await pid1.frame(LANE.exit, 1);
    assert.deepEqual([...new Set(pid1.output(1, 1).toString().match(/[0-9a-f]{16}/g))], ['0'.repeat(16)]);
  });

  test('a program has its three descriptors and no other', async () => {
    await using pid1 = new Conversation(binary);
    for (const [exec, tty] of [[1, {}], [2, { tty: { cols: 80, rows: 24 } }]] as const) {
      pid1.spawn(exec, ['ls', '/proc/self/fd'], tty);
      await pid1.frame(LANE.exit, exec);
      assert.deepEqual(pid1.output(exec, 1).toString().split(/\s+/).filter((name) => name !== ''), ['0', '1', '2', '3'], 'and the one by which ls reads');
    }
  });

  test('pid 1 stays small: under 2 MiB after 100 programs', async () => {
    await using pid1 = new Conversation(binary);
    for (let exec = 1; exec <= 100; exec++) {
      pid1.spawn(exec, ['true'], { stdin: true });
      await pid1.frame(LANE.exit, exec);
    }
    const rssKib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid1.pid1.process.pid}/status`, 'utf8'))?.[1]);
    assert.ok(rssKib < 2_048, `${rssKib} KiB`);
  });
});
