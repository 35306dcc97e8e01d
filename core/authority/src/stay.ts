import { MIB, type Allowed, type CreateRequest, type Denied, type ExecRequest, type Limits, type Policy, type SandboxRules, type SomeLimits } from '@caisson/contract';
import { decide } from './decide.ts';

/** Output of a command in a sandbox that stays for which no limit was asked. */
const OUTPUT_BYTES = 64 * MIB;

/** What holds where a policy says nothing of sandboxes that stay. */
const USUAL: SandboxRules = {
  maximum: 1_000,
  ttlMs: { default: 3_600_000, maximum: 2_592_000_000 },
  idleMs: { default: 900_000, maximum: 2_592_000_000 },
  workspaceBytes: 4_294_967_296,
};

export function sandboxRules(policy: Policy): SandboxRules {
  return policy.sandboxes ?? USUAL;
}

/** What was decided about a sandbox that stays. */
export interface AllowedSandbox extends Allowed {
  readonly ttlMs: number;
  /** Null: being idle does not end it. */
  readonly idleMs: number | null;
}

/** Whether a sandbox may be made while so many are live, and what it may have. Its workspace lies on disk. */
export function decideSandbox(request: CreateRequest, policy: Policy, live: number): AllowedSandbox | Denied {
  const rules = sandboxRules(policy);
  const decision = decide({ ...request, limits: { ...usualLimits(request, rules, policy), ...request.limits } }, policy);
  if (decision.effect === 'deny') return decision;
  if (live >= rules.maximum) return tooMany(live);
  const late = tooLong('ttlMs', request.ttlMs, rules) ?? tooLong('idleMs', request.idleMs, rules);
  if (late !== null) return late;
  return {
    ...decision,
    ttlMs: request.ttlMs ?? rules.ttlMs.default,
    idleMs: request.keepAlive === true ? null : (request.idleMs ?? rules.idleMs.default),
  };
}

/** Whether a sandbox may live or be idle for longer. */
export function decideRenewal({ ttlMs, idleMs }: { readonly ttlMs?: number | undefined; readonly idleMs?: number | undefined }, policy: Policy): Denied | null {
  const rules = sandboxRules(policy);
  return tooLong('ttlMs', ttlMs, rules) ?? tooLong('idleMs', idleMs, rules);
}

/**
 * Limits for which nothing was asked. A command may run as long as its sandbox lives: a terminal, an interpreter and a
 * server are commands too, and one that is quiet is not dead. Workspace and output lie on disk, not in memory.
 */
function usualLimits({ ttlMs, limits }: CreateRequest, rules: SandboxRules, { limits: { default: usual, maximum } }: Policy): SomeLimits {
  const wallMs = Math.min(maximum.wallMs, Math.max(usual.wallMs, ttlMs ?? rules.ttlMs.default));
  return {
    wallMs,
    cpuMs: Math.min(maximum.cpuMs, Math.max(usual.cpuMs, (limits?.wallMs ?? wallMs) * Math.ceil((limits?.cpuMillis ?? usual.cpuMillis) / 1000))),
    workspaceBytes: Math.min(rules.workspaceBytes, maximum.workspaceBytes),
    outputBytes: Math.min(maximum.outputBytes, Math.max(usual.outputBytes, OUTPUT_BYTES)),
  };
}

function tooMany(count: number): Denied {
  return {
    effect: 'deny',
    rule: 'sandboxes-maximum',
    reason: `${count} sandboxes are live, as many as the policy allows`,
    wouldAllow: 'one sandbox less',
    code: 'SANDBOXES_EXCEED_POLICY',
    context: { count },
  };
}

function tooLong(limit: 'ttlMs' | 'idleMs', asked: number | undefined, rules: SandboxRules): Denied | null {
  const allowed = rules[limit].maximum;
  if (asked === undefined || asked <= allowed) return null;
  return {
    effect: 'deny',
    rule: 'limit-maximum',
    reason: `${limit} of ${asked} is more than the ${allowed} that the policy allows`,
    wouldAllow: `${limit} of at most ${allowed}`,
    code: 'LIMIT_EXCEEDS_POLICY',
    context: { limit: `sandboxes.${limit}`, asked, allowed },
  };
}

export interface AllowedExec {
  readonly effect: 'allow';
  readonly rule: string;
  readonly reason: string;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly outputBytes: number;
}

/** Whether a command may run in a sandbox that has these limits. */
export function decideExec(request: ExecRequest, limits: Limits): AllowedExec | Denied {
  const asked = [['wallMs', request.timeoutMs], ['outputBytes', request.outputBytes]] as const;
  for (const [limit, value] of asked) {
    if (value === undefined || value <= limits[limit]) continue;
    return {
      effect: 'deny',
      rule: 'sandbox-limit',
      reason: `${limit} of ${value} is more than the ${limits[limit]} of the sandbox`,
      wouldAllow: `${limit} of at most ${limits[limit]}`,
      code: 'LIMIT_EXCEEDS_SANDBOX',
      context: { limit, asked: value, allowed: limits[limit] },
    };
  }
  return {
    effect: 'allow',
    rule: 'within-sandbox',
    reason: 'no limit is above that of its sandbox',
    wallMs: request.timeoutMs ?? limits.wallMs,
    cpuMs: limits.cpuMs,
    outputBytes: request.outputBytes ?? limits.outputBytes,
  };
}
