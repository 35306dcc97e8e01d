import type { Connection } from './connection.ts';
import { CaissonError } from './errors.ts';
import { execPath, follow, type ExecPlace, type OutputChunk } from './follow.ts';
import type { ExecInfo } from './generated.ts';
import { askJson, askStream } from './http.ts';
import { endOf, type ExecEnd } from './result.ts';
import { outputText, type OutputText } from './text.ts';

/** Longest that one request waits for the end of a command; then the next one does. */
const WAIT_MS = 60_000;
const STDIN_CHUNK_BYTES = 256 * 1024;

export interface Waiting {
  readonly signal?: AbortSignal | undefined;
}

export type SignalName = `SIG${string}`;

/**
 * A command that runs in a sandbox. What it writes is kept by Caisson: every iteration of it, of `stdout` and of `stderr`
 * is a reader of its own that begins at the first byte, goes on where a lost connection broke off, and holds the command
 * back no more than the limit on output does. Every method waits for a Caisson that does not answer, for as long as the
 * connection's `reconnectMs`.
 */
export class Process implements AsyncIterable<OutputChunk>, AsyncDisposable {
  readonly id: string;
  readonly sandbox: string;
  readonly tty: boolean;
  readonly stdout: OutputText;
  readonly stderr: OutputText;
  readonly #connection: Connection;
  /** Bytes of stdin that were written; null when another client may have written some. */
  #written: number | null;
  #lastWrite: Promise<unknown> = Promise.resolve();

  /** For the SDK itself: a process comes from `box.spawn` and `box.attach`. */
  constructor(connection: Connection, { id, sandbox, tty }: ExecInfo, written: number | null) {
    this.#connection = connection;
    this.id = id;
    this.sandbox = sandbox;
    this.tty = tty;
    this.#written = written;
    this.stdout = outputText('stdout', (signal) => this.output({ signal }));
    this.stderr = outputText('stderr', (signal) => this.output({ signal }));
  }

  get #place(): ExecPlace {
    return { sandbox: this.sandbox, exec: this.id };
  }

  /** Both streams in the order in which they came, from an offset on. Returns the exec as it ended. */
  output({ from = 0, signal }: Waiting & { readonly from?: number } = {}): AsyncGenerator<OutputChunk, ExecInfo> {
    return follow(this.#connection, this.#place, { from, signal });
  }

  [Symbol.asyncIterator](): AsyncGenerator<OutputChunk, ExecInfo> {
    return this.output();
  }

  /** What it has written so far, with times; docs/recording.md says how the bytes are to be read. */
  recording({ signal }: Waiting = {}): Promise<AsyncIterable<Uint8Array>> {
    return askStream(this.#connection, { method: 'GET', path: `${execPath(this.#place)}/recording`, repeatable: true, patience: 'whole', signal });
  }

  info({ signal }: Waiting = {}): Promise<ExecInfo> {
    return askJson(this.#connection, { method: 'GET', path: execPath(this.#place), repeatable: true, patience: 'whole', signal });
  }

  /** Resolves when the command has ended. Aborting ends the wait, not the command. */
  async wait({ signal }: Waiting = {}): Promise<ExecEnd> {
    for (;;) {
      const info = await askJson<ExecInfo>(this.#connection, { method: 'GET', path: execPath(this.#place), query: { waitMs: WAIT_MS }, repeatable: true, patience: 'whole', signal });
      if (info.state === 'ended') return endOf(info);
    }
  }

  /**
   * Writes to stdin, in the order of the calls; resolves when the sandbox has taken the bytes. Each byte is taken once,
   * also when the connection breaks. The command must have been started with `stdin` or `tty`.
   */
  write(data: string | Uint8Array, { signal }: Waiting = {}): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    return this.#inOrder(async () => {
      for (let at = 0; at < bytes.byteLength; at += STDIN_CHUNK_BYTES) {
        const offset = (this.#written ??= await this.#put(new Uint8Array(), {}, signal));
        const part = bytes.subarray(at, at + STDIN_CHUNK_BYTES);
        await this.#put(part, { offset }, signal);
        this.#written = offset + part.byteLength;
      }
    });
  }

  /** Ends stdin, after what was written. */
  endStdin({ signal }: Waiting = {}): Promise<void> {
    return this.#inOrder(async () => void (await this.#put(new Uint8Array(), { end: true }, signal)));
  }

  async #put(bytes: Uint8Array, query: { readonly offset?: number; readonly end?: true }, signal: AbortSignal | undefined): Promise<number> {
    const { taken } = await askJson<{ readonly taken: number }>(this.#connection, { method: 'PUT', path: `${execPath(this.#place)}/stdin`, query, bytes, repeatable: true, patience: 'whole', signal });
    return taken;
  }

  #inOrder(act: () => Promise<void>): Promise<void> {
    const done = this.#lastWrite.then(act);
    this.#lastWrite = done.catch(() => undefined);
    return done;
  }

  /** Sends a signal to the command and everything that it started. False: it had ended. Default SIGTERM. */
  async kill(signal: SignalName | number = 'SIGTERM', waiting: Waiting = {}): Promise<boolean> {
    return signalExec(this.#connection, this.#place, signal, waiting.signal);
  }

  /** Gives the terminal another size. */
  async resize(cols: number, rows: number, { signal }: Waiting = {}): Promise<void> {
    await askJson(this.#connection, { method: 'POST', path: `${execPath(this.#place)}/resize`, json: { cols, rows }, repeatable: true, patience: 'whole', signal });
  }

  /** Kills the command when it still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
  }
}

/** Sends a signal; false when there is nothing left to send it to. */
export async function signalExec(connection: Connection, place: ExecPlace, signal: SignalName | number, abort?: AbortSignal): Promise<boolean> {
  const path = execPath(place);
  const info = await askJson<ExecInfo>(connection, { method: 'GET', path, repeatable: true, patience: 'whole', signal: abort }).catch(nullWhenGone);
  if (info === null || info.state === 'ended') return false;
  try {
    // SIGKILL may be sent twice; any other signal may mean something each time.
    await askJson(connection, { method: 'POST', path: `${path}/signal`, json: { signal }, repeatable: signal === 'SIGKILL' || signal === 9, patience: 'whole', signal: abort });
    return true;
  } catch (error) {
    if (nullWhenGone(error) === null) return false;
    const now = await askJson<ExecInfo>(connection, { method: 'GET', path, repeatable: true, patience: 'whole', signal: abort });
    if (now.state === 'ended') return false;
    throw error;
  }
}

/** Null for an exec or a sandbox that is no longer known; anything else is thrown. */
function nullWhenGone(error: unknown): null {
  if (error instanceof CaissonError && (error.code === 'EXEC_NOT_FOUND' || error.code === 'SANDBOX_NOT_FOUND')) return null;
  throw error;
}
