import { z } from 'zod';
import { AWS_ENV, AwsEnv, AwsScope, awsVariables } from './aws.ts';
import { HostName } from './host-name.ts';
import type { EgressRule } from './network.ts';

/**
 * Where a secret comes from, never the secret: `env:NAME` of whoever started Caisson, `file:/path`, the output of a program
 * such as `op read`, a field of HashiCorp Vault (KV version 2), or a key of a Secret of Kubernetes.
 */
export type SecretSource =
  | `env:${string}`
  | `file:/${string}`
  /** Program and arguments; what it prints is the secret, without one line break at the end. */
  | { readonly exec: readonly string[] }
  | { readonly vault: VaultField }
  | { readonly kubernetes: KubernetesKey };

export interface VaultField {
  /** Such as `https://vault.example.com:8200`. */
  readonly address: string;
  /** Where the engine is mounted. Default `secret`. */
  readonly mount?: string;
  readonly path: string;
  readonly field: string;
  /** Where the token comes from: another reference, never the token. */
  readonly token: `env:${string}` | `file:/${string}`;
}

/** A key of a Secret, by the API of Kubernetes. In a pod `name` and `key` suffice: the rest is what its service account has. */
export interface KubernetesKey {
  /** Default: that of the pod. */
  readonly namespace?: string;
  readonly name: string;
  readonly key: string;
  /** Such as `https://10.0.0.1:6443`. Default: that of the cluster. One that is named gets no token but the one that is named too. */
  readonly server?: string;
  /** Where the token comes from. Default: the service account of the pod. */
  readonly token?: `env:${string}` | `file:/${string}`;
  /** Where the authority comes from by which the server proves its name, as PEM. Default: the cluster's, and of a server that is named those of the host. */
  readonly ca?: `env:${string}` | `file:/${string}`;
}

/**
 * Where in a request a secret may stand: `bearer`, the token of Authorization (`Bearer`, or `token` as GitHub has it);
 * `basic`, the password of Authorization: Basic (RFC 7617); `header:NAME`, the whole value of that field; `query:NAME`, the
 * value of that parameter; `sigv4`, nowhere: the gate signs with it for AWS (Signature Version 4). Its value is what
 * `credential_process` of AWS prints.
 */
export type SecretPlace = 'bearer' | 'basic' | 'sigv4' | `header:${string}` | `query:${string}`;

/** A secret that sandboxes may ask for by its name: one that is put into their requests, or one that they get as a file. */
export type SecretRule = InjectedRule | FileRule;

/**
 * A secret that sandboxes never get: they see a placeholder, which the gate replaces in requests that it reads (protocol
 * `https`), to these hosts and nowhere else.
 */
export interface InjectedRule {
  readonly from: SecretSource;
  /** Names of the servers that get it, on port 443. */
  readonly hosts: readonly string[];
  /** Default `bearer`. */
  readonly at?: SecretPlace;
  /** Methods of the requests that it may go with, in capitals. Default: any. */
  readonly methods?: readonly string[];
  /** Paths of them, as in a rule of the network. Default: any. */
  readonly paths?: readonly string[];
  /** Variable in which commands in the sandbox find the placeholder. Default: the name in capitals, with `_` for other characters; of `sigv4` `AWS_ACCESS_KEY_ID`, or another that ends so, and its pair is beside it. */
  readonly env?: string;
  /** What the placeholder begins with, for programs that look at that, such as `ghp_`. Default `caisson-`. None for `sigv4`. */
  readonly prefix?: string;
  /** Milliseconds that a lease lasts. Default: as long as its sandbox. */
  readonly ttlMs?: number;
  /** Of `sigv4` alone: what may be signed for. Default: any region and service that AWS takes at these hosts. */
  readonly aws?: AwsScope;
}

/**
 * A secret for programs that need the value itself, such as a private key: a file in SECRETS_FOLDER that the sandbox's user
 * can read, and nobody in the sandbox can write. Whoever reads it has it.
 */
export interface FileRule {
  /** The value may hold any bytes, line breaks included, and is written as it is: 1 byte to 64 KiB. */
  readonly from: SecretSource;
  /** Name of the file, such as `db-password`, `id_ed25519` or `.pgpass`. */
  readonly file: string;
  /** Variable in which commands in the sandbox find the path of the file, such as `PGPASSFILE`. Default: none. */
  readonly env?: string;
  /** Milliseconds after which the file goes away. Default: as long as its sandbox. */
  readonly ttlMs?: number;
}

/** Where the files of secrets are in a sandbox; the place that others give them too. */
export const SECRETS_FOLDER = '/run/secrets';

/** A secret as a file, as one sandbox has it: until the sandbox ends, the time is over, or it is revoked. */
export interface FileLease {
  readonly id: string;
  readonly secret: string;
  /** Its name in SECRETS_FOLDER. */
  readonly file: string;
  /** Variable that holds its path. */
  readonly env?: string;
  /** Wall time in milliseconds since 1970 UTC at which the file goes away; null: with the sandbox. */
  readonly expiresMs: number | null;
  /** As of a Lease. */
  readonly digest: string;
}

export type AnyLease = Lease | FileLease;

/** How often a secret was used by a sandbox: went with a request of it, or was read for it by the launcher. */
export interface SecretInfo {
  readonly secret: string;
  /** Path in the sandbox of a secret that is a file; null: it is put into requests. */
  readonly file: string | null;
  readonly uses: number;
  /** When it last was, in milliseconds since 1970 UTC; null: never. */
  readonly lastMs: number | null;
  /** When the sandbox has it no more, in milliseconds since 1970 UTC; null: when it ends. */
  readonly expiresMs: number | null;
}

/** A secret that goes with requests, as one sandbox has it: until the sandbox ends, the time is over, or it is revoked. */
export interface Lease {
  readonly id: string;
  readonly secret: string;
  /** What stands for it in the sandbox; of this sandbox alone. */
  readonly placeholder: string;
  readonly env: string;
  readonly hosts: readonly string[];
  readonly at: SecretPlace;
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly aws?: AwsScope;
  /** Wall time in milliseconds since 1970 UTC after which it is not used any more; null: as long as the sandbox lives. */
  readonly expiresMs: number | null;
  /** HMAC-SHA-256 of the value under a key that never leaves the vault, hex: whether two are the same can be told, and nothing else. */
  readonly digest: string;
}

/** How a value stands in requests, and in which: whoever asks the vault for it says by which of these. */
export type LeaseTerms = Pick<Lease, 'at' | 'methods' | 'paths' | 'aws'>;

export function termsOf({ at, methods, paths, aws }: LeaseTerms): LeaseTerms {
  return { at, ...(methods !== undefined && { methods }), ...(paths !== undefined && { paths }), ...(aws !== undefined && { aws }) };
}

/** What a sandbox may reach because it may use a secret there. */
export function rulesForSecret(secret: string, { hosts, methods, paths }: Pick<InjectedRule, 'hosts' | 'methods' | 'paths'>): readonly EgressRule[] {
  const http = { ...(methods !== undefined && { methods }), ...(paths !== undefined && { paths }) };
  return hosts.map((host) => ({ name: `secret ${secret}`, host, port: 443, protocol: 'https', ...(Object.keys(http).length > 0 && { http }) }));
}

/** Variable of a secret, or the first of two. */
export function envOf(secret: string, { at, env }: Pick<InjectedRule, 'at' | 'env'>): string {
  return env ?? (at === 'sigv4' ? AWS_ENV : secret.toUpperCase().replace(/[^A-Z0-9]/g, '_'));
}

/** Names of its variables. */
export function secretEnvNames(secret: string, rule: SecretRule): readonly string[] {
  if ('file' in rule) return rule.env === undefined ? [] : [rule.env];
  return Object.keys(leaseEnv({ at: rule.at ?? 'bearer', env: envOf(secret, rule), placeholder: '' }));
}

/** Variables in which commands find what stands for a secret. */
export function leaseEnv({ at, env, placeholder }: Pick<Lease, 'at' | 'env' | 'placeholder'>): Readonly<Record<string, string>> {
  return at === 'sigv4' ? awsVariables(env, placeholder) : { [env]: placeholder };
}

export const SecretName: z.ZodType<string> = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, dash and underscore, and begin with a letter');
export const SecretNames: z.ZodType<readonly string[]> = z.array(SecretName).max(32).refine((names) => new Set(names).size === names.length, 'names one twice');
export const LeaseId: z.ZodType<string> = z.string().regex(/^lea-[0-9a-z]{16}$/);

const Reference = z.string().regex(/^(?:env:[A-Za-z_][A-Za-z0-9_]{0,255}|file:\/[^\u0000]{1,4095})$/, 'must be env:NAME or file:/absolute/path');
const PathPart = z.string().regex(/^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/, 'must be names with / between them').refine((path) => !path.split('/').some((part) => part === '.' || part === '..'), 'must have no . or ..');

const VaultField = z.strictObject({
  address: z.url({ protocol: /^https?$/ }),
  mount: PathPart.exactOptional(),
  path: PathPart,
  field: z.string().min(1).max(256),
  token: Reference,
});

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

/** Names as RFC 1123 has them, and keys of a ConfigMap or Secret: nothing in them leads to another path of the API. */
const KubernetesKey = z.strictObject({
  namespace: z.string().regex(new RegExp(`^${LABEL}$`), 'must be a label of RFC 1123').exactOptional(),
  name: z.string().regex(new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`), 'must be a subdomain of RFC 1123'),
  key: z.string().regex(/^[-._a-zA-Z0-9]{1,253}$/, 'must be letters, digits, dot, dash and underscore'),
  server: z.url({ protocol: /^https?$/ }).exactOptional(),
  token: Reference.exactOptional(),
  ca: Reference.exactOptional(),
}).refine(({ server, token, namespace }) => server === undefined || (token !== undefined && namespace !== undefined), 'must have a token and a namespace beside a server: those of the pod are for its own cluster');

const SecretSource = z.union([
  Reference,
  z.strictObject({ exec: z.array(z.string().min(1).max(4096)).min(1).max(64).refine(([program = '']) => program.startsWith('/'), 'must name a program by its absolute path') }),
  z.strictObject({ vault: VaultField }),
  z.strictObject({ kubernetes: KubernetesKey }),
], 'must be env:NAME, file:/path, {"exec": [...]}, {"vault": {...}} or {"kubernetes": {...}}');

const FIELD = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
/** Fields that say where a request goes or how it is framed are no place for a secret. */
const FRAMING = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'expect', 'proxy-authorization', 'keep-alive', 'proxy-connection']);

const SecretPlace = z.string().refine((place) => {
  if (place === 'bearer' || place === 'basic' || place === 'sigv4') return true;
  if (place.startsWith('query:')) return /^[A-Za-z0-9._~-]{1,128}$/.test(place.slice(6));
  const field = place.startsWith('header:') ? place.slice(7) : '';
  return FIELD.test(field) && !FRAMING.has(field.toLowerCase());
}, 'must be bearer, basic, sigv4, header:NAME or query:NAME');

export const SecretFileName: z.ZodType<string> = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dot, dash and underscore')
  .refine((name) => name !== '.' && name !== '..', 'must not be . or ..');
const EITHER = 'a secret is put into requests to hosts, or is a file: it has hosts or file, and not both';
/** Fields that say how a secret is put into requests. */
const OF_REQUESTS = ['hosts', 'at', 'methods', 'paths', 'prefix', 'aws'] as const;

export const SecretRule: z.ZodType<SecretRule> = z.strictObject({
  from: SecretSource,
  file: SecretFileName.exactOptional(),
  hosts: z.array(HostName).min(1).max(64).exactOptional(),
  at: SecretPlace.exactOptional(),
  methods: z.array(z.string().regex(/^[A-Z]{1,32}$/, 'must be a method in capitals')).min(1).max(32).exactOptional(),
  paths: z.array(z.string().regex(/^\/[\u0021-\u007e]{0,1023}$/, 'must begin with / and be printable ASCII')).min(1).max(64).exactOptional(),
  env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, 'must be a name such as API_KEY').exactOptional(),
  prefix: z.string().regex(/^[A-Za-z0-9_.-]{1,32}$/, 'must be 1 to 32 letters, digits, dot, dash and underscore').exactOptional(),
  ttlMs: z.int().min(1_000).max(30 * 86_400_000).exactOptional(),
  aws: AwsScope.exactOptional(),
}).superRefine((rule, context) => {
  const { file, hosts, at, aws, prefix, env } = rule;
  const wrong = (field: string, message: string): void => context.addIssue({ code: 'custom', path: [field], message });
  if (file === undefined && hosts === undefined) wrong('hosts', EITHER);
  const ofRequests = file === undefined ? undefined : OF_REQUESTS.find((field) => rule[field] !== undefined);
  if (ofRequests !== undefined) wrong(ofRequests, EITHER);
  if (file !== undefined) return;
  if (at !== 'sigv4' && aws !== undefined) wrong('aws', 'is of a secret with at: sigv4');
  if (at === 'sigv4' && prefix !== undefined) wrong('prefix', 'is none of at: sigv4, where the placeholder is an access key id');
  if (at === 'sigv4' && env !== undefined && !AwsEnv.safeParse(env).success) wrong('env', 'of at: sigv4 ends in ACCESS_KEY_ID, and the key is beside it in …SECRET_ACCESS_KEY');
}) as z.ZodType<SecretRule>;

export const FileLease: z.ZodType<FileLease> = z.strictObject({
  id: LeaseId,
  secret: SecretName,
  file: SecretFileName,
  env: z.string().exactOptional(),
  expiresMs: z.number().nullable(),
  digest: z.string(),
}) as z.ZodType<FileLease>;

const TERMS = { at: SecretPlace, methods: z.array(z.string()).exactOptional(), paths: z.array(z.string()).exactOptional(), aws: AwsScope.exactOptional() };

export const LeaseTerms: z.ZodType<LeaseTerms> = z.strictObject(TERMS) as z.ZodType<LeaseTerms>;

export const Lease: z.ZodType<Lease> = z.strictObject({
  id: LeaseId,
  secret: SecretName,
  placeholder: z.string().min(1).max(256),
  env: z.string(),
  hosts: z.array(HostName),
  ...TERMS,
  expiresMs: z.number().nullable(),
  digest: z.string(),
}) as z.ZodType<Lease>;

export const AnyLease: z.ZodType<AnyLease> = z.union([Lease, FileLease]);
