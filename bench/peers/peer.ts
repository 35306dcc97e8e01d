import { spawn } from 'node:child_process';

/** Where a peer may work, and what it runs. */
export interface Ground {
  /** Root of the checkout. */
  readonly root: string;
  /** A fresh directory of the peer's own, removed afterwards. */
  readonly scratch: string;
  /** A root file system that holds one static program: /true ends at once, /true hold stays. */
  readonly rootfs: string;
}

/** Something that is measured beside Caisson. */
export interface Peer {
  readonly name: string;
  /** Resolves to one sentence when the peer cannot be measured here. */
  open(ground: Ground): Promise<OpenPeer | string>;
}

export interface OpenPeer extends AsyncDisposable {
  /** From nothing to the end of a program that does nothing. {n} in it is replaced by a number of its own. */
  readonly run: readonly string[];
  /** The same in a sandbox that is already there. */
  readonly exec?: readonly string[];
  /** A sandbox that goes on from saved memory; it stays until the peer is closed. */
  readonly restore?: readonly string[];
  /** Argv under which the commands are repeated, such as a mount namespace they need. */
  readonly under?: readonly string[];
}

export interface Ended {
  readonly status: number | null;
  readonly stderr: string;
}

/**
 * Runs a program to its end. Standard streams are pipes, never /dev/null: OCI runtimes take ownership of what they
 * are given. A program that leaves a container holding the pipes has still ended.
 */
export async function runProgram(argv: readonly string[], input: { readonly cwd?: string; readonly path?: string } = {}): Promise<Ended> {
  const [program = '', ...args] = argv;
  const env = { ...process.env, PATH: `${input.path ?? ''}${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  const child = spawn(program, args, { cwd: input.cwd, env, stdio: 'pipe' });
  child.stdin.on('error', () => undefined).end();
  child.stdout.resume();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString('utf8')).slice(-2000)));
  try {
    return await new Promise<Ended>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status) => setImmediate(() => resolve({ status, stderr })));
    });
  } finally {
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

/** Path of a program, or nothing where the machine has none of that name. */
export async function which(name: string): Promise<string | undefined> {
  const { status, stdout } = await output(['which', name]);
  return status === 0 ? stdout.trim() : undefined;
}

/** Runs a program for what it prints. */
export async function output(argv: readonly string[]): Promise<{ readonly status: number | null; readonly stdout: string }> {
  const [program = '', ...args] = argv;
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end();
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { status, stdout: Buffer.concat(chunks).toString('utf8') };
}
