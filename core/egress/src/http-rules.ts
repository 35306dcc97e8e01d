import { ruleName, type EgressAllowed, type EgressDenied, type EgressRule, type HttpRule } from '@caisson/contract';
import { without } from './decide.ts';
import { allowsFields, deniesFields, type Fields } from './field-rules.ts';
import type { Refused } from './host.ts';
import { canonicalPath, matchesPath, type CanonicalPath } from './http-path.ts';
import { allowing, narrowed, type Layer, type LayerName } from './layers.ts';
import type { McpRead } from './mcp.ts';
import { allowsMcp, deniesMcp, mcpWords } from './mcp-rules.ts';

export interface HttpRequest {
  readonly method: string;
  /** The request target in origin form; its query, if any, is not looked at. */
  readonly path: string;
  /** Length of the body, as far as it is known. Null: not stated; decide again with what has come when more comes. */
  readonly bodyBytes: number | null;
  /** Not given: what rules ask of fields is not met, and what they deny by fields is denied. */
  readonly fields?: Fields;
  /** What the body holds. Not given: it is not read, and as for fields. */
  readonly mcp?: McpRead;
}

/** A request that may pass. */
export interface HttpAllowed extends EgressAllowed {
  /** Most bytes that the body may have; null without a limit. A body of unknown length is cut there. */
  readonly bodyBytes: number | null;
  /** The layers with the rules that allow this request: those it counts against. */
  readonly layers: readonly Layer[];
}

interface Read extends HttpRequest {
  readonly canonical: CanonicalPath | null;
}

/**
 * Whether one request may pass on a connection that was allowed, by the `layers` of that decision. Every layer that has
 * a list must have a rule that allows the method, the path and the body together; deny beats allow. What a layer refuses passes
 * and is recorded in `audit` when a rule of it that allows the connection is `auditOnly`.
 */
export function decideHttp(layers: readonly Layer[], request: HttpRequest): HttpAllowed | EgressDenied {
  const read = readRequest(layers, request);
  if ('refused' in read) return { effect: 'deny', rule: null, reason: `the request is not clear: ${read.refused}`, wouldAllow: 'the same request in its plain form' };
  const denials = layers.flatMap(({ name, deny }) => deny.filter((rule) => deniesRequest(rule, read)).map((rule) => ({ rule, denial: denial(rule, name, request) })));
  const audits = denials.filter(({ rule }) => rule.auditOnly === true);
  const denied = denials.find(({ rule }) => rule.auditOnly !== true);
  if (denied !== undefined) return denied.denial;
  const kept: Layer[] = [];
  const limits: number[] = [];
  const refused: EgressDenied[] = audits.map((audit) => audit.denial);
  for (const layer of layers) {
    const passing = withoutHold(layer.allow?.filter((rule) => allowsRequest(rule, read)) ?? null);
    const auditing = layer.allow?.filter((rule) => rule.auditOnly === true) ?? [];
    // A rule that only records lets longer bodies pass, also where another one allows this request.
    if (passing !== null && auditing.length === 0) limits.push(widestBody(passing));
    if (passing?.length !== 0) {
      kept.push({ ...layer, allow: passing });
      continue;
    }
    const denialHere = notAllowed(layer, request);
    if (auditing.length === 0) return denialHere;
    refused.push(denialHere);
    kept.push({ ...layer, allow: auditing });
  }
  const least = Math.min(...limits);
  const bodyBytes = least === Infinity ? null : least;
  return allowed({ layers: narrowed(kept, { allow: () => true, deny: () => false }), bodyBytes, request, audit: refused[0] });
}

/** Whether the body must be read before the request can be decided: whether a rule by whose messages it is decided means all else of it. */
export function asksForBody(layers: readonly Layer[], request: HttpRequest): boolean {
  const read = readRequest(layers, request);
  if ('refused' in read) return false;
  return layers.some(({ allow, deny }) => [...(allow ?? []), ...deny].some((rule) => rule.http?.mcp !== undefined && deniesRequest(rule, { ...read, mcp: { unclear: '' } })));
}

/** The method and path, read once, if any rule looks at them: what no rule looks at need not be clear. */
function readRequest(layers: readonly Layer[], request: HttpRequest): Read | Refused {
  const rules = layers.flatMap(({ allow, deny }) => [...(allow ?? []), ...deny]);
  // Methods are compared letter by letter (RFC 9110 §9.1), yet servers exist that take "delete" for DELETE.
  if (rules.some(({ http }) => http?.methods !== undefined) && !/^[A-Z]{1,32}$/.test(request.method)) return { refused: 'a method that rules speak of is in capitals' };
  if (rules.every(({ http }) => http?.paths === undefined)) return { ...request, canonical: null };
  const canonical = canonicalPath(request.path);
  return 'refused' in canonical ? canonical : { ...request, canonical };
}

function allowsRequest({ http }: EgressRule, read: Read): boolean {
  if (http === undefined) return true;
  const { method, canonical, bodyBytes, fields } = read;
  if (http.methods?.includes(method) === false) return false;
  if (http.paths !== undefined && (canonical === null || !http.paths.some((pattern) => matchesPath(pattern, canonical.path)))) return false;
  if (http.headers !== undefined && (fields === undefined || !allowsFields(http.headers, fields))) return false;
  return allowsMessages(http, read) && (bodyBytes ?? 0) <= (http.bodyBytes ?? Infinity);
}

/** A stream is opened, and a session ended, without a body (GET and DELETE of the transport), and only where that is said. */
function allowsMessages({ mcp: rule, methods }: HttpRule, { method, mcp }: Read): boolean {
  if (rule === undefined) return true;
  return method === 'POST' ? allowsMcp(rule, mcp) : methods !== undefined && mcp === null;
}

function deniesRequest({ http }: EgressRule, { method, canonical, fields, mcp }: Read): boolean {
  if (http?.methods?.includes(method) === false) return false;
  if (http?.headers !== undefined && fields !== undefined && !deniesFields(http.headers, fields)) return false;
  if (http?.mcp !== undefined && !deniesMcp(http.mcp, mcp)) return false;
  return http?.paths === undefined || canonical === null || http.paths.some((pattern) => matchesPath(pattern, canonical.path) || matchesPath(pattern, canonical.bare));
}

function denial(rule: EgressRule, layer: LayerName, { method, mcp }: HttpRequest): EgressDenied {
  return { effect: 'deny', rule: ruleName(rule), reason: `this ${word(method)} request${mcpWords(mcp)} is denied by "${ruleName(rule)}" of the ${layer}`, wouldAllow: without(rule, layer) };
}

function notAllowed({ name, allow }: Layer, { method, bodyBytes, mcp }: HttpRequest): EgressDenied {
  const first = allow?.[0];
  const body = bodyBytes === null ? '' : ` with a body of ${bodyBytes} bytes`;
  return {
    effect: 'deny',
    rule: first === undefined ? null : ruleName(first),
    reason: `no rule of the ${name} for this host allows this ${word(method)} request${mcpWords(mcp)}${body}`,
    wouldAllow: `a rule of the ${name} whose methods, paths, headers, mcp and bodyBytes this request is within`,
  };
}

interface Passing extends Pick<HttpAllowed, 'layers' | 'bodyBytes'> {
  readonly request: HttpRequest;
  readonly audit: EgressDenied | undefined;
}

function allowed({ layers, bodyBytes, request, audit }: Passing): HttpAllowed | EgressDenied {
  const rules = allowing(layers);
  const last = rules.at(-1);
  if (last === undefined) return { effect: 'deny', rule: null, reason: 'no rule allows requests here', wouldAllow: 'a rule that allows this host' };
  return {
    effect: 'allow',
    rule: ruleName(last.rule),
    reason: `this ${word(request.method)} request is allowed by ${rules.map(({ layer, rule }) => `"${ruleName(rule)}" of the ${layer}`).join(', ')}`,
    protocol: 'http',
    bodyBytes,
    layers,
    ...(audit !== undefined && { audit }),
  };
}

/** Where a rule without `hold` allows it, those with it give nothing: what they allow beyond that, such as a longer body, was not decided. */
function withoutHold(passing: readonly EgressRule[] | null): readonly EgressRule[] | null {
  const free = passing?.filter(({ hold }) => hold !== true) ?? [];
  return free.length > 0 ? free : passing;
}

function widestBody(rules: readonly EgressRule[]): number {
  return Math.max(...rules.map(({ http }) => http?.bodyBytes ?? Infinity));
}

/** A method is what the sandbox sent. */
function word(method: string): string {
  return /^[A-Za-z-]{1,32}$/.test(method) ? method : 'odd';
}
