import {
  CaissonError, certifies, leaseEnv, protocolOf, rulesForSecret, SECRETS_FOLDER, TRUST_ENV, type CertificateAuthority, type EgressRule, type FileLease, type Lease, type NetworkPolicy, type NetworkRequest, type Policy, type RunRequest,
  type SecretFileSpec,
} from '@caisson/contract';
import type { Rooms } from './rooms.ts';

/** What a sandbox has of secrets: what the gate needs beside its rules to read its requests and to put them into these, and files. */
export interface Credentials {
  /** Null: none of its requests is read by TLS, and none ever will be. */
  readonly authority: CertificateAuthority | null;
  readonly leases: readonly Lease[];
  /** Default, of one that a former control noted: none. */
  readonly files?: readonly FileLease[];
  /** Whether it ever had a file: what has read one may hold the value, also when the file is gone. */
  readonly hadFiles?: boolean;
}

export const NO_CREDENTIALS: Credentials = { authority: null, leases: [] };

interface Asked {
  readonly sandbox: string;
  readonly request: Pick<RunRequest, 'network' | 'secrets'>;
  /** When it is closed at the latest, however often its time is renewed, in milliseconds since 1970 UTC. */
  readonly expiresMs: number;
}

/** A request with the network that its secrets are for: whoever asks for a secret asks to speak, but for one that is a file. */
export function withNetwork<T extends Pick<RunRequest, 'network' | 'secrets'>>(request: T, { secrets = {} }: Pick<Policy, 'secrets'>): T {
  const speaking = (request.secrets ?? []).some((name) => !isFileSecret(secrets, name));
  return request.network === undefined && speaking ? { ...request, network: { rules: [] } } : request;
}

function isFileSecret(secrets: NonNullable<Policy['secrets']>, name: string): boolean {
  const rule = Object.hasOwn(secrets, name) ? secrets[name] : undefined;
  return rule !== undefined && 'file' in rule;
}

/** Leases what a sandbox asks for, and makes the authority by which the gate reads its requests. All of it or nothing. @throws CaissonError SECRET_… */
export async function credentialsFor({ sandbox, request: { network, secrets = [] }, expiresMs }: Asked, rooms: Pick<Rooms, 'gate' | 'vault' | 'policy'>): Promise<Credentials> {
  const held = secrets.length === 0 ? [] : await rooms.vault.lease({ sandbox, secrets, expiresMs });
  const leases = held.flatMap((lease) => ('file' in lease ? [] : [lease]));
  const files = held.flatMap((lease) => ('file' in lease ? [lease] : []));
  const having = { leases, ...(files.length > 0 && { files, hadFiles: true }) };
  if (network === undefined) return { authority: null, ...having };
  const names = certified(effective(network, leases), rooms.policy.value.network);
  try {
    return { authority: names.length === 0 ? null : await rooms.gate.certify({ sandbox, names, expiresMs }), ...having };
  } catch (error) {
    await releaseSecrets(sandbox, having, rooms);
    throw error;
  }
}

/** The rules that were asked for, and those of the secrets that are leased. */
export function effective(network: NetworkRequest, leases: readonly Lease[]): NetworkRequest {
  const own = leases.flatMap(({ secret, ...lease }) => rulesForSecret(secret, lease));
  return own.length === 0 ? network : { ...network, rules: [...network.rules, ...own] };
}

/** Hosts of the rules by which requests are read by TLS. */
function certified({ rules }: NetworkRequest, { allow = [], deny = [] }: NetworkPolicy = {}): readonly string[] {
  const reading = (rule: EgressRule): boolean => protocolOf(rule) === 'https' && (rule.effect !== 'deny' || rule.http !== undefined);
  return [...new Set([...rules, ...allow, ...deny.map((rule): EgressRule => ({ ...rule, effect: 'deny' }))].filter(reading).map(({ host }) => host.replace(/^\*\./, '')))];
}

/** Holds new rules to the names that the sandbox trusts the gate for, which are fixed. @throws CaissonError EGRESS_UNCERTIFIED */
export function mustCertify(sandbox: string, { authority }: Credentials, network: NetworkRequest): void {
  const host = certified(network, {}).find((name) => authority === null || !certifies(authority, name));
  if (host !== undefined) throw new CaissonError('EGRESS_UNCERTIFIED', { sandbox, host, names: authority?.names.join(', ') ?? 'no host' });
}

/** What commands find in their environment: the placeholders, the paths of files, and where the list of authorities is for programs that do not look where the system has it. */
export function credentialEnv({ authority, leases, files = [] }: Credentials): Readonly<Record<string, string>> {
  return {
    ...(authority !== null && TRUST_ENV),
    ...Object.fromEntries(leases.flatMap((lease) => Object.entries(leaseEnv(lease)))),
    ...Object.fromEntries(files.flatMap(({ env, file }) => (env === undefined ? [] : [[env, `${SECRETS_FOLDER}/${file}`]]))),
  };
}

/** What a spec says of the network and the secrets of a sandbox. */
export interface Granted {
  readonly network: boolean;
  readonly certificate?: string;
  readonly secrets?: { readonly sandbox: string; readonly files: readonly SecretFileSpec[] };
  readonly mirror?: { readonly sandbox: string; readonly from: number };
}

interface Grantee {
  readonly sandbox: string;
  /** Index in the log of its intent: what it calls stands after that. */
  readonly intent: number;
  readonly nowMs: number;
}

/** What a spec that starts now says; a file whose time is over is not in it. */
export function granted({ network, auditMirror }: Pick<RunRequest, 'network' | 'auditMirror'>, { authority, files = [] }: Credentials, { sandbox, intent, nowMs }: Grantee): Granted {
  const there = files.filter(isThere(nowMs)).map(({ file, id }) => ({ name: file, lease: id }));
  return { network: network !== undefined, ...(authority !== null && { certificate: authority.certificate }), ...(there.length > 0 && { secrets: { sandbox, files: there } }), ...(auditMirror === true && { mirror: { sandbox, from: intent } }) };
}

/** Names of the secrets that are leased to a sandbox, also of those whose time is over. */
export function secretNames({ leases, files = [] }: Credentials): readonly string[] {
  return [...leases, ...files].map(({ secret }) => secret);
}

/** Names of the secrets that a sandbox has at that time, in milliseconds since 1970 UTC. */
export function secretsThere({ leases, files = [] }: Credentials, nowMs: number): readonly string[] {
  return secretNames({ authority: null, leases: leases.filter(isThere(nowMs)), files: files.filter(isThere(nowMs)) });
}

/** Whether a lease is not over at that time. */
export function isThere(nowMs: number): (lease: Pick<FileLease, 'expiresMs'>) => boolean {
  return ({ expiresMs }) => expiresMs === null || expiresMs > nowMs;
}

/** Nothing is leased any more to a sandbox that has ended; what the vault cannot be told now ends with its time. */
export async function releaseSecrets(sandbox: string, { leases, files = [] }: Pick<Credentials, 'leases' | 'files'>, rooms: Pick<Rooms, 'vault'>): Promise<void> {
  if (leases.length > 0 || files.length > 0) await rooms.vault.release(sandbox).catch(() => undefined);
}
