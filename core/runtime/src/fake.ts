import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type IsolationSpec, type RuntimeFacts, type Usage } from '@caisson/contract';
import type { Driver, Exec, ExecEnd, ExecEvents, ExecReport, Machine, OutputStream, ProcessSpec } from './driver.ts';
import type { Hello } from './hello.ts';

/** What a scripted sandbox does, in order. Without a last word it exits with 0. */
export interface FakeScript {
  readonly hello?: Partial<Hello>;
  /** Step at which it fails. */
  readonly dieAt?: 'launch' | 'spawn' | 'output' | 'close';
  readonly print?: readonly { readonly stream: OutputStream; readonly text: string }[];
  /** Echoes stdin to stdout until its end. */
  readonly echo?: boolean;
  /** Never ends until it is closed or runs into its wall time. */
  readonly hang?: boolean;
  readonly exitAfterMs?: number;
  readonly end?: ExecEnd;
  readonly usage?: Partial<Usage>;
}

const GOOD_HELLO: Hello = {
  kernel: 'fake', version: 'fake', hostname: 'caisson', pid: 1, uid: 1000, gid: 1000, landlockAbi: 1,
  rootReadOnly: true, otherProcesses: 0, capabilities: '0', noNewPrivileges: true, seccomp: 2,
  uidMap: '1000 1879048193 1', interfaces: ['lo'],
  namespaces: Object.fromEntries(['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'].map((kind) => [kind, `${kind}:[1]`])),
};

/** A driver without a kernel: passes the contract suite by keeping promises in memory, and breaks them on request. */
export class FakeDriver implements Driver {
  readonly facts: RuntimeFacts = {
    name: 'fake', path: '/fake', version: '1', guestKernel: 'host', checkpoint: false, controlChannel: true, typicalLaunchMs: 0,
  };
  readonly #script: (command: ProcessSpec) => FakeScript;
  readonly #live = new Set<string>();

  constructor(script: FakeScript | ((command: ProcessSpec) => FakeScript)) {
    this.#script = typeof script === 'function' ? script : () => script;
  }

  get live(): ReadonlySet<string> {
    return this.#live;
  }

  async launch(spec: IsolationSpec, { signal }: { readonly signal: AbortSignal }): Promise<Machine> {
    signal.throwIfAborted();
    const script = this.#script({ argv: [], env: [], cwd: '/', stdin: false, outputBytes: 0 });
    if (script.dieAt === 'launch') throw new CaissonError('LAUNCH_FAILED', { detail: 'scripted' });
    this.#live.add(spec.id);
    return new FakeMachine(spec, { ...GOOD_HELLO, ...script.hello }, this.#script, () => this.#live.delete(spec.id));
  }

  async sweep(): Promise<readonly string[]> {
    const swept = [...this.#live];
    this.#live.clear();
    return swept;
  }

  async settled(): Promise<void> {
    // nothing is ever under way
  }
}

class FakeMachine implements Machine {
  readonly runtime = 'fake';
  readonly hello: Hello;
  readonly #spec: IsolationSpec;
  readonly #script: (command: ProcessSpec) => FakeScript;
  readonly #release: () => void;
  readonly #closed = new AbortController();
  #usage: Usage = { cpuMs: 1, memoryPeakBytes: 4096, pidsPeak: 2, oomKills: 0 };
  #failClose = false;

  constructor(spec: IsolationSpec, hello: Hello, script: (command: ProcessSpec) => FakeScript, release: () => void) {
    this.hello = hello;
    this.#spec = spec;
    this.#script = script;
    this.#release = release;
  }

  spawn(command: ProcessSpec, events: ExecEvents): Exec {
    const script = this.#script(command);
    this.#usage = { ...this.#usage, ...script.usage };
    this.#failClose = script.dieAt === 'close';
    const stdin = new FakeStdin();
    return {
      done: this.#play(script, command, events, stdin),
      writeStdin: async (bytes) => stdin.push(bytes),
      endStdin: async () => stdin.end(),
      signal: () => this.#closed.abort(),
    };
  }

  async #play(script: FakeScript, command: ProcessSpec, events: ExecEvents, stdin: FakeStdin): Promise<ExecReport> {
    const written = { stdout: 0, stderr: 0 };
    const returned = { stdout: 0, stderr: 0 };
    const report = (end: ExecEnd): ExecReport => ({ end, written });
    const emit = async (stream: OutputStream, bytes: Buffer): Promise<void> => {
      const room = command.outputBytes - returned[stream];
      written[stream] += bytes.length;
      returned[stream] += Math.min(room, bytes.length);
      if (room > 0) await events.onOutput(stream, bytes.subarray(0, room));
    };
    if (script.dieAt === 'spawn') return report({ kind: 'lost', detail: 'scripted' });
    for (const { stream, text } of script.print ?? []) {
      await emit(stream, Buffer.from(text));
      if (script.dieAt === 'output') return report({ kind: 'lost', detail: 'scripted' });
    }
    if (script.echo === true) for await (const bytes of stdin.chunks()) await emit('stdout', bytes);
    const waitMs = script.hang === true ? 2 ** 31 - 1 : (script.exitAfterMs ?? 0);
    const expired = await this.#wait(Math.min(waitMs, this.#spec.limits.wallMs));
    if (expired && waitMs > this.#spec.limits.wallMs) return report({ kind: 'timed-out', limit: 'wall' });
    if (!expired) return report({ kind: 'lost', detail: 'closed' });
    return report(script.end ?? { kind: 'exited', code: 0 });
  }

  async #wait(milliseconds: number): Promise<boolean> {
    if (this.#closed.signal.aborted) return false;
    return delay(milliseconds, true, { signal: this.#closed.signal }).catch(() => false);
  }

  async close(): Promise<Usage> {
    this.#closed.abort();
    this.#release();
    if (this.#failClose) throw new CaissonError('SANDBOX_LOST', { detail: 'scripted' });
    return this.#usage;
  }
}

class FakeStdin {
  readonly #queue: Buffer[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  push(bytes: Buffer): void {
    this.#queue.push(bytes);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
