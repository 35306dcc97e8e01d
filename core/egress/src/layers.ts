import { portOf, type EgressRule, type NetworkPolicy, type NetworkRequest } from '@caisson/contract';

/**
 * Rules of one origin. A destination needs an allow rule in every layer that has a list of them, and a deny rule in none, so a
 * further layer can only narrow. Layers stand from the widest to the narrowest.
 */
export interface Layer {
  readonly name: LayerName;
  /** Null: this layer does not narrow what the others allow. Empty: it allows nothing. */
  readonly allow: readonly EgressRule[] | null;
  readonly deny: readonly EgressRule[];
  /** Whether it allows every name and port that none of its rules allows, for rules to be made of what is used. */
  readonly learn?: true;
}

export type LayerName = 'organisation' | 'universe' | 'agent' | 'call';

export interface Destination {
  readonly host: string;
  readonly port: number;
}

const PORT_MOST = 65_535;

/**
 * The layers of a policy and of what a call asks for. The last always has a list: who asks for nothing gets nothing. A rule
 * that denies does so in whichever list it stands.
 */
export function layersOf(policy: NetworkPolicy | undefined, request: NetworkRequest): readonly Layer[] {
  const call = { ...split(request.rules), ...(request.learn === true && policy?.learn !== false && { learn: request.learn }) };
  if (policy === undefined) return [{ name: 'call', ...call }];
  const { allow, deny } = split(policy.allow ?? []);
  const denials = (policy.deny ?? []).map((rule): EgressRule => ({ ...rule, effect: 'deny' }));
  return [{ name: 'organisation', allow: policy.allow === undefined ? null : allow, deny: [...denials, ...deny] }, { name: 'call', ...call }];
}

function split(rules: readonly EgressRule[]): { readonly allow: readonly EgressRule[]; readonly deny: readonly EgressRule[] } {
  return { allow: rules.filter((rule) => rule.effect !== 'deny'), deny: rules.filter((rule) => rule.effect === 'deny') };
}

/** Whether a rule speaks of a host, in canonical form. `*.example.com` means every name below example.com, and not that one. */
export function meansHost({ host: pattern }: EgressRule, host: string): boolean {
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}

/** Whether a rule that allows speaks of a destination. */
export function allows(rule: EgressRule, { host, port }: Destination): boolean {
  return portOf(rule) === port && meansHost(rule, host);
}

/** Whether a rule that denies speaks of a destination. One that names no port means them all. */
export function denies(rule: EgressRule, { host, port }: Destination): boolean {
  return (rule.port === undefined || rule.port === port) && meansHost(rule, host);
}

/** How evidence calls what is allowed because a layer learns. */
const LEARN = 'learn';

/**
 * Layers of which those that learn have a rule for one destination, of the protocol that is usual there, where they have none
 * of their own. What comes back learns nothing further.
 */
export function taught(layers: readonly Layer[], destination: Destination): readonly Layer[] {
  const { host, port } = destination;
  return layers.map(({ learn, ...layer }) => {
    const has = layer.allow?.some((rule) => allows(rule, destination)) ?? true;
    if (learn !== true || has || !(port >= 1 && port <= PORT_MOST)) return layer;
    return { ...layer, allow: [...(layer.allow ?? []), { name: LEARN, host, port }] };
  });
}

/** Layers with those of their rules that are kept. A list that becomes empty stays a list, and so allows nothing. */
export function narrowed(layers: readonly Layer[], keep: { readonly allow: (rule: EgressRule) => boolean; readonly deny: (rule: EgressRule) => boolean }): readonly Layer[] {
  return layers.map((layer) => ({ ...layer, allow: layer.allow?.filter(keep.allow) ?? null, deny: layer.deny.filter(keep.deny) }));
}

/** The rules that allow, of all layers that have a list. */
export function allowing(layers: readonly Layer[]): readonly { readonly layer: LayerName; readonly rule: EgressRule }[] {
  return layers.flatMap(({ name, allow }) => (allow ?? []).map((rule) => ({ layer: name, rule })));
}
