import { spawnSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError } from '@caisson/contract/errors';
import type { ExecInfo, Process, Sandbox } from '@caisson/sdk';
import { openApi } from './api.ts';
import { detachKeys } from './detach-keys.ts';
import { drain, explain, statusOf, terminalSize, write } from './exec-output.ts';
import { parseCount } from './quantity.ts';
import { replay, type Replay } from './replay.ts';
import type { Json } from './sandbox-commands.ts';
import { note, printJson } from './say.ts';

/** Goes to the terminal of an exec, of a new command, or of the only one that has one. */
export async function attach(id: string, words: readonly string[], flags: Json & { readonly from?: string }): Promise<number> {
  const from = flags.from === undefined ? 0 : parseCount('--from', flags.from);
  const box = await (await openApi()).box(id);
  const { exec, again } = await chosen(box, words);
  return attachTo(exec, { input: true, from, again, stay: true, json: flags.json === true });
}

const SHELL = ['/bin/sh', '-c', 'if command -v bash >/dev/null; then exec bash; fi; exec sh'] as const;

async function chosen(box: Sandbox, words: readonly string[]): Promise<{ readonly exec: Process; readonly again: boolean }> {
  const [first = ''] = words;
  if (words.length === 1 && /^exe-[0-9a-z]{16}$/.test(first)) return { exec: await box.attach(first), again: true };
  const running = words.length > 0 ? [] : (await box.execs()).filter(({ state, tty }) => state === 'running' && tty);
  if (running.length > 1) throw new CaissonError('USAGE', { detail: `${running.map((exec) => exec.id).join(', ')}: each has a terminal; name one` });
  if (running[0] !== undefined) return { exec: await box.attach(running[0].id), again: true };
  // A new one has its size from the start. Made to draw itself again while it starts, it could keep the size between the two.
  return { exec: await box.spawn(words.length > 0 ? words : SHELL, { tty: terminalSize(), env: { TERM: process.env['TERM'] ?? 'xterm-256color' } }), again: false };
}

export interface AttachOptions {
  /** Whether what is typed here goes there. */
  readonly input: boolean;
  readonly from?: number;
  /** Whether it may have been attached to before: then it is made to draw itself again. */
  readonly again?: boolean;
  /** Whether the exec is its own master: a signal to us then ends us, and not it. */
  readonly stay?: boolean;
  /** Whether its end is printed as one object. */
  readonly json?: boolean;
}

const SIGNAL_NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Why the exec was left running, and the exit status that says so. */
class Left extends Error {
  readonly status: number;

  constructor(status: number) {
    super('left running');
    this.status = status;
  }
}

/**
 * Makes our terminal that of an exec, until it ends or the detach keys are typed: bytes as they are in both directions, and
 * the size follows. Our terminal's own settings are put back on every way out, and only then is anything said.
 *
 * @returns the exit status of the exec; 0 when it was left running, or what a signal to us makes of it
 */
export async function attachTo(exec: Process, options: AttachOptions): Promise<number> {
  const end = await joined(exec, options);
  if (end instanceof Left) {
    if (end.status === 0) process.stderr.write('\n');
    if (options.json === true) printJson({ left: exec.id, sandbox: exec.sandbox });
    else note(`left ${exec.id} running; come back with ./caisson attach ${exec.sandbox} ${exec.id}`);
    return end.status;
  }
  if (options.json === true) printJson(end);
  else explain(end);
  return statusOf(end);
}

async function joined(exec: Process, { input, from = 0, again = false, stay = false }: AttachOptions): Promise<ExecInfo | Left> {
  const leave = new AbortController();
  const left = (status: number): void => leave.abort(new Left(status));
  using open = new DisposableStack();
  open.use(input && process.stdin.isTTY ? rawTerminal() : passSignals(exec, stay ? left : undefined));
  open.use(followSize(exec, again));
  if (input) open.use(passInput(exec, () => left(0)));
  const show = (bytes: Uint8Array): Promise<void> => write('stdout', bytes);
  const screen: Replay = again && exec.tty ? replay(show, () => performance.now()) : { show, end: () => Promise.resolve() };
  try {
    const end = await drain(exec.output({ from, signal: leave.signal }), ({ bytes }) => screen.show(bytes));
    await screen.end();
    return end;
  } catch (error) {
    if (leave.signal.reason instanceof Left) return leave.signal.reason;
    throw error;
  }
}

/**
 * Our terminal without any treatment of bytes, output included: node's own raw mode still turns each \n into \r\n, which
 * programs that move the cursor by \n do not survive.
 */
function rawTerminal(): Disposable {
  const before = stty('-g').trim();
  const restore = (): void => void stty(before);
  const again = (): void => void stty('raw', '-echo');
  const dieOf = (name: keyof typeof SIGNAL_NUMBERS): void => {
    restore();
    process.off('exit', restore);
    process.exit(128 + SIGNAL_NUMBERS[name]);
  };
  const names = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;
  for (const name of names) process.on(name, dieOf);
  process.on('SIGCONT', again); // a shell that had us stopped has put its own settings in place
  process.once('exit', restore); // also after an exception that nobody caught
  again();
  return {
    [Symbol.dispose]() {
      for (const name of names) process.off(name, dieOf);
      process.off('SIGCONT', again);
      process.off('exit', restore);
      restore();
    },
  };
}

/** @throws CaissonError USAGE when the standard input is no terminal that can be set */
function stty(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('stty', args, { stdio: ['inherit', 'pipe', 'pipe'], encoding: 'utf8' });
  if (status !== 0) throw new CaissonError('USAGE', { detail: `the terminal cannot be set: ${stderr}` });
  return stdout;
}

/** How long a program has to take the first of two sizes that follow each other. */
const BETWEEN_SIZES_MS = 150;

function followSize(exec: Process, again: boolean): Disposable {
  let last: Promise<unknown> = Promise.resolve();
  const resize = (shrink = 0): void => {
    last = last.then(async () => {
      const { cols, rows } = terminalSize();
      await exec.resize(Math.max(1, cols - shrink), rows);
      // A program that is told twice at once may hear it once, and keep the size between the two.
      if (shrink > 0) await delay(BETWEEN_SIZES_MS);
    }).catch(() => undefined); // the exec may have ended; its end is told by its output
  };
  const onResize = (): void => resize();
  process.stdout.on('resize', onResize);
  if (exec.tty) {
    if (again) resize(1); // a size that is not new is told to nobody
    resize(); // ours may have changed since the command was asked for
  }
  return { [Symbol.dispose]: () => void process.stdout.off('resize', onResize) };
}

/** What is typed ahead of a program that does not take it and kept here, in bytes; more of it waits in our terminal, unread. */
const AHEAD_MOST_BYTES = 1024 * 1024;
/** How long what was typed before we leave has to be taken. */
const TAKEN_MOST_MS = 1_000;

/** At a terminal reading goes on while what was typed is not taken, because the detach keys may follow it; a pipe waits until it is. */
function passInput(exec: Process, detach: () => void): Disposable {
  const keys = detachKeys();
  const mostBytes = process.stdin.isTTY ? AHEAD_MOST_BYTES : 0;
  const over = new AbortController();
  const typed = typedAhead((bytes) => exec.write(bytes, { signal: over.signal }).catch(failed));
  const onData = (chunk: Buffer): void => {
    const { bytes, detached } = process.stdin.isTTY ? keys(chunk) : { bytes: chunk, detached: false };
    const taken = typed.add(bytes);
    if (typed.bytes() > mostBytes) {
      process.stdin.pause();
      void taken.then(() => process.stdin.resume());
    }
    if (detached) detach();
  };
  const onEnd = (): void => void typed.add(Buffer.alloc(0)).then(() => exec.endStdin()).catch(failed);
  process.stdin.on('data', onData);
  process.stdin.once('end', onEnd);
  return {
    [Symbol.dispose]() {
      process.stdin.off('data', onData);
      process.stdin.off('end', onEnd);
      process.stdin.destroy();
      setTimeout(() => over.abort(), TAKEN_MOST_MS).unref(); // a write that nobody takes would hold us
    },
  };
}

const failed = (): void => undefined; // the exec ended, or its output tells what is wrong

/** Bytes that go to `pass` in their order, one write at a time, each of all that has come meanwhile. `add` resolves when what was added has been written. */
function typedAhead(pass: (bytes: Buffer) => Promise<void>): { readonly add: (bytes: Buffer) => Promise<void>; readonly bytes: () => number } {
  let waiting: Buffer[] = [];
  let bytes = 0;
  let last = Promise.resolve();
  const writeAll = async (): Promise<void> => {
    const all = Buffer.concat(waiting);
    waiting = [];
    if (all.length > 0) await pass(all);
    bytes -= all.length;
  };
  return {
    bytes: () => bytes,
    add(more) {
      waiting.push(more);
      bytes += more.length;
      last = last.then(writeAll);
      return last;
    },
  };
}

/**
 * Where no terminal of ours is raw, a Ctrl-C arrives as a signal: the first is passed on. With `left` it is the only one, and
 * every other signal leaves the exec running; without, the second one kills it.
 */
function passSignals(exec: Process, left?: (status: number) => void): Disposable {
  let count = 0;
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const take = (name: (typeof names)[number]): void => {
    const isFirst = count++ === 0;
    if (left !== undefined && (name !== 'SIGINT' || !isFirst)) left(128 + SIGNAL_NUMBERS[name]);
    else void exec.kill(isFirst ? name : 'SIGKILL').catch(() => undefined);
  };
  for (const name of names) process.on(name, take);
  return { [Symbol.dispose]: () => names.forEach((name) => void process.off(name, take)) };
}
