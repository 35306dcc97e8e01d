import { portOf, protocolOf, ruleName, type Denied, type EgressRule, type NetworkPolicy, type NetworkRequest } from '@caisson/contract';

/**
 * Whether a network may be asked for. A rule under which every attempt would be refused is refused at once, so that no rule is
 * taken and then does nothing; the gate holds to both layers all the same. What only some attempts under a rule would be refused
 * by, such as a rule that denies one name below `*.example.com`, is no reason. Nor is a rule of the request itself that denies.
 */
export function decideNetwork({ rules, learn }: NetworkRequest, policy: NetworkPolicy = {}): Denied | null {
  if (learn === true && policy.learn === false) return refused({ host: 'any name', port: 'any port' }, 'the policy forbids to learn', 'rules that name what is used');
  return decideRules(rules, policy);
}

function decideRules(rules: readonly EgressRule[], { allow, deny = [] }: NetworkPolicy): Denied | null {
  const denying = [...deny.map((rule): EgressRule => ({ ...rule, effect: 'deny' })), ...(allow ?? []).filter(isDenial)];
  const allowing = allow?.filter((rule) => !isDenial(rule)) ?? null;
  for (const rule of rules) {
    if (isDenial(rule)) continue;
    const against = denying.find((other) => other.http === undefined && other.auditOnly !== true && deniesAll(other, rule));
    if (against !== undefined) return refuse(rule, `the policy denies it by "${ruleName(against)}"`);
    if (allowing?.some((other) => covers(other, rule)) === false) return refuse(rule, 'no rule of the policy allows it', allowing.map(ruleName).join(', ') || 'no destination at all');
    const spoken = protocols([...rules, ...(allowing ?? []), ...denying], rule);
    if (spoken.length > 1) return refuse(rule, `the rules that hold for it disagree about what is spoken there: ${spoken.join(' and ')}`, 'the same protocol in each of them');
  }
  return null;
}

function isDenial({ effect }: EgressRule): boolean {
  return effect === 'deny';
}

/** Whether everything that `rule` names is named by `other` too, both of which allow. */
function covers(other: EgressRule, rule: EgressRule): boolean {
  return portOf(other) === portOf(rule) && coversHost(other, rule);
}

/** Whether everything that `rule` allows is named by `other`, which denies. One that names no port means them all. */
function deniesAll(other: EgressRule, rule: EgressRule): boolean {
  return (other.port === undefined || other.port === portOf(rule)) && coversHost(other, rule);
}

function coversHost(other: EgressRule, rule: EgressRule): boolean {
  if (other.host === rule.host) return true;
  return other.host.startsWith('*.') && rule.host.replace(/^\*/, '').endsWith(other.host.slice(1));
}

/**
 * What has to be kept of what the rules ask for wherever `rule` holds: `tcp` asks for nothing, `https` keeps what `tls` asks
 * for, and a rule that denies some requests has them read. The gate cannot keep two.
 */
function protocols(all: readonly EgressRule[], rule: EgressRule): readonly string[] {
  const asks = (other: EgressRule): string | null => {
    if (!isDenial(other)) return covers(other, rule) ? protocolOf(other) : null;
    return other.http !== undefined && other.auditOnly !== true && deniesAll(other, rule) ? protocolOf({ port: portOf(rule), ...other }) : null;
  };
  const asked = new Set(all.map(asks).filter((protocol) => protocol !== null));
  return [...asked].filter((protocol) => protocol !== 'tcp' && (protocol !== 'tls' || !asked.has('https')));
}

function refuse(rule: EgressRule, why: string, wouldAllow = 'another destination'): Denied {
  return refused({ host: rule.host, port: portOf(rule) }, why, wouldAllow);
}

function refused({ host, port }: { readonly host: string; readonly port: number | string }, why: string, wouldAllow: string): Denied {
  return { effect: 'deny', rule: 'network-policy', reason: `${host}:${port} may not be asked for: ${why}`, wouldAllow, code: 'EGRESS_EXCEEDS_POLICY', context: { host, port, why } };
}
