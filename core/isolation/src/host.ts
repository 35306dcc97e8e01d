import { problem, type ErrorCode, type ErrorContext, type HostFacts, type Problem } from '@caisson/contract';
import { chooseRuntime, noRuntime, type RuntimeNeeds } from './runtime.ts';

/** The host cannot hold what was decided; nothing may start. */
export interface Refusal {
  readonly refused: Problem;
}

type Need = (asked: RuntimeNeeds, host: HostFacts) => Refusal | null;

const needs: readonly Need[] = [needCgroups, needUserNamespaces, needSeccomp, needLandlock, needRuntime, needGate, needMirrorPlace];

/** The first thing that this host cannot deliver at this level, or null. */
export function firstLack(asked: RuntimeNeeds, host: HostFacts): Refusal | null {
  for (const need of needs) {
    const refusal = need(asked, host);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refuse(code: ErrorCode, context?: ErrorContext): Refusal {
  return { refused: problem(code, context) };
}

function needCgroups(_asked: RuntimeNeeds, { cgroup, swapBytes }: HostFacts): Refusal | null {
  // Under v1 CPU time is counted by a controller of its own, without which no limit on it would hold.
  const needed = ['memory', 'pids', 'cpu', ...(cgroup.mode === 'v1' || cgroup.mode === 'hybrid' ? ['cpuacct'] : [])];
  const absent = needed.filter((controller) => !cgroup.controllers.includes(controller));
  const missing = [
    ...(cgroup.mode === 'none' ? ['no cgroup hierarchy is mounted'] : []),
    ...(cgroup.writable ? [] : ['the cgroup hierarchy is not writable']),
    ...(absent.length === 0 ? [] : [`no ${absent.join(', ')} controller`]),
    ...(cgroup.swapAccounting || swapBytes === 0 ? [] : ['swap is on and not accounted, so memory could leave its limit']),
  ];
  return missing.length === 0 ? null : refuse('HOST_LACKS_CGROUP', { missing: missing.join('; ') });
}

function needUserNamespaces(_asked: RuntimeNeeds, { userNamespaces }: HostFacts): Refusal | null {
  return userNamespaces > 0 ? null : refuse('HOST_LACKS_USER_NAMESPACES', { missing: 'user.max_user_namespaces is 0' });
}

function needSeccomp(_asked: RuntimeNeeds, { seccomp }: HostFacts): Refusal | null {
  return seccomp ? null : refuse('HOST_LACKS_SECCOMP');
}

function needLandlock({ level }: RuntimeNeeds, { landlockAbi }: HostFacts): Refusal | null {
  return level !== 'container' || landlockAbi > 0 ? null : refuse('HOST_LACKS_LANDLOCK');
}

function needRuntime(asked: RuntimeNeeds, host: HostFacts): Refusal | null {
  if (chooseRuntime(asked, host) !== null) return null;
  const { what, how } = noRuntime(asked, host);
  return refuse('LEVEL_UNAVAILABLE', { level: asked.level, missing: what, how });
}

function needGate({ network }: RuntimeNeeds, { noGate }: HostFacts): Refusal | null {
  return network && noGate !== null ? refuse('NETWORK_UNAVAILABLE', noGate) : null;
}

/** gVisor makes no place for a file in a tmpfs that it mounts itself: it ends in a panic. In a workspace the place is there before. */
function needMirrorPlace({ level, mirror, workspace }: RuntimeNeeds): Refusal | null {
  return mirror && level === 'gvisor' && !workspace ? refuse('AUDIT_MIRROR_REFUSED', { detail: 'at level gvisor only a sandbox that stays can have one' }) : null;
}
