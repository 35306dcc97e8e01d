import { problem, type ErrorCode, type ErrorContext, type HostFacts, type Level, type Problem } from '@caisson/contract';
import { chooseRuntime } from './runtime.ts';

/** The host cannot hold what was decided; nothing may start. */
export interface Refusal {
  readonly refused: Problem;
}

type Need = (level: Level, host: HostFacts) => Refusal | null;

const needs: readonly Need[] = [needCgroups, needUserNamespaces, needSeccomp, needLandlock, needRuntime];

/** The first protection that this host cannot deliver at this level, or null. */
export function firstLack(level: Level, host: HostFacts): Refusal | null {
  for (const need of needs) {
    const refusal = need(level, host);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refuse(code: ErrorCode, context?: ErrorContext): Refusal {
  return { refused: problem(code, context) };
}

function needCgroups(_level: Level, { cgroup, swapBytes }: HostFacts): Refusal | null {
  const absent = ['memory', 'pids', 'cpu'].filter((controller) => !cgroup.controllers.includes(controller));
  const missing = [
    ...(cgroup.mode === 'none' ? ['no cgroup hierarchy is mounted'] : []),
    ...(cgroup.writable ? [] : ['the cgroup hierarchy is not writable']),
    ...(absent.length === 0 ? [] : [`no ${absent.join(', ')} controller`]),
    ...(cgroup.swapAccounting || swapBytes === 0 ? [] : ['swap is on and not accounted, so memory could leave its limit']),
  ];
  return missing.length === 0 ? null : refuse('HOST_LACKS_CGROUP', { missing: missing.join('; ') });
}

function needUserNamespaces(_level: Level, { userNamespaces }: HostFacts): Refusal | null {
  return userNamespaces > 0 ? null : refuse('HOST_LACKS_USER_NAMESPACES', { missing: 'user.max_user_namespaces is 0' });
}

function needSeccomp(_level: Level, { seccomp }: HostFacts): Refusal | null {
  return seccomp ? null : refuse('HOST_LACKS_SECCOMP');
}

function needLandlock(level: Level, { landlockAbi }: HostFacts): Refusal | null {
  return level !== 'container' || landlockAbi > 0 ? null : refuse('HOST_LACKS_LANDLOCK');
}

function needRuntime(level: Level, host: HostFacts): Refusal | null {
  if (chooseRuntime(level, host) !== null) return null;
  const { what, how } = host.missing[level] ?? { what: 'no runtime hands pid 1 a control channel', how: 'run ./caisson doctor' };
  return refuse('LEVEL_UNAVAILABLE', { level, missing: what, how });
}
