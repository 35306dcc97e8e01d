import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { decodeExit, decodeFailed, LANE, STDIN_WINDOW, u32 } from '@caisson/runtime';
import { buildDir, compile, Conversation, INIT_SOURCES, withLanes } from './given.ts';

const { errno } = constants;
const SH = (script: string): string[] => ['sh', '-c', script];
const MIB = 1024 * 1024;

/** Whether the process runs: one that has ended may still wait to be reaped. */
function runs(pid: string): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

suite('the init program', () => {
  const build = buildDir();
  let binary = '';
  before(async () => {
    binary = await compile(`${build.path}/init`, INIT_SOURCES, ['-O2', '-static', '-fstack-protector-strong', '-D_FORTIFY_SOURCE=2']);
  });
  after(() => build[Symbol.dispose]());

  test('reports what it sees before anything is asked of it', async () => {
    await using host = withLanes(binary);
    const hello = await host.lanes.hello;
    assert.equal(hello.pid, host.pid1.process.pid);
    assert.equal(hello.uid, process.getuid?.() === 0 ? 65_534 : process.getuid?.());
    assert.match(hello.uidMap, /^\d+ \d+ \d+/);
    assert.deepEqual(Object.keys(hello.namespaces), ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts']);
  });

  for (const code of [0, 1, 7, 126, 255]) {
    test(`reports exit status ${code} exactly`, async () => {
      await using pid1 = new Conversation(binary);
      pid1.spawn(1, SH(`exit ${code}`));
      assert.deepEqual(decodeExit((await pid1.frame(LANE.exit, 1)).payload), { signaled: false, value: code, written: [0, 0], started: 1 });
    });
  }

  for (const name of ['SIGTERM', 'SIGKILL', 'SIGSEGV', 'SIGINT'] as const) {
    test(`reports the end by ${name} exactly`, async () => {
      await using pid1 = new Conversation(binary);
      pid1.spawn(1, SH(`kill -${name.slice(3)} $$; sleep 9`));
      const exit = decodeExit((await pid1.frame(LANE.exit, 1)).payload);
      assert.deepEqual(exit, { signaled: true, value: constants.signals[name], written: [0, 0], started: 1 });
    });
  }

  test('signals the whole process group of an exec and no other', async () => {
    await using pid1 = new Conversation(binary);
    for (const exec of [1, 2]) pid1.spawn(exec, SH('sleep 30 & first=$!; sleep 30 & echo $first $! $$; wait'));
    await Promise.all([pid1.frame(LANE.output, 1), pid1.frame(LANE.output, 2)]);
    const [signalled, spared] = [1, 2].map((exec) => pid1.output(exec, 1).toString().trim().split(' '));
    pid1.tell(LANE.signal, 1, u32(constants.signals.SIGTERM));
    assert.equal(decodeExit((await pid1.frame(LANE.exit, 1)).payload).value, constants.signals.SIGTERM);
    for (const untilMs = performance.now() + 10_000; signalled?.some(runs) && performance.now() < untilMs; ) await delay(10);
    assert.deepEqual(signalled?.map(runs), [false, false, false]);
    assert.deepEqual(spared?.map(runs), [true, true, true]);
    pid1.tell(LANE.signal, 2, u32(constants.signals.SIGKILL));
    await pid1.frame(LANE.exit, 2);
  });

  test('a signal that does not exist and an exec that has ended are passed over', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('exit 3'));
    await pid1.frame(LANE.exit, 1);
    pid1.spawn(2, SH('read line; exit 4'), { stdin: true });
    for (const signo of [0, 65, 4_294_967_295]) pid1.tell(LANE.signal, 2, u32(signo));
    pid1.tell(LANE.signal, 1, u32(9));
    pid1.credit(1, 100);
    pid1.tell(LANE.stdin, 1, Buffer.from('late'));
    pid1.tell(LANE.stdin, 2, Buffer.from('line\n'));
    assert.equal(decodeExit((await pid1.frame(LANE.exit, 2)).payload).value, 4);
  });

  test('output that is in the pipes when the program exits is delivered to the last byte, and counted', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('head -c 60000 /dev/zero | tr "\\0" o; head -c 50000 /dev/zero | tr "\\0" e >&2'), { windowBytes: 1_000 });
    for (let credited = 1_000; credited < 240_000; credited += 1_000) {
      await delay(1);
      pid1.credit(1, 1_000);
    }
    const exit = decodeExit((await pid1.frame(LANE.exit, 1)).payload);
    assert.deepEqual(exit.written, [60_000, 50_000]);
    assert.deepEqual(pid1.output(1, 1), Buffer.alloc(60_000, 'o'));
    assert.deepEqual(pid1.output(1, 2), Buffer.alloc(50_000, 'e'));
    assert.equal(pid1.frames.at(-1)?.type, LANE.exit);
  });

  test('a background process that holds the pipes does not keep the exec alive', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('setsid sleep 20 & echo done; exit 5'));
    assert.equal(decodeExit((await pid1.frame(LANE.exit, 1, 10_000)).payload).value, 5);
    assert.equal(pid1.output(1, 1).toString(), 'done\n');
  });

  test('a background process that reads the program\'s own output away does not keep the exec alive', async () => {
    await using pid1 = new Conversation(binary);
    const thief = 'exec 8<>/proc/self/fd/1; sleep 0.3; timeout 1 cat <&8 >/dev/null; sleep 20';
    pid1.spawn(1, SH(`(${thief}) & sleep 0.1; head -c 50000 /dev/zero; exit 6`), { windowBytes: 10 });
    await delay(800);
    pid1.credit(1, MIB);
    assert.equal(decodeExit((await pid1.frame(LANE.exit, 1, 10_000)).payload).value, 6);
  });

  test('no more than the window is outstanding without credit', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2'), { windowBytes: 5_000 });
    const sent = (): number => pid1.output(1, 1).length + pid1.output(1, 2).length;
    let credited = 5_000;
    while (credited < 600_000) {
      await delay(2);
      assert.ok(sent() <= credited, `${sent()} of ${credited}`);
      pid1.credit(1, 35_000);
      credited += 35_000;
    }
    await pid1.frame(LANE.exit, 1);
    assert.equal(sent(), 600_000);
  });

  test('output beyond the cap is read, counted and dropped, each stream for itself', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('head -c 3000000 /dev/zero; printf hello >&2'), { capBytes: 70_001 });
    assert.deepEqual(decodeExit((await pid1.frame(LANE.exit, 1)).payload).written, [3_000_000, 5]);
    assert.equal(pid1.output(1, 1).length, 70_001);
    assert.equal(pid1.output(1, 2).toString(), 'hello');
  });

  test('a cap of nothing and a window of nothing still let the program end', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('head -c 1000000 /dev/zero; exit 9'), { capBytes: 0, windowBytes: 0 });
    assert.deepEqual(decodeExit((await pid1.frame(LANE.exit, 1)).payload), { signaled: false, value: 9, written: [1_000_000, 0], started: 1 });
  });

  test('gives credit for exactly the stdin that the program took', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['wc', '-c'], { stdin: true });
    const credits = (): number => pid1.frames.filter(({ type }) => type === LANE.stdinCredit).reduce((sum, { payload }) => sum + payload.readUInt32LE(0), 0);
    let sent = 0;
    while (sent < 10 * STDIN_WINDOW) {
      while (sent - credits() > 0) await delay(1);
      pid1.tell(LANE.stdin, 1, Buffer.alloc(STDIN_WINDOW, 'x'));
      sent += STDIN_WINDOW;
    }
    pid1.tell(LANE.stdin, 1);
    await pid1.frame(LANE.exit, 1);
    assert.equal(pid1.output(1, 1).toString(), `${sent}\n`);
    assert.equal(credits(), sent);
  });

  test('takes and drops the stdin of a program that has closed it', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('exec <&-; trap "exit 2" TERM; echo closed; sleep 60 & wait'), { stdin: true });
    await pid1.frame(LANE.output, 1);
    const credits = (): number => pid1.frames.filter(({ type }) => type === LANE.stdinCredit).reduce((sum, { payload }) => sum + payload.readUInt32LE(0), 0);
    for (const bytes of [60_000, 60_000]) {
      pid1.tell(LANE.stdin, 1, Buffer.alloc(bytes));
      await delay(50);
    }
    for (const untilMs = Date.now() + 10_000; credits() < 120_000; await delay(5)) assert.ok(Date.now() < untilMs, `${credits()} bytes are credited`);
    pid1.tell(LANE.signal, 1, u32(constants.signals.SIGTERM));
    assert.equal(decodeExit((await pid1.frame(LANE.exit, 1)).payload).value, 2);
    assert.equal(credits(), 120_000);
  });

  test('without stdin the program reads end of file', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['cat']);
    assert.deepEqual(decodeExit((await pid1.frame(LANE.exit, 1)).payload), { signaled: false, value: 0, written: [0, 0], started: 1 });
  });

  test('a frame takes 256 bytes of its window at least, so that single bytes do not fill the memory of their reader', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['python3', '-c', 'import os, time\nfor _ in range(8):\n    os.write(1, b"x"); time.sleep(0.03)'], { windowBytes: 1024 });
    const outputs = (): number => pid1.frames.filter(({ type }) => type === LANE.output).length;
    for (const untilMs = Date.now() + 10_000; outputs() < 4; await delay(5)) assert.ok(Date.now() < untilMs, 'the window is filled');
    await delay(300); // and nothing more comes
    assert.equal(outputs(), 4);
    pid1.tell(LANE.credit, 1, u32(1024));
    await pid1.frame(LANE.exit, 1);
    assert.equal(pid1.output(1, 1).toString(), 'xxxxxxxx');
  });

  test('counts the programs that it has executed, and neither those that could not be nor connections', async () => {
    await using pid1 = new Conversation(binary);
    const startedAfter = async (exec: number): Promise<number> => decodeExit((await pid1.frame(LANE.exit, exec)).payload).started;
    pid1.spawn(1, SH('true; true & true'));
    assert.equal(await startedAfter(1), 1);
    pid1.spawn(2, ['/nothing/of/the/kind']);
    await pid1.frame(LANE.failed, 2);
    pid1.spawn(3, SH('exit 3'));
    assert.equal(await startedAfter(3), 2);
    pid1.spawn(4, ['cat'], { stdin: true });
    pid1.tell(LANE.stdin, 4, Buffer.from('x'));
    await pid1.frame(LANE.output, 4); // only what runs is counted
    pid1.spawn(5, SH('kill -9 $$'));
    assert.equal(await startedAfter(5), 4);
  });

  test('runs 256 execs at once, refuses the 257th and takes another when one has ended', async () => {
    await using pid1 = new Conversation(binary);
    for (let exec = 1; exec <= 257; exec++) pid1.spawn(exec, ['cat'], { stdin: true, windowBytes: 1000 });
    assert.deepEqual(decodeFailed((await pid1.frame(LANE.failed, 257)).payload), { stage: 'setup', errno: errno.EAGAIN });
    pid1.tell(LANE.stdin, 100);
    await pid1.frame(LANE.exit, 100);
    pid1.spawn(300, SH('exit 1'));
    await pid1.frame(LANE.exit, 300);
    for (let exec = 1; exec <= 256; exec++) if (exec !== 100) pid1.tell(LANE.stdin, exec, Buffer.from(`${exec}`));
    for (let exec = 1; exec <= 256; exec++) if (exec !== 100) pid1.tell(LANE.stdin, exec);
    for (let exec = 1; exec <= 256; exec++) await pid1.frame(LANE.exit, exec);
    assert.deepEqual(pid1.frames.filter(({ type }) => type === LANE.failed).map(({ exec }) => exec), [257]);
    assert.equal(pid1.output(256, 1).toString(), '256');
  });

  const FAILURES = [
    ['a program that does not exist', ['/no/such/program'], {}, 'exec', errno.ENOENT],
    ['a name that PATH does not have', ['nosuchprogram'], {}, 'exec', errno.ENOENT],
    ['an empty name', [''], {}, 'exec', errno.ENOENT],
    ['a file without the right to run it', ['/etc/passwd'], {}, 'exec', errno.EACCES],
    ['a directory', ['/usr'], {}, 'exec', errno.EACCES],
    ['a path through a file', ['/etc/passwd/x'], {}, 'exec', errno.ENOTDIR],
    ['a working directory that does not exist', ['true'], { cwd: '/no/such/place' }, 'cwd', errno.ENOENT],
    ['a working directory that is a file', ['true'], { cwd: '/etc/passwd' }, 'cwd', errno.ENOTDIR],
  ] as const;
  for (const [what, argv, spawned, stage, expected] of FAILURES) {
    test(`names the stage and the reason when it cannot start ${what}`, async () => {
      await using pid1 = new Conversation(binary);
      pid1.spawn(1, argv, spawned);
      assert.deepEqual(decodeFailed((await pid1.frame(LANE.failed, 1)).payload), { stage, errno: expected });
      pid1.spawn(1, ['true']);
      await pid1.frame(LANE.exit, 1);
    });
  }

  test('a program gets the three standard descriptors and no other', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['ls', '/proc/self/fd']);
    await pid1.frame(LANE.exit, 1);
    assert.equal(pid1.output(1, 1).toString(), '0\n1\n2\n3\n'); // 3 is what ls reads the folder by
  });

  test('a program starts with every signal at its default and unblocked, in a session of its own', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['sh', '-c', 'grep -E "^(SigBlk|SigIgn|Umask)" /proc/self/status; cut -d" " -f6 /proc/$$/stat; echo $$']);
    await pid1.frame(LANE.exit, 1);
    const [umask, blocked, ignored, session, self] = pid1.output(1, 1).toString().trim().split('\n');
    assert.deepEqual([umask, blocked, ignored], ['Umask:\t0022', 'SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000']);
    assert.equal(session, self);
  });

  for (const lane of ['control', 'data'] as const) {
    test(`the end of the ${lane} lane ends it`, async () => {
      await using pid1 = new Conversation(binary);
      await pid1.frame(LANE.hello, 0);
      pid1.pid1[lane].destroy();
      assert.deepEqual(await pid1.pid1.ended, { code: 0, signal: null });
    });
  }
});
