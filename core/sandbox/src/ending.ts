import { getSystemErrorName } from 'node:util';
import { errorRow, problem, type Denied, type Ending, type Limits, type Problem, type RunRequest, type Usage } from '@caisson/contract';
import type { ExecEnd } from '@caisson/runtime';

export const SIGKILL = 9;

/** What the driver saw, the kernel's counters and the limits, put together into how the call ended. Pure. */
export function endingOf(end: ExecEnd, usage: Usage, limits: Limits, request: RunRequest): Ending {
  const outOfMemory: Ending | null = (usage.oomKills ?? 0) > 0 ? { kind: 'out-of-memory', limitBytes: limits.memoryBytes } : null;
  switch (end.kind) {
    // A shell whose child was killed for memory exits with 128 + SIGKILL itself.
    case 'exited': return (end.code === 128 + SIGKILL ? outOfMemory : null) ?? end;
    case 'signaled': return (end.signal === SIGKILL ? outOfMemory : null) ?? end;
    case 'timed-out': return { kind: 'timed-out', limit: end.limit, limitMs: end.limit === 'wall' ? limits.wallMs : limits.cpuMs };
    case 'not-started': return notStarted(end, limits, request);
    // The kernel may choose pid 1, or the whole kernel of a gVisor sandbox, when memory runs out.
    case 'lost': return outOfMemory ?? { kind: 'unknown', detail: end.detail };
  }
}

const ENOENT = 2;
const EAGAIN = 11;
const ENOTDIR = 20;

function notStarted({ stage, errno }: Extract<ExecEnd, { kind: 'not-started' }>, { pids }: Limits, request: RunRequest): Ending {
  const detail = getSystemErrorName(-errno);
  const command = request.argv[0] ?? '';
  // fork(2): EAGAIN is a limit on processes.
  if (stage === 'setup' && errno === EAGAIN) return failed(problem('LAUNCH_FAILED', { detail: `the command could not be started: no more than ${pids} processes may run in the sandbox` }));
  if (stage === 'setup') return failed(problem('LAUNCH_FAILED', { detail: `the command could not be started: ${detail}` }));
  if (stage === 'cwd') {
    return { kind: 'not-started', code: 'CWD_INVALID', detail: problem('CWD_INVALID', { cwd: request.cwd ?? '', detail }).message };
  }
  if (errno === ENOENT || errno === ENOTDIR) {
    return { kind: 'not-started', code: 'COMMAND_NOT_FOUND', detail: problem('COMMAND_NOT_FOUND', { command }).message };
  }
  return { kind: 'not-started', code: 'COMMAND_NOT_EXECUTABLE', detail: problem('COMMAND_NOT_EXECUTABLE', { command, detail }).message };
}

export function refused(why: Problem): Ending {
  return { kind: 'refused', code: why.code, detail: detailOf(why) };
}

export function denied(decision: Denied): Ending {
  const { code, message } = problem(decision.code, decision.context);
  return { kind: 'refused', code, detail: message };
}

export function failed(why: Problem): Ending {
  return { kind: 'failed', code: why.code, detail: detailOf(why) };
}

/** A hint that depends on the host is part of the detail; any other follows from the code. */
function detailOf({ code, message, hint }: Problem): string {
  return errorRow(code).fix.includes('{') ? `${message} (${hint})` : message;
}
