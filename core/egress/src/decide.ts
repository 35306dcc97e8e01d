import { portOf, protocolOf, readsRequests, ruleName, type EgressAllowed, type EgressDecision, type EgressDenied, type EgressProtocol, type EgressRule } from '@caisson/contract';
import { canonicalHost } from './host.ts';
import { allowing, allows, denies, meansHost, narrowed, taught, type Destination, type Layer, type LayerName } from './layers.ts';

/** A connection that may be opened. */
export interface ConnectionAllowed extends EgressAllowed, Destination {
  /** The layers with the rules that allow this connection, and of those that deny the ones that wait for its requests. */
  readonly layers: readonly Layer[];
}

type Check = (layers: readonly Layer[], destination: Destination) => EgressDenied | null;

/**
 * Whether a name may be spoken to on any port at all, as DNS asks before it gives the name an address: whether there is a
 * port for which `decideConnection` allows. The decision is that of the first such port.
 */
export function decideName(layers: readonly Layer[], host: string): EgressDecision {
  const parsed = canonicalHost(host);
  if ('refused' in parsed) return notAName(parsed.refused);
  const here = narrowed(layers, { allow: (rule) => meansHost(rule, parsed.host), deny: (rule) => meansHost(rule, parsed.host) });
  const ports = portsToTry(here);
  let first: EgressDenied | null = null;
  for (const port of ports) {
    const decision = decideConnection(here, { host: parsed.host, port });
    if (decision.effect === 'allow') return decision;
    first ??= decision;
  }
  return first ?? noPort(layers, parsed.host);
}

/** Every port for which the decision could be another than for the rest; of layers that learn one of the rest, too. */
function portsToTry(layers: readonly Layer[]): readonly number[] {
  const ports = new Set(allowing(layers).map(({ rule }) => portOf(rule)));
  if (!layers.some(({ learn }) => learn === true)) return [...ports];
  for (const port of [443, 80, ...layers.flatMap(({ deny }) => deny.map((rule) => portOf(rule)))]) ports.add(port);
  let rest = 1;
  while (ports.has(rest)) rest += 1;
  return [...ports, rest];
}

/**
 * Whether a connection to a host and port may be opened. What is enforced on it is the strictest protocol of all rules that
 * matched, and of those that deny requests, which must be read for that: `tcp` asks for nothing and yields to the others, and
 * `https` keeps what `tls` asks for and more; `http` and either of them cannot both be kept, and so refuse. Where requests are
 * read, `decideHttp` decides each by the `layers` of the decision.
 */
export function decideConnection(layers: readonly Layer[], { host, port }: Destination): ConnectionAllowed | EgressDenied {
  const parsed = canonicalHost(host);
  if ('refused' in parsed) return notAName(parsed.refused);
  const destination = { host: parsed.host, port };
  const here = narrowed(taught(layers, destination), { allow: (rule) => allows(rule, destination), deny: (rule) => denies(rule, destination) });
  const enforced = narrowed(here, { allow: () => true, deny: (rule) => rule.auditOnly !== true });
  for (const check of CHECKS) {
    const denial = check(enforced, destination);
    if (denial !== null) return denial;
  }
  const matched = allowing(here);
  const [protocol] = protocolsOf(enforced, destination);
  const last = matched.at(-1);
  if (last === undefined || protocol === undefined) return nobodyAllows(here, destination) ?? noPort(layers, parsed.host);
  const audit = denied(here, destination) ?? (readsRequests(protocol) ? null : requestsUnread(here, destination));
  return {
    effect: 'allow',
    rule: ruleName(last.rule),
    reason: `${parsed.host}:${port} is allowed by ${matched.map(({ layer, rule }) => `"${ruleName(rule)}" of the ${layer}`).join(', ')}`,
    protocol,
    ...destination,
    layers: narrowed(here, { allow: () => true, deny: (rule) => rule.http !== undefined }),
    ...(audit !== null && { audit }),
  };
}

/** First refusal wins. */
const CHECKS: readonly Check[] = [denied, nobodyAllows, protocolsDisagree];

/** A rule that denies requests waits for them; any other denies the connection. */
function denied(layers: readonly Layer[], { host, port }: Destination): EgressDenied | null {
  for (const { name, deny } of layers) {
    const rule = deny.find(({ http }) => http === undefined);
    if (rule !== undefined) return { effect: 'deny', rule: ruleName(rule), reason: `${host}:${port} is denied by "${ruleName(rule)}" of the ${name}`, wouldAllow: without(rule, name) };
  }
  return null;
}

function nobodyAllows(layers: readonly Layer[], destination: Destination): EgressDenied | null {
  // Layers that all allow anything would allow everything; what no rule allows is refused.
  const missing = layers.every(({ allow }) => allow === null) ? ['call' as const] : layers.filter(({ allow }) => allow?.length === 0).map(({ name }) => name);
  if (missing.length === 0) return null;
  const { host, port } = destination;
  return {
    effect: 'deny',
    rule: null,
    reason: `no rule of the ${missing.join(' or of the ')} allows ${host}:${port}`,
    wouldAllow: missing.map((name) => (name === 'call' ? `--allow ${host}:${port}` : `a rule of the ${name} that allows ${host}:${port}`)).join(' and '),
  };
}

function protocolsDisagree(layers: readonly Layer[], destination: Destination): EgressDenied | null {
  const { host, port } = destination;
  const [first, second] = protocolsOf(layers, destination);
  if (first === undefined || second === undefined) return null;
  const rules = asking(layers, destination).filter(({ protocol }) => protocol !== 'tcp');
  return {
    effect: 'deny',
    rule: ruleName(rules[0]?.rule ?? { host, port }),
    reason: `the rules for ${host}:${port} disagree about what is spoken there: ${rules.map(({ layer, rule, protocol }) => `"${ruleName(rule)}" of the ${layer} says ${protocol}`).join(', ')}`,
    wouldAllow: `the same protocol in each of them, such as --allow ${host}:${port}/${first}`,
  };
}

/** Requests that nobody reads: what denies some of them and only records does not have them read, and so would deny them all. */
function requestsUnread(layers: readonly Layer[], { host, port }: Destination): EgressDenied | null {
  for (const { name, deny } of layers) {
    const rule = deny.find(({ http }) => http !== undefined);
    if (rule === undefined) continue;
    return { effect: 'deny', rule: ruleName(rule), reason: `"${ruleName(rule)}" of the ${name} denies some requests to ${host}:${port}, and they are not read there`, wouldAllow: `--allow ${host}:${port}/${port === 443 ? 'https' : 'http'}` };
  }
  return null;
}

/** What must be kept of what the rules ask for: one protocol, or two that exclude each other. */
function protocolsOf(layers: readonly Layer[], destination: Destination): readonly EgressProtocol[] {
  const all = [...new Set(asking(layers, destination).map(({ protocol }) => protocol))];
  const strict = all.filter((protocol) => protocol !== 'tcp' && (protocol !== 'tls' || !all.includes('https')));
  return strict.length === 0 ? all : strict;
}

/** The rules that ask for a protocol: those that allow, and those that deny some requests. */
function asking(layers: readonly Layer[], { port }: Destination): readonly { readonly layer: LayerName; readonly rule: EgressRule; readonly protocol: EgressProtocol }[] {
  const denying = layers.flatMap(({ name, deny }) => deny.filter(({ http }) => http !== undefined).map((rule) => ({ layer: name, rule, protocol: protocolOf({ port, ...rule }) })));
  return [...allowing(layers).map(({ layer, rule }) => ({ layer, rule, protocol: protocolOf(rule) })), ...denying];
}

function notAName(refused: string): EgressDenied {
  return { effect: 'deny', rule: null, reason: `rules speak of names only: ${refused}`, wouldAllow: 'a host name that a rule allows' };
}

function noPort(layers: readonly Layer[], host: string): EgressDenied {
  const names = layers.filter(({ allow }) => allow !== null).map(({ name }) => name);
  return { effect: 'deny', rule: null, reason: `no rule of the ${names.join(' or of the ') || 'call'} allows ${host} on any port`, wouldAllow: `--allow ${host}` };
}

export function without(rule: EgressRule, layer: string): string {
  return `taking "${ruleName(rule)}" out of the rules of the ${layer}`;
}
