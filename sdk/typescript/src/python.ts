import { randomBytes } from 'node:crypto';
import type { Connection } from './connection.ts';
import { startInterpreter, type Interpreter, type PythonOptions } from './python-interpreter.ts';
import type { Frame, PythonError, PythonOutput } from './python-frames.ts';

export interface PythonRunOptions {
  /** Wall time in milliseconds after which the code is interrupted. Default: none but the sandbox's `wallMs`, which is that of the whole session. */
  readonly timeoutMs?: number;
  /** Interrupts the code; the run then throws the signal's reason, and the session goes on. */
  readonly signal?: AbortSignal | undefined;
  /** Told what is printed as it comes. A promise holds back what follows. */
  readonly onStdout?: (text: string) => void | Promise<void>;
  readonly onStderr?: (text: string) => void | Promise<void>;
  /** Characters of stdout, and the same of stderr, that the result holds; what comes after is dropped and said. Default 1 Mi. */
  readonly maxChars?: number;
}

export interface PythonResult {
  /** `repr` of the value of the last expression; null when there is none. */
  readonly text: string | null;
  /** That value, what was given to `display`, and the figures of matplotlib, in the order in which they came. */
  readonly results: readonly PythonOutput[];
  readonly stdout: string;
  readonly stderr: string;
  /** Whether anything that was printed or shown is missing here. */
  readonly truncated: boolean;
  /** The exception that ended the code; `KeyboardInterrupt` when it was interrupted. */
  readonly error: PythonError | null;
  /** Whether `timeoutMs` ran out. */
  readonly timedOut: boolean;
}

const MAX_CHARS = 1024 * 1024;
/** How long interrupted code may take to end before its interpreter is killed. */
const GRACE_MS = 3_000;
/** What the driver must have left to say how a run ended; see the driver's RESERVE. */
const RESERVE_BYTES = 1 << 17;

/**
 * A Python interpreter in a sandbox that keeps its variables from run to run. Runs are one after the other. Its life is
 * that of one command: it ends at the sandbox's `wallMs` at the latest, and when all that it has said comes to the sandbox's
 * `outputBytes`. What ends says so: `run` throws PYTHON_ENDED then, and `restart` begins anew, without the variables.
 */
export class PythonSession implements AsyncDisposable {
  readonly #start: () => Promise<Interpreter>;
  #interpreter: Interpreter;
  #last: Promise<unknown> = Promise.resolve();
  #runs = 0;

  private constructor(start: () => Promise<Interpreter>, interpreter: Interpreter) {
    this.#start = start;
    this.#interpreter = interpreter;
  }

  /** For the SDK itself: see `Sandbox.python`. */
  static async open(connection: Connection, sandbox: string, options: PythonOptions): Promise<PythonSession> {
    const start = (): Promise<Interpreter> => startInterpreter({ connection, sandbox, word: randomBytes(16).toString('hex') }, options);
    return new PythonSession(start, await start());
  }

  /** Version of the interpreter, such as 3.11.2. */
  get version(): string {
    return this.#interpreter.version;
  }

  /**
   * Runs code and waits for its end. An exception in it is a result, not an exception here.
   *
   * @throws CaissonError PYTHON_ENDED when the interpreter has ended or ends meanwhile; the signal's reason
   */
  run(code: string, options: PythonRunOptions = {}): Promise<PythonResult> {
    const { signal } = options;
    const done = this.#last.then(async () => {
      signal?.throwIfAborted();
      return this.#run(code, options);
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #run(code: string, options: PythonRunOptions): Promise<PythonResult> {
    const { timeoutMs, signal } = options;
    const interpreter = this.#interpreter;
    const run = ++this.#runs;
    const result = collect(options);
    const interrupting = interruptOn(interpreter, { timeoutMs, signal });
    try {
      await interpreter.send({ run, code });
      const done = await untilDone(interpreter, run, { result, interrupting });
      await interrupting.stop();
      signal?.throwIfAborted();
      if (done.left < RESERVE_BYTES) interpreter.exhausted();
      return result.end(done, interrupting.timedOut());
    } finally {
      await interrupting.stop();
    }
  }

  /** Interrupts the code that runs, as Ctrl-C does. Without any it does nothing. */
  async interrupt(): Promise<void> {
    await this.#interpreter.interrupt();
  }

  /** Ends the interpreter and starts another: no variable is left. A run that is under way throws PYTHON_ENDED. */
  restart(): Promise<void> {
    return this.#ended(async () => {
      this.#interpreter = await this.#start();
    });
  }

  /** Ends the interpreter. */
  close(): Promise<void> {
    return this.#ended(() => Promise.resolve());
  }

  /** Ends the interpreter that runs, and the one that a restart before this has begun: one after the other. */
  #ended(then: () => Promise<void>): Promise<void> {
    const killed = this.#interpreter.kill();
    const done = this.#last.then(async () => {
      await killed;
      await this.#interpreter.kill();
      await then();
    });
    killed.catch(() => undefined); // thrown by `done`
    this.#last = done.catch(() => undefined);
    return done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

type Done = Extract<Frame, { type: 'done' }>;

async function untilDone(interpreter: Interpreter, run: number, { result, interrupting }: { readonly result: Collected; readonly interrupting: Interrupting }): Promise<Done> {
  for (;;) {
    const frame = await interpreter.next();
    if (frame.type === 'ready' || frame.run !== run) continue; // threads of earlier runs may still print
    if (frame.type === 'done') return frame;
    if (frame.type === 'begun') interrupting.begun();
    else await result.add(frame);
  }
}

interface Collected {
  add(frame: Extract<Frame, { type: 'result' | 'output' }>): Promise<void>;
  end(done: Done, timedOut: boolean): PythonResult;
}

function collect({ onStdout, onStderr, maxChars = MAX_CHARS }: PythonRunOptions): Collected {
  const printed = { stdout: '', stderr: '' };
  const results: PythonOutput[] = [];
  let text: string | null = null;
  let dropped = false;
  return {
    async add(frame) {
      if (frame.type === 'result') {
        results.push(frame.output);
        if (frame.isLast) text = frame.text;
      } else {
        const part = frame.text.slice(0, maxChars - printed[frame.stream].length);
        if (part.length < frame.text.length) dropped = true;
        printed[frame.stream] += part;
        await (frame.stream === 'stdout' ? onStdout : onStderr)?.(frame.text);
      }
    },
    end: ({ error, truncated }, timedOut) => ({ text, results, ...printed, truncated: truncated || dropped, error, timedOut }),
  };
}

interface Interrupting {
  /** The code runs: what interrupts it before would be lost. */
  begun(): void;
  timedOut(): boolean;
  /** From here on nothing is interrupted; resolves when no interrupt is under way. */
  stop(): Promise<void>;
}

/** Interrupts at the time-out and at an abort; what does not end then is killed. */
function interruptOn(interpreter: Interpreter, { timeoutMs, signal }: { readonly timeoutMs: number | undefined; readonly signal: AbortSignal | undefined }): Interrupting {
  let timedOut = false;
  let over = false;
  let underWay: Promise<unknown> = Promise.resolve();
  let grace: NodeJS.Timeout | undefined;
  const running = Promise.withResolvers<void>();
  const end = (why: string): void => {
    const kill = (): void => void (underWay = interpreter.kill(`${why}, and the code did not end when it was interrupted`).catch(() => undefined)); // the run fails as its connection does
    grace ??= setTimeout(kill, GRACE_MS);
    underWay = running.promise.then(() => (over ? undefined : interpreter.interrupt())).catch(kill);
  };
  const abort = (): void => end('the run was aborted');
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
    timedOut = true;
    end(`its ${timeoutMs} ms were over`);
  }, timeoutMs);
  signal?.addEventListener('abort', abort, { once: true });
  return {
    begun: () => running.resolve(),
    timedOut: () => timedOut,
    async stop() {
      if (over) return;
      over = true;
      running.resolve(); // nobody waits on for one that never began
      clearTimeout(timer);
      clearTimeout(grace);
      signal?.removeEventListener('abort', abort);
      await underWay;
    },
  };
}
