import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type IsolationSpec, type RuntimeFacts, type Usage } from '@caisson/contract';
import type { Driver, Exec, ExecEnd, ExecEvents, Machine, OutputStream, ProcessSpec } from './driver.ts';
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
    const written = { stdout: 0, stderr: 0 };
    const over = new AbortController();
    const { promise, resolve: end } = Promise.withResolvers<ExecEnd>();
    const wall = setTimeout(() => end({ kind: 'timed-out', limit: 'wall' }), this.#spec.limits.wallMs);
    const onClosed = (): void => end({ kind: 'lost', detail: 'closed' });
    this.#closed.signal.addEventListener('abort', onClosed, { once: true });
    if (this.#closed.signal.aborted) onClosed();
    void play(script, { command, events, stdin, written, over: over.signal }).then(end);
    const done = promise.then((ended) => {
      clearTimeout(wall);
      this.#closed.signal.removeEventListener('abort', onClosed);
      over.abort();
      stdin.end();
      return { end: ended, written: { ...written } };
    });
    return {
      done,
      writeStdin: async (bytes) => stdin.push(bytes),
      endStdin: async () => stdin.end(),
      signal: (signal) => end({ kind: 'signaled', signal }),
    };
  }

  async close(): Promise<Usage> {
    this.#closed.abort();
    this.#release();
    if (this.#failClose) throw new CaissonError('SANDBOX_LOST', { detail: 'scripted' });
    return this.#usage;
  }
}

interface Played {
  readonly command: ProcessSpec;
  readonly events: ExecEvents;
  readonly stdin: FakeStdin;
  readonly written: { stdout: number; stderr: number };
  /** Aborted when the exec has ended, whatever the script has left to say. */
  readonly over: AbortSignal;
}

async function play(script: FakeScript, { command, events, stdin, written, over }: Played): Promise<ExecEnd> {
  const emit = async (stream: OutputStream, bytes: Buffer): Promise<void> => {
    if (over.aborted) return;
    const room = Math.max(0, command.outputBytes - written[stream]);
    written[stream] += bytes.length;
    if (room > 0) await events.onOutput(stream, bytes.subarray(0, room));
  };
  if (script.dieAt === 'spawn') return { kind: 'lost', detail: 'scripted' };
  for (const { stream, text } of script.print ?? []) {
    await emit(stream, Buffer.from(text));
    if (script.dieAt === 'output') return { kind: 'lost', detail: 'scripted' };
  }
  if (script.echo === true) for await (const bytes of stdin.chunks()) await emit('stdout', bytes);
  const waitMs = script.hang === true ? 2 ** 31 - 1 : (script.exitAfterMs ?? 0);
  if (waitMs > 0) await delay(waitMs, undefined, { signal: over }).catch(() => undefined);
  return script.end ?? { kind: 'exited', code: 0 };
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
