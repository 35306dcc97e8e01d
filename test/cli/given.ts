import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { statePaths, type StatePaths } from '@caisson/contract';
import { HOME } from '../harness.ts';

const MAIN = `${HOME}/apps/cli/src/main.ts`;

export interface Said {
  /** Exit status, or null when a signal ended it. */
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly tookMs: number;
}

/** Starts `caisson` with these arguments, its streams as pipes. */
export function startCli(env: NodeJS.ProcessEnv, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
}

/** What a started `caisson` says until it ends. */
export async function endOf(child: ChildProcess): Promise<Said> {
  const start = performance.now();
  const wrote = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout?.on('data', (chunk: Buffer) => wrote.stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => wrote.stderr.push(chunk));
  const status = await new Promise<number | null>((done, reject) => {
    child.once('error', reject);
    child.once('close', (code) => done(code));
  });
  return { status, stdout: Buffer.concat(wrote.stdout), stderr: Buffer.concat(wrote.stderr).toString('utf8'), tookMs: performance.now() - start };
}

/** Runs `caisson` as a shell would. Its stdin is `stdin`, or at its end. */
export function cli(env: NodeJS.ProcessEnv, args: readonly string[], stdin: Buffer | string = ''): Promise<Said> {
  const child = startCli(env, args);
  child.stdin?.on('error', () => undefined); // it may end before it has read all
  child.stdin?.end(stdin);
  return endOf(child);
}

export interface Place extends AsyncDisposable {
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly paths: StatePaths;
}

/** A state directory in which nothing is up. What is started in it is stopped at the end, and the directory removed. */
export function emptyPlace(extra: NodeJS.ProcessEnv = {}): Place {
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  const env = { ...process.env, CAISSON_DIR: dir, CAISSON_HOME: HOME, ...extra };
  return {
    dir,
    env,
    paths: statePaths({ env, uid: process.getuid?.() ?? 0, resolve }),
    async [Symbol.asyncDispose]() {
      await cli(env, ['down']);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
