import type { Connection } from './connection.ts';
import { CaissonError } from './errors.ts';
import { spawn } from './exec.ts';
import type { SandboxInfo } from './generated.ts';
import { askJson } from './http.ts';
import type { Process } from './process.ts';
import { PYTHON_DRIVER } from './python-driver.ts';
import { parseFrame, type Frame } from './python-frames.ts';
import { endOf, type ExecEnd } from './result.ts';
import { linesOf } from './text-lines.ts';

export interface PythonOptions {
  /** Working directory; modules there can be imported. Default /workspace. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Program that understands `-u -c`. Default python3. */
  readonly program?: string;
  readonly signal?: AbortSignal | undefined;
}

/** A running interpreter with the driver in it. */
export interface Interpreter {
  readonly version: string;
  send(request: { readonly run: number; readonly code: string }): Promise<void>;
  /** What it says next. @throws CaissonError PYTHON_ENDED when it says nothing more */
  next(): Promise<Frame>;
  interrupt(): Promise<void>;
  /** Ends it, and says why to whoever waits for it. */
  kill(why?: string): Promise<void>;
  /** It cannot say more: what is asked of it from now on is refused. */
  exhausted(): void;
}

/** More than the longest line of the driver: a result of RICH_MOST bytes, its text of TEXT_MOST characters, and what is around them. */
const LINE_MOST_CHARS = 8 * 1024 * 1024;
const READY_MOST_MS = 30_000;
const HINT = 'restart() begins another; a larger wallMs or outputBytes of the sandbox lets one go on for longer';

export interface InterpreterPlace {
  readonly connection: Connection;
  readonly sandbox: string;
  /** What each line of the driver begins with: nothing that the code prints by chance is taken for one. */
  readonly word: string;
}

/** Starts an interpreter and waits for its first word. @throws CaissonError PYTHON_ENDED, COMMAND_NOT_FOUND */
export async function startInterpreter(place: InterpreterPlace, { program = 'python3', cwd, env, signal }: PythonOptions): Promise<Interpreter> {
  const { connection, sandbox, word } = place;
  const info = await askJson<SandboxInfo>(connection, { method: 'GET', path: `/v1/sandboxes/${encodeURIComponent(sandbox)}`, repeatable: true, signal });
  const given = { ...(cwd === undefined ? {} : { cwd }), ...(env === undefined ? {} : { env }) };
  const process = await spawn(connection, sandbox, [program, '-u', '-c', PYTHON_DRIVER], { ...given, stdin: true, signal });
  const interpreter = interpreterOf(process, word);
  const limit = AbortSignal.timeout(READY_MOST_MS);
  const end = (why: string) => (): void => void interpreter.kill(why).catch(() => undefined); // the kill below is tried again, and says what fails
  const late = end(`it did not begin within ${READY_MOST_MS} ms`);
  const abort = end('its start was aborted');
  limit.addEventListener('abort', late, { once: true });
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await process.write(`${JSON.stringify({ word, budget: info.limits.outputBytes })}\n`).catch(() => undefined); // a program that is not there says so by its end
    const first = await interpreter.next();
    signal?.throwIfAborted();
    if (first.type !== 'ready') throw ended('its first word was another');
    return { ...interpreter, version: first.python };
  } catch (error) {
    await interpreter.kill();
    signal?.throwIfAborted();
    throw error;
  } finally {
    limit.removeEventListener('abort', late);
    signal?.removeEventListener('abort', abort);
  }
}

function interpreterOf(process: Process, word: string): Omit<Interpreter, 'version'> {
  const frames = framesOf(process, word);
  let why: string | null = null;
  return {
    async send(request) {
      if (why !== null) throw ended(why);
      // An interpreter that has ended takes nothing; what it says next is why.
      await process.write(`${JSON.stringify(request)}\n`).catch(async (error: unknown) => {
        if ((await process.info()).state === 'running') throw error;
      });
    },
    async next() {
      const { value, done } = await frames.next();
      if (done !== true) return value;
      if (value?.ending.kind === 'not-started') throw new CaissonError({ code: value.ending.code, message: value.reason, hint: 'use an image that has Python, or name its program' });
      why ??= value === undefined ? 'nothing more is known of it' : value.reason;
      throw ended(why);
    },
    interrupt: async () => void (await process.kill('SIGINT')),
    async kill(because = 'it was closed') {
      why ??= because;
      try {
        await process.kill('SIGKILL');
      } finally {
        frames.return(undefined).catch(() => undefined); // nobody reads on: its connection is let go
      }
    },
    exhausted: () => void (why ??= 'what it has said comes to the outputBytes of the sandbox'),
  };
}

/** The driver's lines, and then the end of its process. */
async function* framesOf(process: Process, word: string): AsyncGenerator<Frame, ExecEnd | undefined> {
  for await (const line of linesOf(process.stdout, LINE_MOST_CHARS)) {
    const frame = parseFrame(line, word);
    if (frame !== null) yield frame;
  }
  return endOf(await process.info());
}

function ended(why: string): CaissonError {
  return new CaissonError({ code: 'PYTHON_ENDED', message: `the Python session has ended: ${why}`, hint: HINT });
}
