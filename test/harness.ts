import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { CaissonError, LEVELS, statePaths, type ControlStatus, type FromControl, type Level, type Problem, type RunRequest, type RunResult, type StatePaths, type SupervisorStatus } from '@caisson/contract';
import { askControl, runCommand } from '@caisson/cli';
import { Caller } from '@caisson/wire';

export const HOME = resolve(import.meta.dirname, '..');
export const IS_ROOT = process.getuid?.() === 0;
/** The one line that a test prints when it needs root. */
export const NEEDS_ROOT = 'needs root: rootless hosts without a delegated cgroup v2 refuse to run';

export interface Ran {
  readonly result: RunResult;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface Caisson extends AsyncDisposable {
  readonly dir: string;
  readonly paths: StatePaths;
  /** Environment in which `./caisson` speaks to this instance. */
  readonly env: NodeJS.ProcessEnv;
  readonly supervisor: ChildProcess;
  run(request: RunRequest, stdin?: Buffer, signal?: AbortSignal): Promise<Ran>;
  levels(): Promise<Level[]>;
  status(): Promise<SupervisorStatus>;
  control(): Promise<ControlStatus>;
}

export interface StartOptions {
  /** State directory to use; it is kept. Default: a fresh one, removed at the end. */
  readonly dir?: string;
  readonly uid?: number;
}

/** Starts a whole Caisson of its own: real processes, real sockets, real sandboxes. */
export async function startCaisson({ dir: given, uid }: StartOptions = {}): Promise<Caisson> {
  const dir = given ?? mkdtempSync(`${tmpdir()}/caisson-test-`);
  const env = { ...process.env, CAISSON_DIR: dir, CAISSON_HOME: HOME };
  const paths = statePaths({ env, uid: uid ?? process.getuid?.() ?? 0, resolve });
  const supervisor = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `${HOME}/apps/daemon/src/main.ts`, 'supervisor'], {
    env,
    stdio: ['ignore', 'ignore', process.env['CAISSON_TEST_LOG'] === undefined ? 'ignore' : 'inherit', 'ipc'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const ended = new Promise<void>((done) => supervisor.once('exit', () => done()));
  const word = await new Promise<{ ready?: true; problem?: Problem }>((done, reject) => {
    supervisor.once('message', (message) => done(message as { ready?: true; problem?: Problem }));
    supervisor.once('exit', () => reject(new Error('the supervisor ended before it was ready')));
  });
  if (word.problem !== undefined) {
    await ended;
    if (given === undefined) rmSync(dir, { recursive: true, force: true });
    throw CaissonError.from(word.problem);
  }
  const caisson: Caisson = {
    dir,
    paths,
    env,
    supervisor,
    run: (request, stdin, signal) => runIn(paths, request, stdin, signal),
    async levels() {
      const { host } = await caisson.control();
      return LEVELS.filter((level) => host.missing[level] === null);
    },
    async status() {
      using caller = new Caller(paths.supervisorSocket);
      return (await caller.call('status', null)) as SupervisorStatus;
    },
    async control() {
      const reply = await askControl(paths, { type: 'status' });
      return (reply as Extract<FromControl, { type: 'status' }>).status;
    },
    async [Symbol.asyncDispose]() {
      supervisor.kill('SIGTERM');
      await ended;
      if (given === undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
  return caisson;
}

export async function runIn(paths: StatePaths, request: RunRequest, stdin?: Buffer, signal = AbortSignal.timeout(120_000)): Promise<Ran> {
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const result = await runCommand(paths, stdin === undefined ? request : { ...request, stdin: true }, {
    signal,
    stdin: stdin === undefined ? undefined : chunksOf(stdin),
    write: async (stream, bytes) => void chunks[stream].push(bytes),
  });
  return { result, stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr) };
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Ids of the children that the first thread of a process has now; one that has ended is gone from them when it is waited for. */
export function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((each) => each !== '').map(Number);
}
