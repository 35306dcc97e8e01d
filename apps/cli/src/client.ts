import { spawn } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, isErrorCode, type ErrorCode, type Problem } from '@caisson/contract/errors';
import { CLIENT_STDIN_WINDOW, statePaths, type FromControl, type RunRequest, type RunResult, type StatePaths, type ToControl } from '@caisson/contract/light';
import { checkOwnFolders, connectChannel, type Channel, type Connecting } from '@caisson/wire';

/** The paths of the instance that the environment names. */
export function instancePaths(): StatePaths {
  return statePaths({ env: process.env, uid: process.getuid?.() ?? 0, resolve });
}

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly stdin?: AsyncIterable<Buffer> | undefined;
  /** A connection to control that is already under way. */
  readonly early?: Connecting | undefined;
  write(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void>;
}

/**
 * Runs one command through the daemon.
 *
 * @throws CaissonError DAEMON_UNREACHABLE before anything was asked, SANDBOX_LOST when the daemon went away during
 *   the call (what became of it is then unknown), CANCELLED when the signal was aborted, or what the daemon answered.
 */
export async function runCommand(paths: StatePaths, request: RunRequest, { signal, stdin, early, write }: RunOptions): Promise<RunResult> {
  const { promise, resolve: settle, reject } = Promise.withResolvers<RunResult>();
  let writing: Promise<void> = Promise.resolve();
  let room = CLIENT_STDIN_WINDOW;
  let wake: (() => void) | undefined;
  checkOwnFolders(paths.ownFolders, { make: false });
  const channel = await connectChannel(paths.controlSocket, {
    onMessage(message) {
      const reply = message as FromControl;
      if (reply.type === 'result') settle(reply.result);
      else if (reply.type === 'problem') reject(errorOf(reply.problem));
      else if (reply.type === 'stdin-taken') {
        room += reply.bytes;
        wake?.();
      }
    },
    onBytes: (kind, _stream, bytes) => {
      if (kind === 'stdin') return;
      writing = writing.then(() => write(kind, bytes));
      return writing;
    },
    onClose: (error) => {
      reject(new CaissonError('SANDBOX_LOST', { detail: error?.message ?? 'the daemon went away' }));
      wake?.();
    },
  }, early);
  const abort = (): void => {
    reject(new CaissonError('CANCELLED', { detail: 'interrupted' }));
    channel[Symbol.dispose]();
  };
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  channel.send({ type: 'run', request } satisfies ToControl);
  if (stdin !== undefined) {
    feed(channel, stdin).catch((error: Error) => {
      reject(error);
      channel[Symbol.dispose]();
    });
  }
  const result = await promise;
  await writing;
  return result;

  async function feed(to: Channel, chunks: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length && !to.closed; ) {
        if (room === 0) {
          await new Promise<void>((done) => (wake = done));
          continue;
        }
        const part = chunk.subarray(at, at + room);
        room -= part.length;
        at += part.length;
        await to.sendBytes('stdin', 1, part);
      }
      if (to.closed) return;
    }
    await to.sendBytes('stdin', 1, Buffer.alloc(0));
  }
}

function errorOf({ code, message, hint }: Problem): CaissonError {
  return isErrorCode(code) ? CaissonError.from({ code, message, hint }) : new CaissonError('INTERNAL', { detail: message });
}

/** One question to control. */
export async function askControl(paths: StatePaths, question: ToControl): Promise<FromControl> {
  const { promise, resolve: settle, reject } = Promise.withResolvers<FromControl>();
  checkOwnFolders(paths.ownFolders, { make: false });
  using channel = await connectChannel(paths.controlSocket, {
    onMessage: (message) => settle(message as FromControl),
    onClose: () => reject(new CaissonError('DAEMON_UNREACHABLE', { socket: paths.controlSocket })),
  });
  channel.send(question);
  const reply = await promise;
  if (reply.type === 'problem') throw errorOf(reply.problem);
  return reply;
}

/** Starts the daemon in the background and resolves when it is ready. @throws CaissonError with what it said */
export async function startDetached(paths: StatePaths, home: string): Promise<number> {
  const log = openLog(paths);
  try {
    const child = spawn(process.execPath, daemonArguments(home), {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...process.env, CAISSON_HOME: home, CAISSON_DIR: paths.dir },
    });
    const word = await new Promise<{ ready?: true; problem?: Problem }>((settle, reject) => {
      child.once('message', (message) => settle(message as { ready?: true; problem?: Problem }));
      child.once('error', reject);
      child.once('exit', (code) => reject(new CaissonError('DAEMON_START_FAILED', { detail: `the supervisor ended with ${code}`, log: paths.log })));
    });
    child.disconnect();
    child.unref();
    if (word.problem !== undefined) throw errorOf(word.problem);
    return child.pid ?? 0;
  } finally {
    closeSync(log);
  }
}

function openLog(paths: StatePaths): number {
  try {
    mkdirSync(paths.dir, { recursive: true, mode: 0o711 });
    checkOwnFolders([paths.dir, dirname(paths.log)], { make: true });
    return openSync(paths.log, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (cause) {
    if (cause instanceof CaissonError) throw cause;
    throw new CaissonError('STATE_DIR_INVALID', { dir: paths.dir, detail: (cause as Error).message }, { cause });
  }
}

export function daemonArguments(home: string): string[] {
  return ['--disable-warning=ExperimentalWarning', `${home}/apps/daemon/src/main.ts`, 'supervisor'];
}

/** Longest that the daemon of another caller may take to answer, and the pause between two attempts. */
const START_MS = 30_000;
const RETRY_MS = 50;

/** Does `use`; when nothing answers, starts the daemon first. Of several callers that find none up, one starts it. */
export async function withDaemon<T>(paths: StatePaths, home: string, use: () => Promise<T>): Promise<T> {
  for (const giveUpAtMs = performance.now() + START_MS; ; ) {
    try {
      return await use();
    } catch (error) {
      if (!hasCode(error, 'DAEMON_UNREACHABLE') || performance.now() > giveUpAtMs) throw error;
    }
    try {
      const pid = await startDetached(paths, home);
      process.stderr.write(`caisson: started in ${paths.dir} (pid ${pid}); stop it with ./caisson down\n`);
    } catch (error) {
      if (!hasCode(error, 'DAEMON_RUNNING')) throw error;
      await delay(RETRY_MS); // it is up but does not answer yet
    }
  }
}

function hasCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof CaissonError && error.code === code;
}
