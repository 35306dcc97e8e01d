import { EgressRule, readsRequests, type EgressProtocol, type HttpRule } from '@caisson/contract';
import { canonicalPath, matchesPath } from './http-path.ts';
import type { Destination } from './layers.ts';

/** One use of the network, as it is on record: a connection, or a request of protocol `http` or `https`. */
export interface Use extends Destination {
  readonly protocol: EgressProtocol;
  readonly request: { readonly method: string; readonly path: string } | null;
}

export interface Proposal {
  readonly rules: readonly EgressRule[];
  /** Where a rule is wider than what was used, and why. */
  readonly notes: readonly string[];
}

/** As many as the schema of a rule takes. */
const PATHS_MOST = 64;
const METHODS_MOST = 32;
/** Paths, or names, that differ in one place before that place is taken for one that varies. */
const ALIKE_LEAST = 3;
/** What stands for one thing of many: a number, a UUID (RFC 9562), or a digest or id in hexadecimal. */
const IDENTIFIER = /^(?:[0-9]+|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{16,})$/i;

/**
 * The narrowest rules that allow these uses: one for each host and port. Where requests were read, a rule names their methods
 * and paths, and any of the methods may be used with any of the paths. A segment of a path becomes `*` only where three paths
 * differ in it alone and it is an identifier in each. With `wildcards` three names below one name become `*.` and that name.
 */
export function proposeRules(uses: readonly Use[], { wildcards = false }: { readonly wildcards?: boolean } = {}): Proposal {
  const places = Map.groupBy(wildcards ? underWildcards(uses) : uses, ({ host, port }) => `${host}:${port}`);
  const notes: string[] = [];
  const rules = [...places.values()].map((here) => ruleOf(here, notes));
  return { rules: rules.toSorted((a, b) => (a.host === b.host ? (a.port ?? 0) - (b.port ?? 0) : a.host < b.host ? -1 : 1)), notes };
}

function ruleOf(uses: readonly Use[], notes: string[]): EgressRule {
  const [{ host, port } = { host: '', port: 0 }] = uses;
  const protocol = protocolFor(new Set(uses.map((use) => use.protocol)));
  const rule = { host, port, protocol };
  if (!readsRequests(protocol)) return rule;
  const { http, wider } = httpOf(uses.flatMap(({ request }) => (request === null ? [] : [request])));
  notes.push(...wider.map((why) => `${host}:${port}: ${why}`));
  return Object.keys(http).length === 0 ? rule : { ...rule, http };
}

/** What two different protocols at one place have in common. */
function protocolFor(seen: ReadonlySet<EgressProtocol>): EgressProtocol {
  const [first = 'tcp'] = seen;
  if (seen.size === 1) return first;
  return seen.isSubsetOf(new Set(['tls', 'https'])) ? 'tls' : 'tcp';
}

function httpOf(requests: readonly { readonly method: string; readonly path: string }[]): { readonly http: HttpRule; readonly wider: readonly string[] } {
  if (requests.length === 0) return { http: {}, wider: ['no request was seen, and so the rule allows any'] };
  const methods = [...new Set(requests.map(({ method }) => method))].toSorted();
  const paths = new Set(requests.map(({ path }) => literal(path)));
  const hasMethods = methods.length <= METHODS_MOST && methods.every((method) => /^[A-Z]{1,32}$/.test(method));
  const { patterns, wider } = paths.has(null) ? { patterns: null, wider: ['a path was not clear or too long, and so the rule allows any'] } : patternsOf([...paths].filter((path) => path !== null));
  return {
    http: { ...(hasMethods && { methods }), ...(patterns !== null && { paths: patterns }) },
    wider: [...(hasMethods ? [] : ['a method was not in capitals, and so the rule allows any']), ...wider],
  };
}

/** The pattern that means one path, as it was asked for, and no other; null: there is none. */
function literal(path: string): string | null {
  const canonical = canonicalPath(path);
  if ('refused' in canonical) return null;
  const pattern = canonical.path.replace(/[^A-Za-z0-9/._~!$&'()+,;=:@-]+/g, (text) => encodeURIComponent(text).replaceAll('*', '%2A'));
  const isRule = EgressRule.safeParse({ host: 'a.test', protocol: 'http', http: { paths: [pattern] } }).success;
  return isRule && path.length < PATH_RECORDED && matchesPath(pattern, canonical.path) ? pattern : null;
}

/** Longer paths are cut when they are put on record. */
const PATH_RECORDED = 512;

function patternsOf(paths: readonly string[]): { readonly patterns: readonly string[]; readonly wider: readonly string[] } {
  const patterns = [...generalised(new Set(paths))].toSorted();
  if (patterns.length <= PATHS_MOST) return { patterns, wider: [] };
  const prefix = commonFolder(patterns);
  return { patterns: [`${prefix}**`], wider: [`${patterns.length} paths were seen, more than a rule holds, and so it allows all below ${prefix}`] };
}

function generalised(paths: ReadonlySet<string>): ReadonlySet<string> {
  const alike = Map.groupBy([...paths].flatMap(shapesOf), ({ shape }) => shape);
  const kept = new Set(paths);
  for (const [shape, members] of alike) {
    const open = members.filter(({ path }) => kept.has(path));
    if (open.length < ALIKE_LEAST) continue;
    for (const { path } of open) kept.delete(path);
    kept.add(shape);
  }
  return kept;
}

/** A path with `*` in place of each identifier, one at a time. */
function shapesOf(path: string): readonly { readonly path: string; readonly shape: string }[] {
  const segments = path.split('/');
  return segments.flatMap((segment, at) => (IDENTIFIER.test(segment) ? [{ path, shape: segments.with(at, '*').join('/') }] : []));
}

/** The longest folder that all are in, with a slash at its end. */
function commonFolder(paths: readonly string[]): string {
  const [first = [], ...others] = paths.map((path) => path.split('/').slice(0, -1));
  const folder = [...first];
  for (const other of others) while (folder.length > 0 && !folder.every((segment, at) => segment === other[at])) folder.pop();
  return `${folder.join('/')}/`;
}

/** Uses of which those of at least three names below one name, at one port and by one protocol, are of all names below it. */
function underWildcards(uses: readonly Use[]): readonly Use[] {
  return [...Map.groupBy(uses, ({ port }) => port).values()].flatMap((here) => {
    const patterns = new Map<string, string>();
    for (const suffix of suffixesOf(here)) {
      const below = here.filter(({ host }) => host.endsWith(`.${suffix}`));
      // A rule for all names holds for those that have one of their own, too: one protocol for them all, or none of this.
      if (new Set(below.map(({ protocol }) => protocol)).size > 1) continue;
      const open = new Set(below.map(({ host }) => host).filter((host) => !patterns.has(host)));
      if (open.size >= ALIKE_LEAST) for (const host of open) patterns.set(host, `*.${suffix}`);
    }
    return here.map((use) => ({ ...use, host: patterns.get(use.host) ?? use.host }));
  });
}

/** Every name of two labels or more that another is below, the longest first. */
function suffixesOf(uses: readonly Use[]): readonly string[] {
  const all = uses.flatMap(({ host }) => host.split('.').map((_, at, labels) => labels.slice(at + 1)));
  return [...new Set(all.filter((labels) => labels.length >= 2).toSorted((a, b) => b.length - a.length).map((labels) => labels.join('.')))];
}
