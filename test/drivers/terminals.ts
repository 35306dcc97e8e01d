import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { SomeLimits } from '@caisson/contract';
import type { Exec, ExecReport, LiveMachine, Machine, ProcessSpec } from '@caisson/runtime';

interface Suite {
  readonly name: string;
  /** Whether real programs run; asked once the driver is open. */
  programs(): boolean;
  withMachine(use: (machine: Machine) => Promise<void>, limits?: SomeLimits): Promise<void>;
}

const SIZE = { cols: 99, rows: 33 };
const NO_PROGRAMS = 'terminals: false, this driver has no kernel';

/** What came out so far, and when enough of it has. */
export class Heard {
  text = '';
  #wake: (() => void) | undefined;

  take(bytes: Buffer): void {
    this.text += bytes.toString('latin1');
    this.#wake?.();
  }

  /** Waits for text that matches. */
  async until(pattern: RegExp, waitMs = 10_000): Promise<string> {
    const until = Date.now() + waitMs;
    while (!pattern.test(this.text)) {
      if (Date.now() > until) throw new Error(`${String(pattern)} is not in ${JSON.stringify(this.text.slice(-2_000))}`);
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), delay(until - Date.now() + 1, undefined, { ref: false })]);
    }
    return this.text;
  }
}

export interface Listened {
  readonly exec: Exec;
  readonly heard: Heard;
}

export function listen(machine: Pick<Machine, 'spawn'>, argv: readonly string[], more: Partial<ProcessSpec> = {}): Listened {
  const heard = new Heard();
  const exec = machine.spawn({ argv, env: ['PATH=/usr/bin:/bin', 'TERM=xterm-256color', 'LC_ALL=C.UTF-8'], cwd: '/tmp', stdin: false, outputBytes: 2 ** 24, ...more }, { onOutput: async (_stream, bytes) => heard.take(bytes) });
  return { exec, heard };
}

export function attach(machine: Pick<Machine, 'spawn'>, argv: readonly string[], size: ProcessSpec['tty'] = SIZE): Listened {
  return listen(machine, argv, { tty: size });
}

export async function soon(exec: Exec, waitMs = 10_000): Promise<ExecReport> {
  const report = await Promise.race([exec.done, delay(waitMs, null, { ref: false })]);
  if (report === null) throw new Error(`the exec goes on after ${waitMs} ms`);
  return report;
}

/** What every driver with programs promises of terminals. */
export function terminalTests({ name, programs, withMachine }: Suite): void {
  const withTerminals = (what: string, use: (machine: Machine) => Promise<void>): void => {
    test(`${name}: ${what}`, async (t: TestContext) => {
      if (!programs()) return t.skip(NO_PROGRAMS);
      await withMachine(use, { pids: 100 });
    });
  };

  withTerminals('a command with a terminal has one of the size asked for, controls it, and all its output is stdout', async (machine) => {
    const { exec, heard } = attach(machine, ['sh', '-c', 'tty; stty size; echo warned >&2; : </dev/tty && test -t 0 && test -t 2 && exit 5']);
    const report = await soon(exec);
    assert.deepEqual(report.end, { kind: 'exited', code: 5 });
    assert.match(heard.text, /^\/dev\/pts\/\d+\r\n33 99\r\nwarned\r\n$/);
    assert.deepEqual(report.written, { stdout: heard.text.length, stderr: 0 });
  });

  withTerminals('a resize is seen by the program, by its signal and by asking', async (machine) => {
    // The size is written past Python's buffer, whose lock the signal may interrupt; a wait that ends by itself misses no signal.
    const ask = 'import os, signal, time\ndone = []\nsignal.signal(signal.SIGWINCH, lambda *a: (os.write(1, repr(os.get_terminal_size()).encode()), done.append(1)))\nprint("ready", flush=True)\nwhile not done: time.sleep(0.01)';
    const { exec, heard } = attach(machine, ['python3', '-c', ask]);
    await heard.until(/ready/);
    exec.resize(50, 20);
    await heard.until(/columns=50, lines=20/);
    assert.deepEqual((await soon(exec)).end, { kind: 'exited', code: 0 });
  });

  withTerminals('Ctrl-C ends the foreground job alone, Ctrl-Z stops it, and the shell lives on', async (machine) => {
    const { exec, heard } = attach(machine, ['bash', '--norc', '--noediting', '-i']);
    const type = (text: string): Promise<void> => exec.writeStdin(Buffer.from(text));
    // A job says that it is in the foreground and then starts no other: dash loses an interrupt that meets its vfork, and gVisor a stop that meets an execve.
    const job = (mark: string): string => `python3 -c "import signal, time; signal.signal(2, signal.SIG_DFL); print('up', ${mark}, sep='-', flush=True); time.sleep(600)"\n`;
    await type(`sleep 601 &\n${job('1 + 1')}`);
    await heard.until(/up-2/);
    await type('\x03');
    await type('echo after-$?\n');
    await heard.until(/after-130/);
    await type(job('1 + 2'));
    await heard.until(/up-3/);
    await type('\x1a');
    await heard.until(/Stopped/);
    await type('jobs; kill %1 %2; exit 7\nexit 7\n');
    await heard.until(/Running +sleep 601/);
    assert.deepEqual((await soon(exec)).end, { kind: 'exited', code: 7 });
  });

  withTerminals('the end of stdin is the end-of-file character, and what was typed before it is read', async (machine) => {
    const { exec, heard } = attach(machine, ['cat']);
    await exec.writeStdin(Buffer.from('typed\n'));
    await exec.endStdin();
    assert.deepEqual((await soon(exec)).end, { kind: 'exited', code: 0 });
    assert.equal(heard.text.replace('^D\b\b', ''), 'typed\r\ntyped\r\n');
  });

  withTerminals('a signal reaches the job in the foreground too, and a kill everything', async (machine) => {
    const { exec, heard } = attach(machine, ['bash', '--norc', '-i', '-c', 'set -m; trap : TERM; sh -c "trap \\"echo caught\\" TERM; echo set; while :; do sleep 0.1; done"']);
    await heard.until(/set\r\n/);
    exec.signal(constants.signals.SIGTERM);
    await heard.until(/caught/);
    exec.kill();
    assert.deepEqual((await soon(exec)).end, { kind: 'signaled', signal: constants.signals.SIGKILL });
  });

  withTerminals('all a program wrote to its terminal before it ended arrives', async (machine) => {
    for (let round = 0; round < 5; round++) {
      const { exec, heard } = attach(machine, ['python3', '-c', 'import os\nos.write(1, b"x" * 30000 + b"last")']);
      await soon(exec);
      assert.equal(heard.text, `${'x'.repeat(30_000)}last`);
    }
  });
}

const SERVER = `
import socket, sys
s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(128)
print('listening', flush=True)
while True:
  c, _ = s.accept()
  got = b''
  while True:
    part = c.recv(65536)
    if not part: break
    got += part
  c.sendall(b'got %d ' % len(got) + got[-5:]); c.close()
`;

/** What every driver that can be dialled promises of ports. */
export function connectionTests({ name, programs, withMachine }: Suite): void {
  test(`${name}: a port on which nobody listens is refused, and so is a port that is none`, (t) => withMachine(async (machine) => {
    if (!('dial' in machine)) return t.skip('this end of the launcher dials nothing');
    const live = machine as LiveMachine;
    for (const [port, errno] of [[9, constants.errno.ECONNREFUSED], [0, constants.errno.EINVAL], [65_536, constants.errno.EINVAL]] as const) {
      const { end } = await soon(live.dial(port, { onOutput: async () => undefined }));
      if (!programs() && port !== 9) continue;
      assert.deepEqual(end, { kind: 'not-started', stage: 'connect', errno });
    }
  }));

  test(`${name}: a connection carries bytes both ways, ends its halves one by one and then itself`, async (t) => {
    if (!programs()) return t.skip('nothing listens where there is no kernel');
    await withMachine(async (machine) => {
      const server = listen(machine, ['python3', '-u', '-c', SERVER, '8123']);
      await server.heard.until(/listening/);
      const bytes = Buffer.alloc(1_000_000, 'abcde');
      const heard = new Heard();
      const ended: string[] = [];
      const exec = (machine as LiveMachine).dial(8123, { onOutput: async (_stream, part) => heard.take(part), onOutputEnd: () => ended.push(heard.text) });
      await exec.writeStdin(bytes);
      await exec.endStdin();
      assert.deepEqual(await soon(exec), { end: { kind: 'exited', code: 0 }, written: { stdout: 17, stderr: 0 } });
      assert.equal(heard.text, 'got 1000000 abcde');
      assert.deepEqual(ended, ['got 1000000 abcde']);
      server.exec.kill();
      await soon(server.exec);
    });
  });
}
