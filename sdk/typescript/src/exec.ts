import { setTimeout as delay } from 'node:timers/promises';
import { collector, DEFAULT_BUFFER_BYTES } from './collect.ts';
import type { Connection } from './connection.ts';
import { CaissonError, ExecError } from './errors.ts';
import { follow, isPassing, startExec, startUnfollowed, type OutputChunk, type Started, type StartRequest } from './follow.ts';
import type { ExecInfo, ExecRequest } from './generated.ts';
import { newKey } from './http.ts';
import { Process, signalExec } from './process.ts';
import { endOf, type ExecResult } from './result.ts';

/** How a command is run. */
export interface SpawnOptions {
  /** Working directory. Default /workspace. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Wall time in milliseconds after which it is killed. Default and maximum: the sandbox's `wallMs`. */
  readonly timeoutMs?: number;
  /** Bytes kept of stdout, and the same of stderr. Default and maximum: the sandbox's `outputBytes`. */
  readonly outputBytes?: number;
  /** Whether stdin can be written. Default false: it reads end of file. */
  readonly stdin?: boolean;
  /** Gives it a terminal of this size; all its output is stdout then, and stdin is open. */
  readonly tty?: { readonly cols: number; readonly rows: number };
  /** Under which the same start may be asked for again. Default: a fresh one. */
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface ExecOptions extends Omit<SpawnOptions, 'stdin' | 'tty'> {
  /** What it reads from stdin. Default: nothing. */
  readonly stdin?: string | Uint8Array | AsyncIterable<string | Uint8Array>;
  /** Whether anything but an exit with 0 is thrown as ExecError. Default false. */
  readonly check?: boolean;
  /** Whether aborting the wait kills the command, and so what `onOutput` or the source of `stdin` throws. Default true. */
  readonly killOnAbort?: boolean;
  /** Bytes of stdout, and the same of stderr, that the result holds; what comes after is dropped and said. Default 16 MiB. */
  readonly maxBufferBytes?: number;
  /** Told everything as it comes. A promise holds back what follows. */
  readonly onOutput?: (chunk: OutputChunk) => void | Promise<void>;
}

type Stdin = NonNullable<ExecOptions['stdin']>;

/** Longest that an aborted wait takes to see its command killed. */
const KILL_MOST_MS = 10_000;

/** Runs a command and waits for its end. See `Sandbox.exec`. */
export async function exec(connection: Connection, sandbox: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const { signal, stdin, check = false, killOnAbort = true } = options;
  signal?.throwIfAborted();
  const starting = startExec(connection, startRequest(sandbox, argv, { ...options, stdin: stdin !== undefined }));
  const own: Own = { threw: false };
  let result: ExecResult;
  try {
    const started = await unlessAborted(starting, signal);
    result = await collected(connection, started, { ...options, own });
  } catch (error) {
    if (signal?.aborted === true || own.threw) await abandon(connection, starting, killOnAbort);
    // A connection that has failed carries no kill. Of what else ended the wait the error says more than a kill that fails.
    else if (!isPassing(error)) await abandon(connection, starting, killOnAbort).catch(() => undefined);
    throw error;
  }
  if (check && !result.ok) throw new ExecError(argv, result);
  return result;
}

/** Whether the caller's own code threw: whatever that is, also what looks like a connection that broke, it ends the wait. */
interface Own {
  threw: boolean;
}

/** Starts a command and leaves it running. See `Sandbox.spawn`. */
export async function spawn(connection: Connection, sandbox: string, argv: readonly string[], options: SpawnOptions = {}): Promise<Process> {
  const { signal } = options;
  signal?.throwIfAborted();
  const starting = startUnfollowed(connection, startRequest(sandbox, argv, options));
  try {
    return new Process(connection, await unlessAborted(starting, signal), 0);
  } catch (error) {
    if (signal?.aborted === true) await abandon(connection, starting.then((info) => ({ info })), true);
    throw error;
  }
}

function startRequest(sandbox: string, argv: readonly string[], { cwd, env, timeoutMs, outputBytes, stdin, tty, idempotencyKey }: Omit<SpawnOptions, 'signal'>): StartRequest {
  const request: ExecRequest = {
    argv,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(outputBytes === undefined ? {} : { outputBytes }),
    ...(stdin === true ? { stdin } : {}),
    ...(tty === undefined ? {} : { tty }),
  };
  return { sandbox, request, key: idempotencyKey ?? newKey() };
}

async function collected(connection: Connection, { info, events }: Started, options: ExecOptions & { readonly own: Own }): Promise<ExecResult> {
  const { signal, stdin, maxBufferBytes = DEFAULT_BUFFER_BYTES, onOutput, own } = options;
  const kept = collector(maxBufferBytes);
  const feeding = stdin === undefined ? undefined : startFeeding(new Process(connection, info, 0), ownStdin(stdin, own), signal);
  const chunks = follow(connection, { sandbox: info.sandbox, exec: info.id }, { signal: feeding?.signal ?? signal, events });
  try {
    let next = await chunks.next();
    for (; next.done !== true; next = await chunks.next()) {
      kept.add(next.value);
      await ownCall(() => onOutput?.(next.value as OutputChunk), own);
    }
    return resultOf(next.value, kept);
  } catch (error) {
    throw !own.threw && error instanceof CaissonError && error.code === 'CONNECTION_LOST' ? goesOn(error, info.id) : error;
  } finally {
    const fed = feeding?.end();
    await chunks.return(info);
    await fed;
  }
}

async function ownCall(call: () => void | Promise<void>, own: Own): Promise<void> {
  try {
    await call();
  } catch (error) {
    own.threw = true;
    throw error;
  }
}

function ownStdin(stdin: Stdin, own: Own): Stdin {
  return typeof stdin === 'string' || stdin instanceof Uint8Array ? stdin : ownChunks(stdin, own);
}

async function* ownChunks(chunks: AsyncIterable<string | Uint8Array>, own: Own): AsyncGenerator<string | Uint8Array, void> {
  try {
    yield* chunks;
  } catch (error) {
    own.threw = true;
    throw error;
  }
}

function goesOn(error: CaissonError, id: string): CaissonError {
  return new CaissonError({ code: error.code, message: error.message, hint: `the command was started and may go on: attach to ${id}`, cause: error.cause });
}

function resultOf(info: ExecInfo, kept: ReturnType<typeof collector>): ExecResult {
  const end = endOf(info);
  const [stdoutBytes, stderrBytes] = [kept.bytes('stdout'), kept.bytes('stderr')];
  const truncated = kept.dropped || (info.output === null ? end.exit === 'unknown' : info.output.stdout.truncated || info.output.stderr.truncated);
  return { ...end, stdout: stdoutBytes.toString('utf8'), stderr: stderrBytes.toString('utf8'), stdoutBytes, stderrBytes, truncated };
}

interface Feeding {
  /** Aborts with the caller's, and with why stdin could not be written. */
  readonly signal: AbortSignal;
  /** Ends the writing. Resolves when it has ended. */
  end(): Promise<void>;
}

/** Made only for who gives stdin: an abort makes an error with a stack, for which the result of a short command would wait. */
function startFeeding(process: Process, stdin: Stdin, signal: AbortSignal | undefined): Feeding {
  const over = new AbortController();
  const broken = new AbortController();
  const fed = feed(process, stdin, over.signal).catch((error: unknown) => broken.abort(error));
  return {
    signal: signal === undefined ? broken.signal : AbortSignal.any([signal, broken.signal]),
    end() {
      over.abort();
      return fed;
    },
  };
}

/** Writes stdin until it ends or the command does: one that ends without reading it all has not failed for that. */
async function feed(process: Process, stdin: Stdin, signal: AbortSignal): Promise<void> {
  try {
    if (typeof stdin === 'string' || stdin instanceof Uint8Array) await process.write(stdin, { signal });
    else for await (const chunk of stdin) await process.write(chunk, { signal });
    await process.endStdin({ signal });
  } catch (error) {
    const ended = signal.aborted || (await process.info({ signal }).then(({ state }) => state === 'ended', () => false));
    if (!ended) throw error;
  }
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener('abort', onAbort));
}

/** A start that nobody waits for any more. */
type Abandoned = Pick<Started, 'info'> & Partial<Pick<Started, 'events'>>;

/**
 * Lets go of a command, and kills it where that is asked for. A start that is under way is waited for, because what has not
 * said its id yet cannot be killed.
 *
 * @throws CaissonError KILL_NOT_DELIVERED
 */
async function abandon(connection: Connection, starting: Promise<Abandoned>, kill: boolean): Promise<void> {
  if (!kill) return void starting.then(({ events }) => events?.[Symbol.dispose]()).catch(() => undefined);
  const late = new AbortController();
  const timeout = delay(KILL_MOST_MS, undefined, { signal: late.signal }).then(() => Promise.reject(new Error(`it took more than ${KILL_MOST_MS} ms`)));
  try {
    await Promise.race([killStarted(connection, starting), timeout]);
  } catch (error) {
    throw new CaissonError({ code: 'KILL_NOT_DELIVERED', message: 'the wait was ended, and whether its command was killed is not known', hint: 'look at the execs of the sandbox, or close it', cause: error });
  } finally {
    late.abort();
  }
}

async function killStarted(connection: Connection, starting: Promise<Abandoned>): Promise<void> {
  const started = await starting.catch((error: unknown) => {
    if (error instanceof CaissonError && error.status !== null) return null; // it was refused: there is nothing to kill
    throw error;
  });
  if (started === null) return;
  started.events?.[Symbol.dispose]();
  await signalExec(connection, { sandbox: started.info.sandbox, exec: started.info.id }, 'SIGKILL');
}
