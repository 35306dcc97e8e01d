import type { Lease, LeaseTerms } from '@caisson/contract';
import { credentialsOf } from './aws-keys.ts';
import type { HeldSecret } from './inject.ts';

/** The value of a secret that is leased to a sandbox, for one of its hosts, on the terms of the lease. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE */
export type ValueOf = (asked: { readonly sandbox: string; readonly lease: Pick<Lease, 'id' | 'secret'> & LeaseTerms; readonly host: string }) => Promise<string>;

/** Leases with their values. The vault is asked for each host: which those are it knows itself, and how the value may stand there, whatever control says. */
export function valuesOf(leases: readonly Lease[], sandbox: string, valueOf: ValueOf): Promise<readonly HeldSecret[]> {
  return Promise.all(leases.map(async (lease) => {
    const values = await Promise.all(lease.hosts.map((host) => valueOf({ sandbox, lease, host }))).catch(() => [null]);
    return { lease, value: values[0] ?? null };
  }));
}

/** Pause before the vault is asked again for a secret that it did not give; and for one that is over soon, which it has looked up anew by then. */
const ASK_AGAIN_MS = 1_000;
const RENEW_MS = 60_000;
const RENEW_AGAIN_MS = 5_000;

/** In how many milliseconds the values of leases are to be asked for again; Infinity: never. */
export function askAgainInMs(held: readonly HeldSecret[], wallMs: number): number {
  return Math.min(...held.map(({ lease, value }) => {
    if (value === null) return ASK_AGAIN_MS;
    const expiresMs = lease.at === 'sigv4' ? credentialsOf(value)?.expiresMs ?? null : null;
    return expiresMs === null ? Infinity : Math.max(RENEW_AGAIN_MS, expiresMs - RENEW_MS - wallMs);
  }));
}
