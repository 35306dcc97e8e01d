import { z } from 'zod';
import { HOST } from './host-name.ts';
import { Resolvers } from './resolver.ts';

/** `/etc/resolv.conf` of every sandbox (resolv.conf(5)). Names go over TCP (use-vc): UDP cannot be had at level container. Without a link to the gate a name fails at once. */
export const RESOLV_CONF = 'nameserver 198.18.0.1\noptions use-vc timeout:2 attempts:2\n';

/**
 * How a connection is read on its way out. `tls`: the first bytes must be a TLS ClientHello whose server name is the host of
 * the rule (RFC 6066 §3); nothing is decrypted. `http`: every request is read, and its host must be that of the rule. `https`: as
 * `tls`, and the gate ends the TLS of the sandbox, by a certificate that this sandbox alone trusts, to read every request; it
 * sends them on by TLS of its own, for which the server must prove its name. `tcp`: bytes pass as they are.
 */
export const EGRESS_PROTOCOLS = ['tls', 'http', 'https', 'tcp'] as const;
export type EgressProtocol = (typeof EGRESS_PROTOCOLS)[number];

/** One destination that a sandbox may reach, or may not. What no rule allows is refused. */
export interface EgressRule {
  /** How evidence and denials call it. Default: its effect, host and port, such as `allow api.example.com:443`. */
  readonly name?: string;
  /** Default `allow`. A rule that denies beats every rule that allows. */
  readonly effect?: 'allow' | 'deny';
  /** A host name, or `*.` and a name below which every name is meant. Never an address. */
  readonly host: string;
  /** TCP port. Default 443; of a rule that denies, every port. */
  readonly port?: number;
  /** Default: for port 443 `tls`, or `https` where `http` says what requests may be; `http` for port 80, `tcp` for any other. */
  readonly protocol?: EgressProtocol;
  /** What the requests of protocol `http` or `https` may be; of a rule that denies, which of them it denies. Default: any. */
  readonly http?: HttpRule;
  /** Connections that may be opened, or requests of protocol `http` or `https` made, within 60 s. Default: as many as the sandbox may. */
  readonly perMinute?: number;
  /** Bytes that may pass, both ways together, in the life of the sandbox. Default: no limit of the rule's own. */
  readonly bytes?: number;
  /** Whether what the rule refuses passes and is only recorded. Default false. */
  readonly auditOnly?: boolean;
  /** Whether what only rules with `hold` allow waits for a person's decision. Not of a rule that denies, nor together with `auditOnly`. Default false. */
  readonly hold?: boolean;
}

export interface HttpRule {
  /** Methods, in capitals. Default: any. */
  readonly methods?: readonly string[];
  /**
   * Paths, without the query; `*` stands for any characters but `/`, `**` for any. Both the pattern and the path are decoded
   * once (RFC 3986 §2.1) before they are compared, and `%2A` in a pattern is a star that stands for itself. Default: any.
   */
  readonly paths?: readonly string[];
  /** Longest body of a request, in bytes. Default: no limit. */
  readonly bodyBytes?: number;
  /**
   * Header fields, each with what its value is: `*` stands for any characters, `%2A` for a star. Of a rule that allows, each must
   * be there exactly once; of a rule that denies, one that is there more than once is as good as the value. Default: any.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** What the messages of the Model Context Protocol may be that a body holds. Default: bodies are not read. */
  readonly mcp?: McpRule;
}

/**
 * Messages of the Model Context Protocol over HTTP: JSON-RPC 2.0, by POST. A body is read whole, up to 1 MiB, and what two
 * readers could take for two messages is none. A rule that allows does so for every message of a body or not at all, and for
 * GET and DELETE, which the transport has too, only where `methods` of the rule names them.
 */
export interface McpRule {
  /** Methods of JSON-RPC, such as `tools/list` or `notifications/*`; `*` stands for any characters. Default of a rule that allows: any. */
  readonly methods?: readonly string[];
  /** Tools that `tools/call` may call, with `*` as before; other methods are not held to it. Of a rule that denies: that it may not. Default: any. */
  readonly tools?: readonly string[];
}

/** What a call or a sandbox asks of the network. Nothing asked: it has none. */
export interface NetworkRequest {
  readonly rules: readonly EgressRule[];
  /**
   * Any name may be spoken to on any port, so that what was used is on record and can be made rules of; what `rules` deny, and
   * all that the policy narrows, is refused as ever. Addresses are judged as ever, too: a name is not a way to a private one.
   */
  readonly learn?: true;
}

/** What the policy says of the network: a layer below which requests only narrow. */
export interface NetworkPolicy {
  /** Destinations that may be asked for. Default: any name. */
  readonly allow?: readonly EgressRule[];
  /** Destinations that nobody gets. */
  readonly deny?: readonly EgressRule[];
  /**
   * Ranges of addresses that names may stand for although they are not public, such as `10.1.0.0/16`, each with the reason,
   * which goes into the evidence of every connection. Never a default.
   */
  readonly unsafeAllowPrivate?: readonly { readonly cidr: string; readonly reason: string }[];
  /** DNS servers that the gate asks: addresses, or `tls://ADDRESS#NAME` and `https://ADDRESS/PATH#NAME` (resolver.ts). Default: those of the host. */
  readonly resolvers?: readonly string[];
  /** Certificates of authorities, each as PEM, that a server may prove its name by where the gate reads requests by `https`, or asks it for names by TLS. Default: those of the host alone. */
  readonly certificateAuthorities?: readonly string[];
  /**
   * Whether a request may learn. Default true: it gives nothing that could not be asked for by rules, one name after the other,
   * for `allow` and `deny` narrow it as they narrow rules. False: every name must be asked for before it is spoken to.
   */
  readonly learn?: boolean;
  /** Connections that one sandbox may have open at once. Default 1000. */
  readonly connections?: number;
  /** Connections that one sandbox may open, and requests of protocol `http` or `https` that it may make, within 60 s. Default 6000. */
  readonly connectionsPerMinute?: number;
  /** Milliseconds that an attempt waits for a decision where a rule has `hold`. Default 120000. */
  readonly holdMs?: number;
}

/** Names that whole registries share: `*.com` would be everybody. Two labels below are asked for at least. */
const HostPattern: z.ZodType<string> = z
  .string()
  .refine((host) => HOST.test(host.startsWith('*.') ? host.slice(2) : host), 'must be a host name in small letters, or *. and a host name')
  .refine((host) => !host.startsWith('*.') || host.slice(2).split('.').length >= 2, 'is too broad: *. needs a name of at least two labels, such as *.example.com');

/** A pattern that no path without a doubt could match would be a rule that is read and not kept. */
function isMatchable(pattern: string): boolean {
  try {
    const segments = decodeURIComponent(pattern).split('/').slice(1);
    return !/[?#\\]|%(?:2f|5c)/i.test(pattern) && !segments.some((segment, at) => segment === '.' || segment === '..' || (segment === '' && at < segments.length - 1));
  } catch {
    return false;
  }
}

/** Fields of one hop, and those that say where a message goes and where it ends: the gate writes them anew (RFC 9110 §7.6.1). */
const FIELDS_OF_THE_GATE = new Set(['connection', 'content-length', 'expect', 'host', 'http2-settings', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

const FieldName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}$/, 'must be the name of a field, without _, which servers take for -')
  .refine((name) => !FIELDS_OF_THE_GATE.has(name.toLowerCase()), 'is a field that the gate writes anew');

const Fields = z
  .record(FieldName, z.string().regex(/^[\u0021-\u007e](?:[\u0020-\u007e]{0,1022}[\u0021-\u007e])?$/, 'must be printable ASCII without spaces around it'))
  .refine((fields) => Object.keys(fields).length >= 1 && Object.keys(fields).length <= 16, 'must name 1 to 16 fields')
  .refine((fields) => new Set(Object.keys(fields).map((name) => name.toLowerCase())).size === Object.keys(fields).length, 'must name each field once');

const McpNames = z.array(z.string().regex(/^[\u0021-\u007e]{1,128}$/, 'must be printable ASCII without spaces')).min(1).max(256);

const McpRule: z.ZodType<McpRule> = z
  .strictObject({ methods: McpNames.exactOptional(), tools: McpNames.exactOptional() })
  .refine(({ methods, tools }) => methods !== undefined || tools !== undefined, 'must name methods or tools');

const HttpRule: z.ZodType<HttpRule> = z.strictObject({
  methods: z.array(z.string().regex(/^[A-Z]{1,32}$/, 'must be a method in capitals')).min(1).max(32).optional(),
  paths: z.array(z.string().regex(/^\/[\u0021-\u007e]{0,1023}$/, 'must begin with / and be printable ASCII').refine(isMatchable, 'must be a path without query, dot segments, empty segments, \\ or an encoded slash')).min(1).max(64).optional(),
  bodyBytes: z.int().min(0).optional(),
  headers: Fields.optional(),
  mcp: McpRule.optional(),
}) as z.ZodType<HttpRule>;

/** Methods of the transport; what any other means to a server of it nobody says. */
const MCP_METHODS = ['DELETE', 'GET', 'POST'];

function isMcpTransport({ effect, http }: EgressRule): boolean {
  return effect === 'deny' || http?.mcp === undefined || (http.methods ?? []).every((method) => MCP_METHODS.includes(method));
}

function hasBudget({ perMinute, bytes, http }: EgressRule): boolean {
  return perMinute !== undefined || bytes !== undefined || http?.bodyBytes !== undefined;
}

export const EgressRule: z.ZodType<EgressRule> = z
  .strictObject({
    name: z.string().regex(/^[\u0020-\u007e]{1,128}$/, 'must be printable ASCII of at most 128 characters').optional(),
    effect: z.enum(['allow', 'deny']).optional(),
    host: HostPattern,
    port: z.int().min(1).max(65_535).optional(),
    protocol: z.enum(EGRESS_PROTOCOLS).optional(),
    http: HttpRule.optional(),
    perMinute: z.int().min(1).optional(),
    bytes: z.int().min(1).optional(),
    auditOnly: z.boolean().optional(),
    hold: z.boolean().optional(),
  })
  .refine((rule) => rule.http === undefined || readsRequests(protocolOf(rule as EgressRule)), { path: ['http'], message: 'is read only where protocol is http or https' })
  .refine((rule) => rule.hold !== true || (rule.effect !== 'deny' && rule.auditOnly !== true), { path: ['hold'], message: 'is for rules that allow, and not together with auditOnly' })
  .refine((rule) => isMcpTransport(rule as EgressRule), { path: ['http', 'methods'], message: 'may be GET, POST and DELETE where mcp says what messages may be' })
  .refine((rule) => rule.effect !== 'deny' || !hasBudget(rule as EgressRule), 'denies, and so has no perMinute, bytes or bodyBytes') as z.ZodType<EgressRule>;

const Rules: z.ZodType<readonly EgressRule[]> = z.array(EgressRule).max(256);

export const NetworkRequest: z.ZodType<NetworkRequest> = z.strictObject({ rules: Rules, learn: z.literal(true).optional() }) as z.ZodType<NetworkRequest>;

/** One certificate (RFC 7468 §5). */
export const CertificatePem: z.ZodType<string> = z
  .string()
  .max(16_384)
  .regex(/^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\r?\n?$/, 'must be one certificate as PEM');

/** The prefix is looked at once more: `z.cidrv6` takes any number up to 128 for one, such as 8.5. */
const Cidr = z.union([z.cidrv4(), z.cidrv6()]).refine((cidr) => /\/[0-9]+$/.test(cidr), 'must end in a prefix length');

export const NetworkPolicy: z.ZodType<NetworkPolicy> = z.strictObject({
  allow: Rules.exactOptional(),
  deny: Rules.refine((rules) => rules.every((rule) => rule.effect !== 'allow' && rule.hold !== true && !hasBudget(rule)), 'holds rules that deny: no effect allow, no hold, perMinute, bytes or bodyBytes').exactOptional(),
  unsafeAllowPrivate: z.array(z.strictObject({ cidr: Cidr, reason: z.string().min(10).max(512) })).max(64).exactOptional(),
  resolvers: Resolvers.exactOptional(),
  certificateAuthorities: z.array(CertificatePem).max(64).exactOptional(),
  learn: z.boolean().exactOptional(),
  connections: z.int().min(1).max(100_000).exactOptional(),
  connectionsPerMinute: z.int().min(1).exactOptional(),
  holdMs: z.int().min(1_000).max(3_600_000).exactOptional(),
}) as z.ZodType<NetworkPolicy>;

/** Port 443 where a rule that allows names none. */
export function portOf({ port = 443 }: EgressRule): number {
  return port;
}

export function protocolOf(rule: EgressRule): EgressProtocol {
  if (rule.protocol !== undefined) return rule.protocol;
  const port = portOf(rule);
  if (port === 443) return rule.http === undefined ? 'tls' : 'https';
  return port === 80 ? 'http' : 'tcp';
}

/** Whether a protocol is one by whose requests is decided. */
export function readsRequests(protocol: EgressProtocol): protocol is 'http' | 'https' {
  return protocol === 'http' || protocol === 'https';
}

/** How evidence and denials call a rule. */
export function ruleName(rule: EgressRule): string {
  if (rule.name !== undefined) return rule.name;
  return rule.effect === 'deny' ? `deny ${rule.host}:${rule.port ?? '*'}` : `allow ${rule.host}:${portOf(rule)}`;
}

/** What the gate did with one attempt, and why. */
export type EgressDecision = EgressAllowed | EgressDenied;

export interface EgressAllowed {
  readonly effect: 'allow';
  readonly rule: string;
  readonly reason: string;
  readonly protocol: EgressProtocol;
  /** The refusal that a rule with `auditOnly` would have been. */
  readonly audit?: EgressDenied;
}

export interface EgressDenied {
  readonly effect: 'deny';
  /** Null: no rule speaks of it, and what no rule allows is refused. */
  readonly rule: string | null;
  readonly reason: string;
  /** The smallest change that would have been allowed, such as `--allow api.example.com:443`. */
  readonly wouldAllow: string;
}

/**
 * The rule that an argument `--allow HOST[:PORT][/PROTOCOL]` means, such as `api.example.com`, `*.example.com:443` or
 * `db.example.com:5432/tcp`. Port and protocol have the defaults of a rule.
 */
export function allowArgument(text: string): EgressRule | { readonly refused: string } {
  const match = /^([^:/]*)(?::([0-9]{1,5}))?(?:\/(tls|https?|tcp))?$/.exec(text);
  if (match === null) return { refused: 'must be HOST[:PORT][/tls|/http|/https|/tcp], such as api.example.com:443; neither a URL nor an address' };
  const [, host, port, protocol] = match;
  if (port?.startsWith('0') === true) return { refused: 'has a port that begins with 0' };
  const parsed = EgressRule.safeParse({ host, ...(port !== undefined && { port: Number(port) }), ...(protocol !== undefined && { protocol }) });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return { refused: issue === undefined ? 'is no rule' : `${issue.path.join('.')} ${issue.message}` };
}
