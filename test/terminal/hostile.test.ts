import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { hideUnifiedCgroup, type LiveMachine } from '@caisson/runtime';
import { againInOwnMounts, IS_ROOT, needsOwnMounts, openGround, readHost, specFor, type Ground } from '../drivers/given.ts';
import { attach, listen, soon } from '../drivers/terminals.ts';

const PY = (script: string): string[] => ['python3', '-c', script];

/** Echo and newlines make the kernel write more than was written to it. */
const FLOOD = `
import os, termios, time
end = time.time() + 3
for _ in range(24):
  if os.fork() == 0:
    try: master, slave = os.openpty()
    except OSError: os._exit(0)
    os.set_blocking(master, False)
    while time.time() < end:
      try:
        while True: os.write(master, b'\\n' * 4096)
      except BlockingIOError: pass
      termios.tcflush(slave, termios.TCIFLUSH)
      try:
        while True: os.read(master, 65536)
      except BlockingIOError: pass
      time.sleep(0.0002)
    os._exit(0)
time.sleep(3)
`;

const MANY = `
import os
held = []
try:
  while len(held) < 1000: held.append(os.openpty())
except OSError as error: print(len(held), error.errno)
`;

/** TIOCSTI types into the terminal; TIOCLINUX pastes on a console, and no terminal here is one. */
const TYPE = `
import ctypes, ctypes.util, fcntl, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for number in (0x5412, 0x5412 + (1 << 32), 0x541c):
  ctypes.set_errno(0)
  result = libc.syscall(16, 0, ctypes.c_ulong(number), ctypes.c_char_p(b'\\x03'))
  print(result, ctypes.get_errno(), flush=True)
`;

/** CPU time of the kernel's worker threads, in milliseconds. */
function workersMs(): number {
  const spent = (pid: string): number => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')')).split(' ');
      return stat.includes('(kworker') ? 10 * (Number(fields[12]) + Number(fields[13])) : 0;
    } catch {
      return 0;
    }
  };
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).reduce((sum, pid) => sum + spent(pid), 0);
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) suite('terminals of an attacker', () => test('cost nobody else much', (t) => t.skip('needs root: cgroups cannot be made without it')));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const name of ['crun', 'runc', 'runsc']) {
    const skip = runtimes.some((runtime) => runtime.name === name) ? false : `${name} is not installed`;
    suite(`terminals of an attacker under ${name}`, { skip }, () => {
      let ground: Ground;
      before(async () => {
        ground = await openGround(name);
      });
      after(() => ground[Symbol.asyncDispose]());

      async function withMachine(terminals: boolean, use: (machine: LiveMachine) => Promise<void>): Promise<void> {
        const machine = await ground.driver.launch(specFor(ground.host, { pids: 100 }, 'host', terminals), { signal: new AbortController().signal });
        try {
          await use(machine);
        } finally {
          await machine.close();
          await ground.driver.settled();
        }
      }

      test(`${name}: terminals are few on a kernel that others share, closed ones can be had again, and another sandbox has its own`, () => withMachine(true, async (machine) => {
        for (let round = 0; round < 3; round++) {
          const { exec, heard } = listen(machine, PY(MANY));
          await soon(exec);
          if (name === 'runsc') assert.match(heard.text, /^\d+ 24\n$/, 'the limit of open files alone holds it');
          else assert.equal(heard.text, '16 28\n');
        }
        const holder = listen(machine, PY(`${MANY}\nimport sys, time; sys.stdout.flush(); time.sleep(60)`));
        await holder.heard.until(/\d+ \d+\n/);
        await withMachine(true, async (other) => {
          const { exec, heard } = attach(other, ['tty']);
          assert.deepEqual((await soon(exec)).end, { kind: 'exited', code: 0 });
          assert.match(heard.text, /^\/dev\/pts\/\d+\r\n$/);
        });
        if (name !== 'runsc') assert.deepEqual((await soon(attach(machine, ['true']).exec)).end, { kind: 'not-started', stage: 'setup', errno: 28 });
        assert.deepEqual((await soon(listen(machine, ['true']).exec)).end, { kind: 'exited', code: 0 });
      }));

      test(`${name}: no program types into the terminal it shares with others`, () => withMachine(true, async (machine) => {
        const { exec, heard } = attach(machine, PY(TYPE));
        assert.deepEqual((await soon(exec)).end, { kind: 'exited', code: 0 });
        const answers = heard.text.trim().split('\r\n').map((line) => line.split(' ').map(Number));
        assert.deepEqual(answers.slice(0, 2), [[-1, 1], [-1, 1]], 'EPERM by the filter');
        assert.ok(answers[2]?.[0] === -1 && [1, 22, 25].includes(answers[2][1] ?? 0), String(answers[2]));
      }));

      test(`${name}: a flood of its terminals ends with the sandbox, and what it costs the host beyond its limits is bounded by what it spends itself`, () => withMachine(true, async (machine) => {
        const flood = listen(machine, PY(FLOOD));
        await delay(700);
        const [usedBefore, workedBefore] = [(await machine.usage()).cpuMs ?? 0, workersMs()];
        await delay(2_000);
        const usedMs = ((await machine.usage()).cpuMs ?? 0) - usedBefore;
        const workedMs = workersMs() - workedBefore;
        assert.ok(usedMs > 100, `it floods: ${usedMs} ms`);
        assert.ok(workedMs < 5 * usedMs + 500, `${workedMs} ms of kernel threads for ${usedMs} ms of its own`);
        const start = performance.now();
        await machine.close();
        assert.ok(performance.now() - start < 5_000);
        await soon(flood.exec);
        for (let windows = 0; ; windows++) {
          const since = workersMs();
          await delay(300);
          if (workersMs() - since < 100) break;
          assert.ok(windows < 10, 'the kernel goes on with its work');
        }
      }));

      if (name !== 'runsc') {
        test(`${name}: a sandbox made without terminals gives none, to a command or to a program`, () => withMachine(false, async (machine) => {
          assert.deepEqual((await soon(attach(machine, ['true']).exec)).end, { kind: 'not-started', stage: 'setup', errno: 2 });
          const { exec, heard } = listen(machine, PY(MANY));
          await soon(exec);
          assert.equal(heard.text, '0 2\n');
        }));
      }
    });
  }
}
