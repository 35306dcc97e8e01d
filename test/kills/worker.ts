import { setTimeout as delay } from 'node:timers/promises';
import { Sandbox, type ConnectionOptions, type ExecResult } from '@caisson/sdk';
import { shellOf } from './token.ts';

/** The effect is a byte in a file of its own: before or after a pause, so that kills come on either side of it. */
const SCRIPTS = ['printf x >> "$0"', 'printf x >> "$0"; sleep 0.01', 'sleep 0.01; printf x >> "$0"'] as const;
const RECOVERY_MS = 60_000;

/** What a client knows of one command. */
export interface Asked {
  readonly token: number;
  readonly workspace: string;
  /** What it was answered, or why it was not. */
  readonly answer: Pick<ExecResult, 'execId' | 'exit' | 'ending' | 'evidence'> | { readonly error: string };
}

export interface Worker {
  readonly connection: ConnectionOptions;
  readonly workspace: string;
  readonly random: () => number;
  /** A number that no other command has. */
  readonly fresh: () => number;
  readonly asked: Asked[];
  box: Sandbox | null;
}

/** One command with an effect. Resolves to whether it was answered with its end. */
export async function ask(worker: Worker): Promise<boolean> {
  const { box, workspace, random, asked } = worker;
  if (box === null) return false;
  const token = worker.fresh();
  const script = SCRIPTS[Math.floor(random() * SCRIPTS.length)] ?? SCRIPTS[0];
  try {
    const { execId, exit, ending, evidence } = await box.exec([shellOf(token), '-c', script, `t-${token}`], { idempotencyKey: `t-${token}` });
    asked.push({ token, workspace, answer: { execId, exit, ending, evidence } });
    return exit === 0;
  } catch (error) {
    asked.push({ token, workspace, answer: { error: String(error).split('\n')[0] ?? '' } });
    return false;
  }
}

/** Asks until a command is answered, in a new sandbox of the same workspace where the one before is gone. */
export async function works(worker: Worker): Promise<void> {
  let why: unknown = null;
  for (const untilMs = Date.now() + RECOVERY_MS; Date.now() < untilMs; await delay(20)) {
    worker.box ??= await Sandbox.create({ workspace: worker.workspace, level: 'container', keepAlive: true, ttlMs: 7_200_000 }, { connection: worker.connection }).catch((error: unknown) => ((why = error), null));
    if (worker.box !== null && await ask(worker)) return;
    const state = await worker.box?.info().then((info) => info.state, (error: unknown) => ((why = error), null));
    if (state === 'closed' || state === 'lost' || isGone(why)) worker.box = null;
  }
  throw new Error('the instance did not recover', { cause: why });
}

function isGone(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === 'SANDBOX_NOT_FOUND';
}

/** Every effect in the workspace: the file of each token, its bytes and when it was written last. */
export async function effects({ connection, workspace, box }: Worker): Promise<readonly Effect[]> {
  const reader = box ?? (await Sandbox.create({ workspace }, { connection }));
  const { stdout } = await reader.exec(['find', '.', '-name', 't-*', '-printf', '%f %s %T@\\n']);
  return stdout.split('\n').filter((line) => line !== '').map((line) => {
    const [name = '', bytes, seconds] = line.split(' ');
    return { token: Number(name.slice(2)), times: Number(bytes), atMs: Number(seconds) * 1000 };
  });
}

export interface Effect {
  readonly token: number;
  /** How often the command had its effect. */
  readonly times: number;
  /** By the clock that ticks in the kernel, which is up to 10 ms behind. */
  readonly atMs: number;
}
