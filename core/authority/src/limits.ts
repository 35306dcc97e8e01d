import { LIMIT_NAMES, MIB, type Limits, type Policy, type SomeLimits } from '@caisson/contract';

/**
 * Every limit of a run: what was asked for, or else the policy's default fitted to what was asked for.
 *
 * - Files in tmpfs are memory. Unasked, /workspace is at most half of the memory and /tmp an eighth, so that
 *   full file systems alone cannot use up what the processes need.
 * - Unasked, CPU time follows an asked wall time or CPU bandwidth: enough to keep every core busy to the end.
 */
export function fillLimits(asked: SomeLimits, policy: Policy): Limits {
  const entries = LIMIT_NAMES.map((name) => [name, asked[name] ?? policy.limits.default[name]]);
  const limits = Object.fromEntries(entries) as Limits;
  return {
    ...limits,
    cpuMs: asked.cpuMs ?? usualCpuMs(asked, limits, policy),
    workspaceBytes: asked.workspaceBytes ?? atMost(limits.memoryBytes / 2, limits.workspaceBytes),
    tmpBytes: asked.tmpBytes ?? atMost(limits.memoryBytes / 8, limits.tmpBytes),
  };
}

function usualCpuMs(asked: SomeLimits, limits: Limits, policy: Policy): number {
  if (asked.wallMs === undefined && asked.cpuMillis === undefined) return limits.cpuMs;
  return Math.min(policy.limits.maximum.cpuMs, limits.wallMs * Math.ceil(limits.cpuMillis / 1000));
}

function atMost(share: number, bytes: number): number {
  return Math.min(bytes, Math.max(MIB, Math.floor(share)));
}
