import { constants } from 'node:os';
import { CaissonError, HostFacts, isErrorCode, type IsolationSpec, type Usage } from '@caisson/contract';
import { connectChannel, type Channel } from '@caisson/wire';
import type { Exec, ExecEvents, ExecReport, Machine, OutputStream, ProcessSpec } from './driver.ts';
import type { Hello } from './hello.ts';
import { FromLauncher, parseMessage, type ToLauncher } from './messages.ts';
import { inOrder } from './serial.ts';

/** Stdin bytes of one exec that may be under way to the launcher. */
const STDIN_UNDER_WAY = 256 * 1024;

interface RemoteExec {
  readonly events: ExecEvents;
  readonly received: { stdout: number; stderr: number };
  stdinUnderWay: number;
  wakeStdin: (() => void) | undefined;
  finish(report: ExecReport): void;
}

/** Measures the host through the launcher. */
export async function remoteFacts(socketPath: string, again: boolean): Promise<HostFacts> {
  const { promise, resolve, reject } = Promise.withResolvers<FromLauncher>();
  using channel = await connectChannel(socketPath, {
    onMessage: (message) => resolve(parseMessage(FromLauncher, message)),
    onClose: (error) => reject(error ?? new CaissonError('DAEMON_UNREACHABLE', { socket: socketPath })),
  });
  channel.send({ type: 'facts', again } satisfies ToLauncher);
  const reply = await promise;
  if (reply.type === 'problem') throw asError(reply.problem);
  if (reply.type !== 'facts') throw new CaissonError('FRAME_INVALID', { detail: `${reply.type} instead of facts` });
  return parseMessage(HostFacts, reply.facts);
}

/** Tells the launcher that a launch is likely to follow. Whether it hears it makes no difference but time. */
export async function remoteExpect(socketPath: string): Promise<void> {
  try {
    const channel = await connectChannel(socketPath, { onMessage: () => undefined });
    channel.send({ type: 'expect' } satisfies ToLauncher);
    channel.end();
  } catch {
    // the launch itself will say so
  }
}

function asError({ code, message, hint }: { readonly code: string; readonly message: string; readonly hint: string }): CaissonError {
  return isErrorCode(code) ? CaissonError.from({ code, message, hint }) : new CaissonError('INTERNAL', { detail: message });
}

/** Starts a sandbox through the launcher. The sandbox lives no longer than the connection that this opens. */
export async function remoteLaunch(socketPath: string, spec: IsolationSpec, { signal }: { readonly signal: AbortSignal }): Promise<Machine> {
  const machine = new RemoteMachine();
  await machine.open(socketPath, spec, signal);
  return machine;
}

class RemoteMachine implements Machine {
  runtime = '';
  user: Machine['user'] = { uid: -1, gid: -1 };
  address: string | null = null;
  hello!: Hello;
  #channel!: Channel;
  readonly #execs = new Map<number, RemoteExec>();
  readonly #launched = Promise.withResolvers<Extract<FromLauncher, { type: 'launched' }>>();
  readonly #closed = Promise.withResolvers<Usage>();
  #nextExec = 1;
  #lost: string | undefined;
  #closing = false;

  async open(socketPath: string, spec: IsolationSpec, signal: AbortSignal): Promise<void> {
    this.#closed.promise.catch(() => undefined);
    this.#channel = await connectChannel(socketPath, {
      onMessage: (message) => this.#receive(parseMessage(FromLauncher, message)),
      onBytes: (kind, exec, bytes) => {
        if (kind === 'stdin') throw new CaissonError('FRAME_INVALID', { detail: 'stdin from the launcher' });
        this.#output(kind, exec, bytes);
      },
      onClose: (error) => this.#onClose(error),
    });
    const abort = (): void => this.#launched.reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) abort();
      this.#say({ type: 'launch', spec });
      const { runtime, user, address, hello } = await this.#launched.promise;
      this.runtime = runtime;
      this.user = user;
      this.address = address;
      this.hello = hello;
    } catch (error) {
      this.#channel[Symbol.dispose]();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #say(message: ToLauncher): void {
    this.#channel.send(message);
  }

  #receive(message: FromLauncher): void {
    switch (message.type) {
      case 'launched': return this.#launched.resolve(message);
      case 'problem': return this.#giveUp(asError(message.problem));
      case 'report': return this.#execs.get(message.exec)?.finish(message.report);
      case 'stdin-taken': return this.#stdinTaken(message.exec, message.bytes);
      case 'closed': return this.#closed.resolve(message.usage);
      case 'facts': throw new CaissonError('FRAME_INVALID', { detail: 'facts that nobody asked for' });
    }
  }

  /** What a problem leaves of the sandbox is unknown, so it ends here; the launcher closes it with the connection. */
  #giveUp(error: CaissonError): void {
    this.#lost ??= error.message;
    this.#fail(error);
    this.#channel[Symbol.dispose]();
  }

  #fail(error: CaissonError): void {
    this.#launched.reject(error);
    this.#closed.reject(error);
  }

  #onClose(error: Error | undefined): void {
    this.#lost ??= error?.message ?? 'the launcher went away';
    this.#fail(new CaissonError('SANDBOX_LOST', { detail: this.#lost }));
    for (const exec of this.#execs.values()) exec.finish({ end: { kind: 'lost', detail: this.#lost }, written: exec.received });
  }

  #output(stream: OutputStream, id: number, bytes: Buffer): void {
    const exec = this.#execs.get(id);
    if (exec === undefined) return;
    exec.received[stream] += bytes.length;
    void exec.events.onOutput(stream, bytes).then(() => this.#say({ type: 'taken', exec: id, bytes: bytes.length }));
  }

  #stdinTaken(id: number, bytes: number): void {
    const exec = this.#execs.get(id);
    if (exec === undefined) return;
    exec.stdinUnderWay -= bytes;
    exec.wakeStdin?.();
  }

  spawn(command: ProcessSpec, events: ExecEvents): Exec {
    const id = this.#nextExec++;
    const { promise: done, resolve } = Promise.withResolvers<ExecReport>();
    const exec: RemoteExec = {
      events,
      received: { stdout: 0, stderr: 0 },
      stdinUnderWay: 0,
      wakeStdin: undefined,
      finish: (report) => {
        this.#execs.delete(id);
        exec.wakeStdin?.();
        resolve(report);
      },
    };
    this.#execs.set(id, exec);
    if (this.#lost !== undefined) exec.finish({ end: { kind: 'lost', detail: this.#lost }, written: exec.received });
    else this.#say({ type: 'spawn', exec: id, process: command });
    const ordered = inOrder();
    return {
      done,
      writeStdin: (bytes) => ordered(() => this.#writeStdin(id, exec, bytes)),
      endStdin: () => ordered(() => this.#channel.sendBytes('stdin', id, Buffer.alloc(0))),
      signal: (signal) => this.#say({ type: 'signal', exec: id, signal }),
      kill: () => this.#say({ type: 'signal', exec: id, signal: constants.signals.SIGKILL }),
      resize: () => undefined, // a one-shot run has no terminal
    };
  }

  async #writeStdin(id: number, exec: RemoteExec, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && this.#execs.has(id); ) {
      if (exec.stdinUnderWay >= STDIN_UNDER_WAY) {
        await new Promise<void>((resolve) => (exec.wakeStdin = resolve));
        continue;
      }
      const part = bytes.subarray(at, at + STDIN_UNDER_WAY - exec.stdinUnderWay);
      exec.stdinUnderWay += part.length;
      at += part.length;
      await this.#channel.sendBytes('stdin', id, part);
    }
  }

  async close(): Promise<Usage> {
    if (!this.#closing) this.#say({ type: 'close' });
    this.#closing = true;
    return this.#closed.promise;
  }
}
