import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type IsolationSpec, type LiveUsage, type RuntimeFacts, type Usage } from '@caisson/contract';
import type { Driver, Exec, ExecEnd, ExecEvents, LaunchOptions, LiveMachine, Machine, OutputStream, ProcessSpec } from './driver.ts';
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
  namespaceOwner: 0, inotifyInstances: 2_147_483_647, inotifyWatches: 2_147_483_647, uidMap: '1000 1879048193 1', interfaces: ['lo'],
  namespaces: Object.fromEntries(['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'].map((kind) => [kind, `${kind}:[1]`])),
};

/** A driver without a kernel: passes the contract suite by keeping promises in memory, and breaks them on request. */
export class FakeDriver implements Driver {
  readonly facts: RuntimeFacts = {
    name: 'fake', path: '/fake', version: '1', guestKernel: 'host', checkpoint: false, controlChannel: true, typicalLaunchMs: 0,
    userInside: 'spec', mountsWorkspaces: true, mountsImages: true, networks: true, mountsSecrets: true,
  };
  readonly #script: (command: ProcessSpec) => FakeScript;
  readonly #live = new Set<string>();
  #links = 0;

  constructor(script: FakeScript | ((command: ProcessSpec) => FakeScript)) {
    this.#script = typeof script === 'function' ? script : () => script;
  }

  get live(): ReadonlySet<string> {
    return this.#live;
  }

  async launch(spec: IsolationSpec, { signal, workspaceFor }: LaunchOptions): Promise<LiveMachine> {
    signal.throwIfAborted();
    const script = this.#script({ argv: [], env: [], cwd: '/', stdin: false, outputBytes: 0 });
    if (script.dieAt === 'launch') throw new CaissonError('LAUNCH_FAILED', { detail: 'scripted' });
    await workspaceFor?.(0);
    this.#live.add(spec.id);
    const linked = spec.network === 'gate';
    const hello = { ...GOOD_HELLO, ...(linked && { interfaces: ['eth0', 'lo'] }), ...script.hello };
    const address = linked ? `100.64.0.${(this.#links += 1)}` : null;
    return new FakeMachine({ spec, hello, address, script: this.#script, release: () => this.#live.delete(spec.id) });
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

interface Scripted {
  readonly spec: IsolationSpec;
  readonly hello: Hello;
  readonly address: string | null;
  readonly script: (command: ProcessSpec) => FakeScript;
  readonly release: () => void;
}

class FakeMachine implements LiveMachine {
  readonly runtime = 'fake';
  readonly user: Machine['user'];
  readonly address: string | null;
  readonly hello: Hello;
  readonly gone: Promise<void>;
  readonly #spec: IsolationSpec;
  readonly #script: (command: ProcessSpec) => FakeScript;
  readonly #release: () => void;
  readonly #closed = new AbortController();
  #usage: Usage = { cpuMs: 1, memoryPeakBytes: 4096, pidsPeak: 2, oomKills: 0 };
  #failClose = false;

  constructor({ spec, hello, address, script, release }: Scripted) {
    this.hello = hello;
    this.address = address;
    this.gone = new Promise((resolve) => this.#closed.signal.addEventListener('abort', () => resolve(), { once: true }));
    this.user = spec.user;
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
      kill: () => end({ kind: 'signaled', signal: constants.signals.SIGKILL }),
      resize: () => undefined,
    };
  }

  /** Nobody listens in a sandbox without a kernel. */
  dial(): Exec {
    const nothing = async (): Promise<void> => undefined;
    const end: ExecEnd = { kind: 'not-started', stage: 'connect', errno: constants.errno.ECONNREFUSED };
    return { done: Promise.resolve({ end, written: { stdout: 0, stderr: 0 } }), writeStdin: nothing, endStdin: nothing, signal: () => undefined, kill: () => undefined, resize: () => undefined };
  }

  async pause(): Promise<void> {
    // nothing of it runs
  }

  async resume(): Promise<void> {
    // nothing of it was stopped
  }

  async usage(): Promise<LiveUsage> {
    return { ...this.#usage, memoryBytes: this.#usage.memoryPeakBytes, pids: 1 };
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
