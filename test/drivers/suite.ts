import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { IsolationSpec, RuntimeFacts, SomeLimits } from '@caisson/contract';
import type { Exec, ExecReport, LaunchOptions, Machine, OutputStream, ProcessSpec } from '@caisson/runtime';
import { leastOf } from '../least.ts';
import { connectionTests, terminalTests } from './terminals.ts';

const MIB = 1024 * 1024;

/** A driver under the suite, and how to see what it left. */
export interface Subject extends AsyncDisposable {
  readonly driver: { launch(spec: IsolationSpec, options: LaunchOptions): Promise<Machine>; settled(): Promise<void> };
  /** The spec of a sandbox with terminals. */
  spec(limits?: SomeLimits): IsolationSpec;
  /** Whether real programs run. A driver without a kernel has nothing that opens a terminal or listens on a port. */
  readonly programs?: boolean;
  /** Who runs inside, as the facts of its runtime say. Default: the user of the spec. */
  readonly userInside?: RuntimeFacts['userInside'];
  /** What is left of sandboxes; empty when all is clean. */
  left(): readonly string[];
}

/** The commands of the suite. A driver without a kernel plays them by script. */
export const COMMANDS = {
  exit: (code: number): string[] => ['sh', '-c', `exit ${code}`],
  print: (text: string): string[] => ['sh', '-c', `printf %s ${text}`],
  warn: (text: string): string[] => ['sh', '-c', `printf %s ${text} >&2`],
  flood: (bytes: number): string[] => ['head', '-c', `${bytes}`, '/dev/zero'],
  echo: ['cat'],
  hang: ['sleep', '600'],
  die: ['sh', '-c', 'kill -USR1 $$; sleep 9'],
  missing: ['nosuchprogram'],
  /** Three sleepers of one session, each in a process group of its own. */
  brood: ['sh', '-c', 'set -m; sleep 600 & sleep 600 & sleep 600'],
  names: ['sh', '-c', 'cat /proc/[0-9]*/comm'],
} as const;

interface Ran extends ExecReport {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

const commandOf = (argv: readonly string[], more: Partial<ProcessSpec> = {}): ProcessSpec => ({
  argv, env: ['PATH=/usr/bin:/bin'], cwd: '/workspace', stdin: false, outputBytes: 16 * MIB, ...more,
});

/** Runs one command to its end and keeps what it wrote. */
export async function runIn(machine: Machine, argv: readonly string[], more: Partial<ProcessSpec> = {}, use?: (exec: Exec) => Promise<void>): Promise<Ran> {
  const chunks: Record<OutputStream, Buffer[]> = { stdout: [], stderr: [] };
  const exec = machine.spawn(commandOf(argv, more), { onOutput: async (stream, bytes) => void chunks[stream].push(bytes) });
  await use?.(exec);
  const report = await Promise.race([exec.done, delay(90_000, null, { ref: false })]);
  if (report === null) throw new Error(`${argv.join(' ')} hangs`);
  return { ...report, stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr) };
}

/** What every driver promises. Each test gets one that is open and clean. */
export function driverSuite(name: string, open: () => Promise<Subject>, skip: string | false = false): void {
  suite(`driver ${name}`, { skip }, () => {
    let subject: Subject;
    before(async () => {
      if (skip === false) subject = await open();
    });
    after(() => subject?.[Symbol.asyncDispose]());

    const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });
    async function withMachine(use: (machine: Machine) => Promise<void>, limits: SomeLimits = {}): Promise<void> {
      const machine = await subject.driver.launch(subject.spec(limits), never());
      try {
        await use(machine);
      } finally {
        await machine.close().catch(() => undefined);
        await subject.driver.settled();
      }
      assert.deepEqual(subject.left(), []);
    }

    test(`${name}: a sandbox says what it is before anything runs in it`, () => withMachine(async ({ hello, runtime, user }) => {
      assert.deepEqual([hello.pid, hello.uid, hello.gid, hello.hostname], [1, user.uid, user.gid, 'caisson']);
      if (subject.userInside === 'own') assert.ok(user.uid > 0 && user.uid < 65_534 && user.gid === user.uid, `${user.uid}:${user.gid}`);
      else assert.deepEqual(user, { uid: 1000, gid: 1000 });
      assert.deepEqual([hello.capabilities, hello.noNewPrivileges, hello.seccomp, hello.rootReadOnly, hello.otherProcesses], ['0', true, 2, true, 0]);
      // On the host's kernel what it counts by user is the sandbox's own, or bounded.
      assert.ok(hello.namespaceOwner === 0 || hello.inotifyInstances === 16 || /gvisor/.test(hello.kernel), `owner ${hello.namespaceOwner}, ${hello.inotifyInstances} instances`);
      assert.deepEqual(hello.interfaces, ['lo']);
      assert.notEqual(runtime, '');
    }));

    test(`${name}: an exec ends with its own exit status, signal or reason why it did not start`, () => withMachine(async (machine) => {
      for (const code of [0, 7, 255]) assert.deepEqual((await runIn(machine, COMMANDS.exit(code))).end, { kind: 'exited', code });
      assert.deepEqual((await runIn(machine, COMMANDS.die)).end, { kind: 'signaled', signal: constants.signals.SIGUSR1 });
      assert.deepEqual((await runIn(machine, COMMANDS.missing)).end, { kind: 'not-started', stage: 'exec', errno: constants.errno.ENOENT });
      assert.deepEqual((await runIn(machine, COMMANDS.exit(0), { cwd: '/no/such/place' })).end, { kind: 'not-started', stage: 'cwd', errno: constants.errno.ENOENT });
      assert.deepEqual((await runIn(machine, COMMANDS.exit(3))).end, { kind: 'exited', code: 3 });
    }));

    test(`${name}: stdout and stderr come apart and are counted`, () => withMachine(async (machine) => {
      const out = await runIn(machine, COMMANDS.print('to-out'));
      const err = await runIn(machine, COMMANDS.warn('to-err'));
      assert.deepEqual([out.stdout.toString(), out.stderr.toString(), out.written], ['to-out', '', { stdout: 6, stderr: 0 }]);
      assert.deepEqual([err.stdout.toString(), err.stderr.toString(), err.written], ['', 'to-err', { stdout: 0, stderr: 6 }]);
    }));

    test(`${name}: thirty execs side by side each get their own output and end`, () => withMachine(async (machine) => {
      const numbers = Array.from({ length: 30 }, (_, index) => index);
      const ran = await Promise.all(numbers.map((number) => runIn(machine, COMMANDS.print(`number-${number}`))));
      assert.deepEqual(ran.map(({ stdout }) => stdout.toString()), numbers.map((number) => `number-${number}`));
      assert.ok(ran.every(({ end }) => end.kind === 'exited' && end.code === 0));
    }, { pids: 200 }));

    test(`${name}: a MiB of stdin comes back unchanged`, () => withMachine(async (machine) => {
      const bytes = Buffer.from(Array.from({ length: MIB }, (_, index) => (index * 7 + (index >> 8)) % 256));
      const ran = await runIn(machine, COMMANDS.echo, { stdin: true }, async (exec) => {
        await exec.writeStdin(bytes.subarray(0, 300_000));
        await exec.writeStdin(bytes.subarray(300_000));
        await exec.endStdin();
      });
      assert.equal(digest(ran.stdout), digest(bytes));
      assert.deepEqual([ran.end, ran.written], [{ kind: 'exited', code: 0 }, { stdout: MIB, stderr: 0 }]);
    }));

    test(`${name}: without stdin a command reads end of file`, () => withMachine(async (machine) => {
      assert.deepEqual((await runIn(machine, COMMANDS.echo)).end, { kind: 'exited', code: 0 });
    }));

    for (const outputBytes of [0, 1, 65_536, 1_000_001]) {
      test(`${name}: output is cut at exactly ${outputBytes} bytes, and all that was written is counted`, () => withMachine(async (machine) => {
        const { stdout, written, end } = await runIn(machine, COMMANDS.flood(3_000_000), { outputBytes });
        assert.deepEqual([stdout.length, written.stdout, end], [outputBytes, 3_000_000, { kind: 'exited', code: 0 }]);
      }));
    }

    test(`${name}: an exec beyond its wall time has timed out, soon`, async () => {
      const tookMs = await leastOf(2_000, async () => {
        let eachMs = 0;
        await withMachine(async (machine) => {
          const start = performance.now();
          assert.deepEqual((await runIn(machine, COMMANDS.hang)).end, { kind: 'timed-out', limit: 'wall' });
          eachMs = performance.now() - start;
        }, { wallMs: 300 });
        assert.ok(eachMs > 290, `${eachMs} ms`);
        return eachMs;
      });
      assert.ok(tookMs < 2_000, `${tookMs} ms`);
    });

    test(`${name}: a signal reaches the command`, () => withMachine(async (machine) => {
      const ran = await runIn(machine, COMMANDS.hang, {}, async (exec) => {
        await delay(100);
        exec.signal(constants.signals.SIGTERM);
      });
      assert.deepEqual(ran.end, { kind: 'signaled', signal: constants.signals.SIGTERM });
      assert.deepEqual((await runIn(machine, COMMANDS.exit(4))).end, { kind: 'exited', code: 4 });
    }));

    test(`${name}: a kill ends every process of the exec's session and none of another`, () => withMachine(async (machine) => {
      const spared = machine.spawn(commandOf(COMMANDS.hang), { onOutput: async () => undefined });
      const ran = await runIn(machine, COMMANDS.brood, {}, async (exec) => {
        await delay(200);
        exec.kill();
      });
      assert.deepEqual(ran.end, { kind: 'signaled', signal: constants.signals.SIGKILL });
      const names = (await runIn(machine, COMMANDS.names)).stdout.toString().split('\n');
      if (subject.programs === true) assert.equal(names.filter((comm) => comm === 'sleep').length, 1, names.join());
      spared.kill();
      assert.deepEqual((await spared.done).end, { kind: 'signaled', signal: constants.signals.SIGKILL });
    }));

    terminalTests({ name, programs: () => subject.programs === true, withMachine });
    connectionTests({ name, programs: () => subject.programs === true, withMachine });

    test(`${name}: close kills what runs, says what was used, and may be called again`, () => withMachine(async (machine) => {
      const hanging = runIn(machine, COMMANDS.hang);
      const reading = runIn(machine, COMMANDS.echo, { stdin: true });
      await delay(100);
      const [first, second] = await Promise.all([machine.close(), machine.close()]);
      assert.deepEqual(first, second);
      const { counts, ...usage } = first;
      for (const used of [...Object.values(usage), ...Object.values(counts ?? {})]) assert.ok(used === null || (Number.isSafeInteger(used) && used >= 0));
      assert.equal((await hanging).end.kind, 'lost');
      assert.equal((await reading).end.kind, 'lost');
      assert.deepEqual(await machine.close(), first);
      assert.equal((await runIn(machine, COMMANDS.exit(0))).end.kind, 'lost');
    }));

    test(`${name}: a launch that is aborted before it begins rejects with the reason and leaves nothing`, async () => {
      const reason = new Error('not wanted');
      await assert.rejects(subject.driver.launch(subject.spec(), { signal: AbortSignal.abort(reason) }), reason);
      await subject.driver.settled();
      assert.deepEqual(subject.left(), []);
    });

    for (const afterMs of [0, 1, 3, 8, 20, 50]) {
      test(`${name}: a launch that is aborted after ${afterMs} ms rejects with the reason and leaves nothing`, async () => {
        const reason = new Error('not wanted any more');
        const aborting = new AbortController();
        const launching = subject.driver.launch(subject.spec(), { signal: aborting.signal });
        const timer = setTimeout(() => aborting.abort(reason), afterMs);
        try {
          const machine = await launching;
          assert.equal(aborting.signal.aborted, false, 'a launch that was aborted gives no machine');
          await machine.close();
        } catch (error) {
          assert.equal(error, reason);
        } finally {
          clearTimeout(timer);
        }
        await delay(20);
        await subject.driver.settled();
        assert.deepEqual(subject.left(), []);
      });
    }

    test(`${name}: sandboxes live side by side, and closing one leaves the other alone`, async () => {
      const [one, other] = await Promise.all([subject.driver.launch(subject.spec(), never()), subject.driver.launch(subject.spec(), never())]);
      await one.close();
      assert.deepEqual((await runIn(other, COMMANDS.exit(5))).end, { kind: 'exited', code: 5 });
      await other.close();
      await subject.driver.settled();
      assert.deepEqual(subject.left(), []);
    });
  });
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
