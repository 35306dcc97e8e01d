import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { CaissonError, problemOf, type IsolationSpec, type LiveUsage, type TerminalSize, type Usage } from '@caisson/contract';
import { Caller, connectChannel } from '@caisson/wire';
import { Chunks } from './chunks.ts';
import type { OutputStream, ProcessSpec } from './driver.ts';
import { EXECS_AT_ONCE, KeptEndReply, KeptExecReply, KeptHeadReply, KeptReply, LiveUsageReply, StartReply, UsageReply, type KeeperParameters, type KeeperVerb, type StreamRequest } from './keeper-messages.ts';
import type { KeptEnd, KeptExecInfo, KeptInfo } from './kept.ts';
import { parseMessage } from './messages.ts';
import { handedOver, openTunnel, problemIn } from './tunnel.ts';


/** Control's end of the keeper. Calls reject with DAEMON_UNREACHABLE when the launcher goes away, and with it every sandbox. */
export class RemoteKeeper implements Disposable {
  readonly #path: string;
  readonly #caller: Caller;

  constructor(socketPath: string) {
    this.#path = socketPath;
    this.#caller = new Caller(socketPath);
  }

  async #call<V extends KeeperVerb, T>(verb: V, parameters: KeeperParameters<V>, reply: z.ZodType<T>): Promise<T> {
    return parseMessage(reply, await this.#caller.call(verb, parameters));
  }

  async #tell<V extends KeeperVerb>(verb: V, parameters: KeeperParameters<V>): Promise<void> {
    await this.#caller.call(verb, parameters);
  }

  /** Calls a verb of another room that the launcher serves besides; the reply is untrusted. */
  other(verb: string, parameters: unknown): Promise<unknown> {
    return this.#caller.call(verb, parameters);
  }

  /** Nobody waits for it. */
  expect(): void {
    void this.#tell('expect', {}).catch(() => undefined);
  }

  launch(spec: IsolationSpec, memo: string, checkpoint: string | null): Promise<KeptInfo> {
    return this.#call('launch', { spec, memo, checkpoint }, KeptReply);
  }

  checkpoint(id: string, snapshot: string): Promise<void> {
    return this.#tell('checkpoint', { id, snapshot });
  }

  checkpoints(): Promise<readonly string[]> {
    return this.#call('checkpoints', {}, z.array(z.string()));
  }

  settledCheckpoints(): Promise<readonly string[]> {
    return this.#call('settledCheckpoints', {}, z.array(z.string()));
  }

  removeCheckpoint(snapshot: string): Promise<void> {
    return this.#tell('removeCheckpoint', { snapshot });
  }

  rename(id: string, exec: string, as: string, memo: string): Promise<void> {
    return this.#tell('rename', { id, exec, as, memo });
  }

  /** All that are kept. Each is asked about by itself: together they may be more than one frame can hold. */
  async list(): Promise<readonly KeptInfo[]> {
    const ids = await this.#call('list', {}, z.array(z.string()));
    const all = await Promise.all(ids.map((id) => this.#kept(id)));
    return all.filter((kept) => kept !== null);
  }

  /** Null when it has been forgotten meanwhile. */
  async #kept(id: string): Promise<KeptInfo | null> {
    try {
      const { execs: ids, ...head } = await this.#call('kept', { id }, KeptHeadReply);
      const execs: KeptExecInfo[] = [];
      for (let at = 0; at < ids.length; at += EXECS_AT_ONCE) {
        execs.push(...(await this.#call('keptExecs', { id, execs: ids.slice(at, at + EXECS_AT_ONCE) }, z.array(KeptExecReply))));
      }
      return { ...head, execs };
    } catch (error) {
      if (problemOf(error).code === 'SANDBOX_NOT_FOUND') return null;
      throw error;
    }
  }

  note(id: string, memo: string): Promise<void> {
    return this.#tell('note', { id, memo });
  }

  pause(id: string): Promise<void> {
    return this.#tell('pause', { id });
  }

  resume(id: string): Promise<void> {
    return this.#tell('resume', { id });
  }

  usage(id: string): Promise<LiveUsage> {
    return this.#call('usage', { id }, LiveUsageReply);
  }

  /** Has the launcher take the value of a secret that is a file anew from the vault. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE, SANDBOX_NOT_FOUND */
  renewSecret(id: string, lease: string): Promise<void> {
    return this.#tell('renewSecret', { id, lease });
  }

  /** Has the launcher take the file of a secret away. Resolves when it is gone. @throws CaissonError SANDBOX_NOT_FOUND */
  dropSecret(id: string, lease: string): Promise<void> {
    return this.#tell('dropSecret', { id, lease });
  }

  /** Resolves when nothing of it runs and its workspace is free. */
  close(id: string, why: string | null = null): Promise<Usage> {
    return this.#call('close', { id, why }, UsageReply);
  }

  /** Resolves when the sandbox has ended, whatever ended it. */
  ended(id: string): Promise<Usage> {
    return this.#call('ended', { id }, UsageReply);
  }

  /** Resolves to the end of the exec where that comes within `holdMs`, and to null otherwise. */
  start(id: string, exec: string, memo: string, process: ProcessSpec, holdMs: number): Promise<KeptEnd | null> {
    return this.#call('start', { id, exec, memo, process, holdMs }, StartReply);
  }

  wait(id: string, exec: string): Promise<KeptEnd> {
    return this.#call('wait', { id, exec }, KeptEndReply);
  }

  stdin(id: string, exec: string, offset: number | null, bytes: Buffer): Promise<number> {
    return this.#call('stdin', { id, exec, offset, base64: bytes.toString('base64') }, z.int().min(0));
  }

  endStdin(id: string, exec: string): Promise<void> {
    return this.#tell('endStdin', { id, exec });
  }

  signal(id: string, exec: string, signal: number): Promise<void> {
    return this.#tell('signal', { id, exec, signal });
  }

  kill(id: string, exec: string): Promise<void> {
    return this.#tell('kill', { id, exec });
  }

  resize(id: string, exec: string, size: TerminalSize): Promise<void> {
    return this.#tell('resize', { id, exec, size });
  }

  /** Output from an offset on, in order, up to the end of the exec. @throws CaissonError OUTPUT_GONE, DAEMON_UNREACHABLE */
  follow(id: string, exec: string, from: number, signal: AbortSignal): AsyncGenerator<{ readonly stream: OutputStream; readonly bytes: Buffer }> {
    return this.#stream({ stream: 'follow', id, exec, from }, signal);
  }

  /** The recording of an exec as it is now (core/contract/src/recording.ts). @throws CaissonError OUTPUT_GONE, DAEMON_UNREACHABLE */
  async *recording(id: string, exec: string, signal: AbortSignal): AsyncGenerator<Buffer> {
    for await (const { bytes } of this.#stream({ stream: 'recording', id, exec }, signal)) yield bytes;
  }

  async *#stream(request: StreamRequest, signal: AbortSignal): AsyncGenerator<{ readonly stream: OutputStream; readonly bytes: Buffer }> {
    const chunks = new Chunks<{ readonly stream: OutputStream; readonly bytes: Buffer }>();
    using channel = await connectChannel(this.#path, {
      onMessage: (message) => chunks.end(problemIn(message)),
      onBytes: (stream, _, bytes) => (stream === 'stdin' ? undefined : chunks.push({ stream, bytes })),
      onClose: (error) => chunks.end(error ?? new CaissonError('SANDBOX_LOST', { detail: 'the launcher went away' })),
    });
    const abort = (): void => chunks.end(null);
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) return;
      channel.send(request);
      yield* chunks;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** A connection to a port of the sandbox's loopback. It ends with PORT_REFUSED when nobody answers there. */
  dial(id: string, port: number): Promise<Duplex> {
    return openTunnel(this.#path, { stream: 'dial', id, port });
  }

  /** A connection to the helper that serves the files of the sandbox's workspace. */
  files(id: string): Promise<Socket> {
    return handedOver(this.#path, { stream: 'files', id });
  }

  [Symbol.dispose](): void {
    this.#caller[Symbol.dispose]();
  }
}
