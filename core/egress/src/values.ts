import type { Lease } from '@caisson/contract';
import type { HeldSecret } from './inject.ts';

/** The value of a secret that is leased to a sandbox, for one of its hosts. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE */
export type ValueOf = (asked: { readonly sandbox: string; readonly lease: Pick<Lease, 'id' | 'secret'>; readonly host: string }) => Promise<string>;

/** Leases with their values. The vault is asked for each host: which those are it knows itself, whatever control says. */
export function valuesOf(leases: readonly Lease[], sandbox: string, valueOf: ValueOf): Promise<readonly HeldSecret[]> {
  return Promise.all(leases.map(async (lease) => {
    const values = await Promise.all(lease.hosts.map((host) => valueOf({ sandbox, lease, host }))).catch(() => [null]);
    return { lease, value: values[0] ?? null };
  }));
}
