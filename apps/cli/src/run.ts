import { CaissonError, errorRow, isErrorCode, printable, problemOf } from '@caisson/contract/errors';
import { EXIT, exitStatus, type RunRequest, type RunResult } from '@caisson/contract/light';
import { networkOf, type NetworkFlags } from './allow.ts';
import { instancePaths, runCommand, withDaemon, type RunOptions } from './client.ts';
import type { Surroundings } from './early.ts';
import { parseBytes, parseCount, parseCpuMillis, parseDurationMs, showBytes } from './quantity.ts';

/** The options of `run` as commander gives them. */
export interface RunFlags extends NetworkFlags {
  readonly level?: string;
  readonly timeout?: string;
  readonly cpuTime?: string;
  readonly memory?: string;
  readonly pids?: string;
  readonly cpus?: string;
  readonly outputLimit?: string;
  readonly workspace?: string;
  readonly cwd?: string;
  readonly image?: string;
  readonly env?: readonly string[];
  readonly secret?: readonly string[];
  readonly auditMirror?: boolean;
  readonly in?: string;
  readonly stdin?: boolean;
  readonly json?: boolean;
}

/** @throws CaissonError USAGE */
export function requestOf(argv: readonly string[], flags: RunFlags): RunRequest {
  const limits = {
    ...(flags.timeout === undefined ? {} : { wallMs: parseDurationMs('--timeout', flags.timeout) }),
    ...(flags.cpuTime === undefined ? {} : { cpuMs: parseDurationMs('--cpu-time', flags.cpuTime) }),
    ...(flags.memory === undefined ? {} : { memoryBytes: parseBytes('--memory', flags.memory) }),
    ...(flags.pids === undefined ? {} : { pids: parseCount('--pids', flags.pids) }),
    ...(flags.cpus === undefined ? {} : { cpuMillis: parseCpuMillis('--cpus', flags.cpus) }),
    ...(flags.outputLimit === undefined ? {} : { outputBytes: parseBytes('--output-limit', flags.outputLimit) }),
    ...(flags.workspace === undefined ? {} : { workspaceBytes: parseBytes('--workspace', flags.workspace) }),
  };
  return {
    argv,
    ...(flags.level === undefined ? {} : { level: flags.level as NonNullable<RunRequest['level']> }),
    ...(flags.cwd === undefined ? {} : { cwd: flags.cwd }),
    ...(flags.env === undefined ? {} : { env: environmentOf(flags.env) }),
    ...(flags.secret === undefined ? {} : { secrets: flags.secret }),
    ...(flags.auditMirror === true ? { auditMirror: true } : {}),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    stdin: flags.stdin === true,
  };
}

/** The variables that `--env` names. @throws CaissonError USAGE */
export function environmentOf(assignments: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    assignments.map((assignment) => {
      const at = assignment.indexOf('=');
      if (at < 1) throw new CaissonError('USAGE', { detail: `--env: ${assignment} is not NAME=VALUE` });
      return [assignment.slice(0, at), assignment.slice(at + 1)];
    }),
  );
}

/** Runs a command for the shell and returns its exit status. */
export async function run(argv: readonly string[], flags: RunFlags, { home, early }: Surroundings): Promise<number> {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => interrupted.abort());
  const collected = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const options: RunOptions = {
    signal: interrupted.signal,
    stdin: flags.stdin === true ? (process.stdin as AsyncIterable<Buffer>) : undefined,
    write: async (stream, bytes) => (flags.json === true ? void collected[stream].push(bytes) : pass(flags.learning?.streams === 'stderr' ? 'stderr' : stream, bytes, interrupted)),
  };
  try {
    const network = await networkOf(flags);
    const request = { ...requestOf(argv, flags), ...(network && { network }) };
    const paths = instancePaths();
    if (flags.level === 'gvisor') await (await import('./gvisor.ts')).waitForGvisor(home);
    let first = early;
    const result = await withDaemon(paths, home, () => {
      const attempt = runCommand(paths, request, { ...options, early: first });
      first = undefined; // a further attempt connects anew
      return attempt;
    });
    if (result.ending.kind !== 'refused' && result.ending.kind !== 'failed') flags.learning?.ended(result.id);
    if (flags.json === true) printJson(result, collected);
    else explain(result);
    if (flags.json !== true && result.network !== null && exitStatus(result.ending) !== 0) (await import('./refused.ts')).explainRefused(result.network);
    return exitStatus(result.ending);
  } catch (error) {
    return endWithout(error, flags.json === true);
  } finally {
    if (flags.stdin === true) process.stdin.destroy(); // the command may have ended before its input did
  }
}

/** Writes to our own stdout or stderr and waits until it has been taken. A reader that is gone cancels the call. */
async function pass(stream: 'stdout' | 'stderr', bytes: Buffer, interrupted: AbortController): Promise<void> {
  const target = process[stream];
  await new Promise<void>((done) => {
    target.write(bytes, (error) => {
      if (error !== null && error !== undefined) interrupted.abort();
      done();
    });
  });
}

function textOf(name: 'stdout' | 'stderr', chunks: readonly Buffer[]): Record<string, string> {
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? { [name]: text } : { [`${name}Base64`]: bytes.toString('base64') };
}

function printJson(result: RunResult, collected: Readonly<Record<'stdout' | 'stderr', readonly Buffer[]>>): void {
  process.stdout.write(`${JSON.stringify({ ...result, ...textOf('stdout', collected.stdout), ...textOf('stderr', collected.stderr) })}\n`);
}

/** Says on stderr what the exit status alone does not. */
function explain(result: RunResult): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const { truncated, returned, written } = result.output[name];
    if (truncated) process.stderr.write(`caisson: ${name} was cut: the command wrote ${showBytes(written)}, ${showBytes(returned)} were returned (see --output-limit)\n`);
  }
  const { ending } = result;
  if (ending.kind === 'exited') return;
  const code = 'code' in ending && isErrorCode(ending.code) ? ending.code : null;
  process.stderr.write(`caisson: ${code === null ? '' : `${code}: `}${printable(result.reason)}\n`);
  if (result.decision.effect === 'deny') process.stderr.write(`hint: ${printable(result.decision.wouldAllow)}\n`);
  else if (code !== null && !errorRow(code).fix.includes('{')) process.stderr.write(`hint: ${errorRow(code).fix}\n`);
}

/** A call that came to no result: its end is Caisson's own, or unknown when it had begun. */
function endWithout(error: unknown, json: boolean): number {
  const { code, message, hint } = problemOf(error);
  const unknown = code === 'SANDBOX_LOST';
  if (json) process.stdout.write(`${JSON.stringify({ exit: unknown ? 'unknown' : EXIT.caisson, reason: message, problem: { code, message, hint } })}\n`);
  else process.stderr.write(`caisson: ${code}: ${message}\nhint: ${hint}\n`);
  return unknown ? EXIT.unknown : EXIT.caisson;
}
