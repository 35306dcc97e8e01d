import { isBelow, LIMIT_NAMES, rulesForSecret, secretEnvNames, type Decision, type Denied, type Policy, type RunRequest, type SecretRule } from '@caisson/contract';
import type { Asked } from './asked.ts';
import { levelCannotLimit, levelNeeds, notEnforcedAt } from './levels.ts';
import { fillLimits } from './limits.ts';
import { decideNetwork } from './network.ts';

type Check = (request: Asked, policy: Policy) => Denied | null;

const checks: readonly Check[] = [levelMinimum, limitMaximum, levelNeeds, levelCannotLimit, secretsKnown, secretsApart, networkPolicy, mirrorAllowed];

/** Whether a request may run under a policy, at which level and within which limits. The first refusal wins. */
export function decide(request: Asked | RunRequest, policy: Policy): Decision {
  for (const check of checks) {
    const denied = check(request, policy);
    if (denied !== null) return denied;
  }
  const level = request.level ?? policy.levels.default;
  return {
    effect: 'allow',
    rule: 'within-policy',
    reason: `level ${level} is not below ${policy.levels.minimum} and no limit is above its maximum`,
    level,
    limits: fillLimits(request.limits ?? {}, policy),
    notEnforced: notEnforcedAt(level),
  };
}

/** Who writes mirrors is there only where the policy has them. */
function mirrorAllowed({ auditMirror }: Asked, policy: Policy): Denied | null {
  if (auditMirror !== true || policy.auditMirror === true) return null;
  const reason = 'the policy has no mirrors of records';
  return { effect: 'deny', rule: 'audit-mirror', reason, wouldAllow: 'auditMirror: true in the policy file', code: 'AUDIT_MIRROR_REFUSED', context: { detail: reason } };
}

function secretsKnown({ secrets = [] }: Asked, policy: Policy): Denied | null {
  const unknown = secrets.find((secret) => secretOf(policy, secret) === undefined);
  if (unknown === undefined) return null;
  const known = Object.keys(policy.secrets ?? {}).join(', ') || 'none';
  return { effect: 'deny', rule: 'secrets', reason: `the policy has no secret ${unknown}`, wouldAllow: `one of the secrets of the policy: ${known}`, code: 'SECRET_UNKNOWN', context: { secret: unknown } };
}

/** Of two secrets in one variable, or in one file, commands would find one only. */
function secretsApart({ secrets = [] }: Asked, policy: Policy): Denied | null {
  const ruled = secrets.flatMap((secret) => {
    const rule = secretOf(policy, secret);
    return rule === undefined ? [] : [{ secret, rule }];
  });
  const variables = ruled.flatMap(({ secret, rule }) => secretEnvNames(secret, rule).map((name) => ({ secret, name })));
  const files = ruled.flatMap(({ secret, rule }) => ('file' in rule ? [{ secret, name: rule.file }] : []));
  return twice(variables, 'variable', 'env') ?? twice(files, 'file', 'file');
}

function twice(named: readonly { readonly secret: string; readonly name: string }[], what: string, field: 'env' | 'file'): Denied | null {
  const other = named.find(({ name }, at) => named.findIndex((each) => each.name === name) < at);
  if (other === undefined) return null;
  const { secret, name } = other;
  const reason = `secrets ${named.find((each) => each.name === name)?.secret ?? ''} and ${secret} would be in one ${what}, ${name}`;
  return { effect: 'deny', rule: 'secrets', reason, wouldAllow: `one of the two, or another ${field} of secrets.${secret} in the policy file`, code: 'REQUEST_INVALID', context: { detail: reason } };
}

/** Whoever may use a secret may reach its hosts, within what the policy says of the network. One that is a file has none. */
function networkPolicy({ network, secrets = [] }: Asked, policy: Policy): Denied | null {
  const own = secrets.flatMap((secret) => {
    const rule = secretOf(policy, secret);
    return rule === undefined || 'file' in rule ? [] : rulesForSecret(secret, rule);
  });
  if (network === undefined && own.length === 0) return null;
  return decideNetwork({ ...network, rules: [...(network?.rules ?? []), ...own] }, policy.network);
}

function secretOf({ secrets = {} }: Policy, name: string): SecretRule | undefined {
  return Object.hasOwn(secrets, name) ? secrets[name] : undefined;
}

function levelMinimum(request: Asked, { levels: { default: usual, minimum } }: Policy): Denied | null {
  const asked = request.level ?? usual;
  if (!isBelow(asked, minimum)) return null;
  return {
    effect: 'deny',
    rule: 'level-minimum',
    reason: `level ${asked} is below ${minimum}, the minimum of the policy`,
    wouldAllow: `level ${minimum}`,
    code: 'LEVEL_BELOW_POLICY',
    context: { asked, minimum },
  };
}

function limitMaximum(request: Asked, policy: Policy): Denied | null {
  for (const limit of LIMIT_NAMES) {
    const asked = request.limits?.[limit] ?? policy.limits.default[limit];
    const allowed = policy.limits.maximum[limit];
    if (asked <= allowed) continue;
    return {
      effect: 'deny',
      rule: 'limit-maximum',
      reason: `${limit} of ${asked} is more than the ${allowed} that the policy allows`,
      wouldAllow: `${limit} of at most ${allowed}`,
      code: 'LIMIT_EXCEEDS_POLICY',
      context: { limit, asked, allowed },
    };
  }
  return null;
}
