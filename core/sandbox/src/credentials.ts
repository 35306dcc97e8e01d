import { CaissonError, certifies, leaseEnv, protocolOf, rulesForSecret, TRUST_ENV, type CertificateAuthority, type EgressRule, type Lease, type NetworkPolicy, type NetworkRequest, type RunRequest } from '@caisson/contract';
import type { Rooms } from './rooms.ts';

/** What the gate needs beside the rules of a sandbox to read its requests, and to put secrets into them. */
export interface Credentials {
  /** Null: none of its requests is read by TLS, and none ever will be. */
  readonly authority: CertificateAuthority | null;
  readonly leases: readonly Lease[];
}

export const NO_CREDENTIALS: Credentials = { authority: null, leases: [] };

interface Asked {
  readonly sandbox: string;
  readonly request: Pick<RunRequest, 'network' | 'secrets'>;
  /** When it is closed at the latest, however often its time is renewed, in milliseconds since 1970 UTC. */
  readonly expiresMs: number;
}

/** A request with the network that its secrets are for: whoever asks for a secret asks to speak. */
export function withNetwork<T extends Pick<RunRequest, 'network' | 'secrets'>>(request: T): T {
  return request.network === undefined && (request.secrets ?? []).length > 0 ? { ...request, network: { rules: [] } } : request;
}

/** Leases what a sandbox asks for, and makes the authority by which the gate reads its requests. All of it or nothing. @throws CaissonError SECRET_… */
export async function credentialsFor({ sandbox, request: { network, secrets = [] }, expiresMs }: Asked, rooms: Pick<Rooms, 'gate' | 'vault' | 'policy'>): Promise<Credentials> {
  if (network === undefined) return NO_CREDENTIALS;
  const leases = secrets.length === 0 ? [] : await rooms.vault.lease({ sandbox, secrets, expiresMs });
  const names = certified(effective(network, leases), rooms.policy.value.network);
  try {
    return { authority: names.length === 0 ? null : await rooms.gate.certify({ sandbox, names, expiresMs }), leases };
  } catch (error) {
    await releaseSecrets(sandbox, { leases }, rooms);
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

/** What commands find in their environment: the placeholders, and where the list of authorities is for programs that do not look where the system has it. */
export function credentialEnv({ authority, leases }: Credentials): Readonly<Record<string, string>> {
  return { ...(authority !== null && TRUST_ENV), ...Object.fromEntries(leases.flatMap((lease) => Object.entries(leaseEnv(lease)))) };
}

/** What a spec says of the network of a sandbox. */
export function speaks({ network }: Pick<RunRequest, 'network'>, { authority }: Credentials): { readonly network: boolean; readonly certificate?: string } {
  return { network: network !== undefined, ...(authority !== null && { certificate: authority.certificate }) };
}

/** Nothing is leased any more to a sandbox that has ended; what the vault cannot be told now ends with its time. */
export async function releaseSecrets(sandbox: string, { leases }: Pick<Credentials, 'leases'>, rooms: Pick<Rooms, 'vault'>): Promise<void> {
  if (leases.length > 0) await rooms.vault.release(sandbox).catch(() => undefined);
}
