import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { decodeExit, LANE, u32 } from '@caisson/runtime';
import { buildDir, compile, Conversation, INIT_SOURCES } from './given.ts';

const SH = (script: string): string[] => ['sh', '-c', script];
const PY = (script: string): string[] => ['python3', '-c', script];
const tty = { cols: 80, rows: 24 };
const { SIGKILL } = constants.signals;

function runs(pid: string): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function until(pid1: Conversation, exec: number, pattern: RegExp): Promise<string> {
  for (let waits = 0; ; waits++) {
    const text = pid1.output(exec, 1).toString();
    if (pattern.test(text)) return text;
    assert.ok(waits < 500, `${String(pattern)} is not in ${JSON.stringify(text)}`);
    await delay(10);
  }
}

suite('a terminal that pid 1 gives', () => {
  const build = buildDir();
  let binary = '';
  before(async () => {
    binary = await compile(`${build.path}/init`, INIT_SOURCES, ['-O2', '-static']);
  });
  after(() => build[Symbol.dispose]());

  const exitOf = async (pid1: Conversation, exec: number, waitMs = 5_000): Promise<ReturnType<typeof decodeExit>> => decodeExit((await pid1.frame(LANE.exit, exec, waitMs)).payload);

  test('outlives a program\'s own descriptors of it: what it writes after it has opened it again arrives', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, PY('import os, time\nfor fd in (0, 1, 2): os.close(fd)\ntime.sleep(0.2)\nfd = os.open("/dev/tty", os.O_RDWR)\nos.write(fd, b"again")\nos.close(fd)\ntime.sleep(0.1)'), { tty });
    assert.deepEqual(await exitOf(pid1, 1), { signaled: false, value: 0, written: [5, 0], started: 1 });
    assert.equal(pid1.output(1, 1).toString(), 'again');
  });

  test('of a program that has closed it costs pid 1 no work', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, PY('import os, time\nfor fd in (0, 1, 2): os.close(fd)\ntime.sleep(1)'), { tty });
    const ticks = (): number => Number(readFileSync(`/proc/${pid1.pid1.process.pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11, 13).reduce((sum, count) => sum + Number(count), 0));
    await delay(200);
    const ticksBefore = ticks();
    await delay(500);
    assert.ok(ticks() - ticksBefore <= 2, `${ticks() - ticksBefore} ticks of 10 ms`);
    await exitOf(pid1, 1);
  });

  test('ends with its program, whoever else still holds it, and they lose it', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('trap "" HUP; (while :; do echo noise || exit; sleep 0.01; done) & echo pid $!; exit 5'), { tty });
    assert.equal((await exitOf(pid1, 1, 10_000)).value, 5);
    const background = /pid (\d+)/.exec(pid1.output(1, 1).toString())?.[1] ?? '';
    for (let waits = 0; runs(background); waits++) {
      assert.ok(waits < 200, 'it goes on writing to nobody');
      await delay(10);
    }
  });

  test('delivers what a background program floods it with only until its own program has ended', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, SH('trap "" HUP; yes flood & exec sleep 0.3'), { tty, capBytes: 2 ** 40, windowBytes: 2 ** 31 });
    const { value, written } = await exitOf(pid1, 1, 10_000);
    assert.equal(value, 0);
    assert.ok(written[0] > 0);
    assert.equal(pid1.output(1, 1).length, written[0]);
  });

  test('holds a program that writes without end to its window, and a kill ends it', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['yes'], { tty, windowBytes: 10_000, capBytes: 2 ** 40 });
    // A piece counts as 256 bytes at least (LANE_FRAME_COST): how many bytes fill the window depends on the pieces in which they came.
    const spent = (): number => pid1.frames.filter(({ type }) => type === LANE.output).reduce((sum, { payload }) => sum + Math.max(256, payload.length), 0);
    for (let waits = 0; spent() <= 10_000 - 256; waits++) {
      assert.ok(waits < 500, 'its window is filled');
      await delay(10);
    }
    const filled = spent();
    assert.ok(filled <= 10_000, 'and nothing comes past it');
    await delay(200);
    assert.equal(spent(), filled, 'and nothing comes after it');
    pid1.tell(LANE.kill, 1);
    await delay(100);
    pid1.credit(1, 1_000_000);
    const { signaled, value, written } = await exitOf(pid1, 1);
    assert.deepEqual([signaled, value, written[0]], [true, SIGKILL, pid1.output(1, 1).length]);
    assert.ok(written[0] <= 10_000 + 160 * 1024);
  });

  test('a kill reaches jobs in groups of their own that hold the terminal, and forks that race it', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['bash', '--norc', '-c', 'set -m; sleep 601 & sleep 602 & (while :; do (sleep 603 &); sleep 0.001; done) & echo jobs $(jobs -p) $$; wait'], { tty });
    const pids = /jobs ([\d ]+)/.exec(await until(pid1, 1, /jobs [\d ]+\r\n/))?.[1]?.split(' ') ?? [];
    assert.equal(pids.length, 4);
    await delay(100);
    pid1.tell(LANE.kill, 1);
    assert.deepEqual([(await exitOf(pid1, 1)).value], [SIGKILL]);
    const session = pids.at(-1);
    for (let [exec, running] = [2, '']; running !== '0'; exec++) {
      await delay(50);
      pid1.spawn(exec, SH(`cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | awk '$4 == ${session} && $1 != "Z"' | wc -l`));
      await exitOf(pid1, exec);
      running = pid1.output(exec, 1).toString().trim();
      assert.ok(running === '0' || exec < 50, `${running} of the session run`);
    }
  });

  test('the end of input waits for what was typed before it, and a program that reads raw gets no character for it', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['wc', '-c'], { tty });
    for (let line = 0; line < 30; line++) pid1.tell(LANE.stdin, 1, Buffer.from(`${'x'.repeat(1_999)}\n`));
    pid1.tell(LANE.stdin, 1);
    assert.match(await until(pid1, 1, /60000\r\n$/), /60000/);
    await exitOf(pid1, 1);
    pid1.spawn(2, PY('import os, select, tty\ntty.setraw(0)\nos.write(1, b"raw")\nos.read(0, 9)\nprint(select.select([0], [], [], 0.3)[0], end="")'), { tty });
    await until(pid1, 2, /raw/);
    pid1.tell(LANE.stdin, 2, Buffer.from('k'));
    pid1.tell(LANE.stdin, 2);
    await exitOf(pid1, 2);
    assert.match(pid1.output(2, 1).toString(), /raw\[\]$/);
  });

  test('credits exactly what was typed, not the end of it', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['cat'], { tty });
    pid1.tell(LANE.stdin, 1, Buffer.from('four\n'));
    pid1.tell(LANE.stdin, 1);
    await exitOf(pid1, 1);
    const credited = pid1.frames.filter(({ type }) => type === LANE.stdinCredit).reduce((sum, { payload }) => sum + payload.readUInt32LE(0), 0);
    assert.equal(credited, 5);
  });

  test('a signal to it reaches the leader once, and nothing of another exec', async () => {
    await using pid1 = new Conversation(binary);
    const count = 'import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *a: print("one", flush=True))\nprint("ready", flush=True)\nsys.stdin.readline()';
    pid1.spawn(1, PY(count), { tty });
    pid1.spawn(2, PY(count), { tty });
    await Promise.all([until(pid1, 1, /ready/), until(pid1, 2, /ready/)]);
    pid1.tell(LANE.signal, 1, u32(constants.signals.SIGUSR1));
    await until(pid1, 1, /one/);
    await delay(300); // and no other comes
    for (const exec of [1, 2]) pid1.tell(LANE.stdin, exec, Buffer.from('\n')); // which is echoed
    await Promise.all([exitOf(pid1, 1), exitOf(pid1, 2)]);
    assert.deepEqual([1, 2].map((exec) => pid1.output(exec, 1).toString()), ['ready\r\none\r\n\r\n', 'ready\r\n\r\n']);
  });

  test('a size that comes after the program has ended is passed over', async () => {
    await using pid1 = new Conversation(binary);
    pid1.spawn(1, ['true'], { tty });
    await exitOf(pid1, 1);
    pid1.tell(LANE.resize, 1, u32(0x0010_0010));
    pid1.tell(LANE.kill, 1);
    pid1.spawn(2, ['true']);
    assert.equal((await exitOf(pid1, 2)).value, 0);
  });
});
