import { spawn, type ChildProcess } from 'node:child_process';
import type { Resolved } from './resolved.ts';

interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly outputMax: number;
}

/**
 * Runs a program and takes what it prints. Its other output is thrown away, because it may quote the secret. It leads a
 * process group of its own, so that with it ends what it has started when it takes too long or prints too much.
 */
export async function runProgram([program = '', ...args]: readonly string[], { env, timeoutMs, outputMax }: ProgramOptions): Promise<Resolved> {
  const child = spawn(program, args, { env: { ...env }, cwd: '/', stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  const chunks: Buffer[] = [];
  try {
    const why = await outcome(child, chunks, { timeoutMs, outputMax });
    return why === null ? { value: Buffer.concat(chunks) } : { why };
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}

/** Null when it ended well. */
function outcome(child: ChildProcess, chunks: Buffer[], { timeoutMs, outputMax }: Omit<ProgramOptions, 'env'>): Promise<string | null> {
  return new Promise((resolve) => {
    let bytes = 0;
    const giveUp = (why: string): void => {
      killGroup(child);
      child.stdout?.destroy();
      settle(why);
    };
    const timer = setTimeout(() => giveUp(`the program is not done after ${timeoutMs} ms`), timeoutMs);
    const settle = (why: string | null): void => {
      clearTimeout(timer);
      resolve(why);
    };
    child.stdout?.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > outputMax) giveUp(`the program prints more than ${outputMax} bytes`);
    });
    child.once('error', (error: NodeJS.ErrnoException) => settle(`the program cannot be started (${error.code ?? 'unknown'})`));
    child.once('close', (code, signal) => settle(code === 0 ? null : `the program ended with ${signal ?? code ?? 'unknown'}`));
  });
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}
