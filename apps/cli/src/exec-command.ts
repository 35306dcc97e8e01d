import { printable } from '@caisson/contract/errors';
import type { OutputChunk, Process, SpawnOptions } from '@caisson/sdk';
import { openApi, wholeOf, type Api } from './api.ts';
import { drain, explain, statusOf, terminalSize, write } from './exec-output.ts';
import { parseCount, parseDurationMs } from './quantity.ts';
import { records } from './recording.ts';
import { asksForRecording, execOf, recording, type RecordingFlags } from './recording-command.ts';
import { environmentOf } from './run.ts';
import { defined, type Json } from './sandbox-commands.ts';
import { note, print, printJson } from './say.ts';

/** The options of `exec` as commander gives them. */
export interface ExecFlags extends Json {
  readonly detach?: boolean;
  readonly tty?: boolean;
  readonly interactive?: boolean;
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly timeout?: string;
  /** Where what it writes goes. Default: stdout and stderr, each to its own. */
  readonly streams?: 'own' | 'stderr' | undefined;
  /** What it is aborted with before the command has begun is thrown; after that it means nothing. */
  readonly signal?: AbortSignal;
}

/** Runs a command in a sandbox that stays, and returns its exit status. */
export async function exec(id: string, argv: readonly string[], flags: ExecFlags): Promise<number> {
  const options = spawnOptions(flags);
  const terminal = flags.tty === true ? await import('./attach.ts') : null;
  const box = await (await openApi()).box(id);
  flags.signal?.throwIfAborted();
  const started = await box.spawn(argv, options);
  flags.signal?.throwIfAborted(); // signals to us go to the command from here on
  if (flags.detach === true) {
    if (flags.json === true) printJson(await started.info());
    else print(`${started.id}\n`);
    return 0;
  }
  if (terminal !== null) return terminal.attachTo(started, { input: flags.interactive === true, json: flags.json === true });
  return streamed(started, flags);
}

function spawnOptions({ env, cwd, timeout, interactive, tty }: ExecFlags): SpawnOptions {
  return defined({
    env: env === undefined && tty !== true ? undefined : { ...(tty === true ? { TERM: process.env['TERM'] ?? 'xterm-256color' } : {}), ...environmentOf(env ?? []) },
    cwd,
    timeoutMs: timeout === undefined ? undefined : parseDurationMs('--timeout', timeout),
    stdin: interactive,
    tty: tty === true ? terminalSize() : undefined,
  });
}

/** Passes both streams on, and stdin where that is asked for. A signal to us is one to the command; a second one kills it. */
async function streamed(started: Process, { interactive, json, streams }: ExecFlags): Promise<number> {
  using open = new DisposableStack();
  open.use(forwardSignals(started));
  const kept = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const over = new AbortController();
  const feeding = interactive === true ? feed(started, over.signal) : Promise.resolve();
  try {
    const info = await drain(started.output(), async ({ stream, bytes }) => (json === true ? void kept[stream].push(bytes) : write(streams === 'stderr' ? 'stderr' : stream, bytes)));
    if (json === true) printJson({ ...info, ...textOf('stdout', kept.stdout), ...textOf('stderr', kept.stderr) });
    else explain(info);
    return statusOf(info);
  } finally {
    over.abort();
    process.stdin.destroy();
    await feeding;
  }
}

async function feed(started: Process, signal: AbortSignal): Promise<void> {
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) await started.write(chunk, { signal });
    if (!signal.aborted) await started.endStdin({ signal });
  } catch (error) {
    if (signal.aborted || (await started.info().then(({ state }) => state === 'ended', () => false))) return;
    note(`stdin is passed on no more: ${printable((error as Error).message)}`);
    await started.endStdin().catch(() => undefined);
  }
}

function forwardSignals(started: Process): Disposable {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  let count = 0;
  const forward = (name: NodeJS.Signals): void => {
    started.kill(count++ === 0 ? (name as 'SIGINT') : 'SIGKILL').catch((error: Error) => note(`${name} was not delivered: ${printable(error.message)}`));
  };
  for (const name of names) process.on(name, forward);
  return { [Symbol.dispose]: () => names.forEach((name) => void process.off(name, forward)) };
}

function textOf(name: 'stdout' | 'stderr', chunks: readonly Uint8Array[]): Record<string, string> {
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? { [name]: text } : { [`${name}Base64`]: bytes.toString('base64') };
}

export interface LogsFlags extends RecordingFlags {
  readonly follow?: boolean;
  readonly from?: string;
}

/** What an exec wrote, of one that runs what it has written so far; with `follow` what it goes on writing as well; or its recording. */
export async function logs(id: string, execId: string | undefined, flags: LogsFlags): Promise<number> {
  if (asksForRecording(flags)) return recording(id, execId, flags);
  const from = flags.from === undefined ? 0 : parseCount('--from', flags.from);
  const api = await openApi();
  const found = await execOf(await api.box(id), execId);
  const show = async ({ stream, offset, bytes }: OutputChunk): Promise<void> =>
    flags.json === true ? printJson({ stream, offset, base64: Buffer.from(bytes).toString('base64') }) : write(stream, bytes);
  if (flags.follow === true || (await found.info()).state === 'ended') {
    const end = await drain(found.output({ from }), show);
    if (flags.json === true) printJson({ end });
    return 0;
  }
  for await (const chunk of written(api, found, from)) await show(chunk);
  return 0;
}

/** What a running exec has written so far, by its recording: that has an end. @throws CaissonError CONNECTION_LOST before that end */
async function* written({ connection }: Api, found: Process, from: number): AsyncGenerator<OutputChunk, void> {
  let offset = 0;
  for await (const piece of records(wholeOf(connection, await found.recording()))) {
    if ('header' in piece || piece.record.kind === 'resize') continue;
    const { kind: stream, bytes } = piece.record;
    const skipped = Math.max(0, from - offset);
    if (skipped < bytes.length) yield { stream, offset: offset + skipped, bytes: bytes.subarray(skipped) };
    offset += bytes.length;
  }
}
