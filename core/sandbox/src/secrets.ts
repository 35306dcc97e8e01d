import { CaissonError, type SandboxInfo } from '@caisson/contract';
import type { Box } from './box.ts';
import { admit } from './create.ts';
import { noteOf } from './note.ts';
import { lifecycle } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';

/**
 * Takes a secret from a sandbox: on record → the vault gives it no more → the gate replaces its placeholder no more, and cuts
 * the connections that it went out on → noted. The hosts that could be reached by it alone cannot be any more. Where the gate
 * cannot be told, it is asked for again; the vault has forgotten the secret by then, so that no gate gets it anew.
 *
 * @throws CaissonError LEASE_NOT_FOUND, SANDBOX_STATE, NETWORK_UNAVAILABLE
 */
export function revokeSecret(box: Box, revocation: Revocation, rooms: StayRooms): Promise<SandboxInfo> {
  return box.inTurn(() => revoke(box, revocation, rooms));
}

interface Revocation {
  readonly secret: string;
  readonly caller: string;
}

async function revoke(box: Box, { secret, caller }: Revocation, rooms: StayRooms): Promise<SandboxInfo> {
  const { id: sandbox } = box.facts;
  const { leases } = box.credentials;
  if (!leases.some((lease) => lease.secret === secret)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret });
  await rooms.evidence.append(lifecycle(sandbox, 'secret-revoked', { caller, secret }));
  await rooms.vault.revoke(sandbox, secret).catch(() => undefined);
  const before = box.credentials;
  box.credentials = { ...before, leases: before.leases.filter((lease) => lease.secret !== secret) };
  try {
    await admitAgain(box, rooms);
  } catch (error) {
    box.credentials = before;
    throw error;
  }
  await rooms.keeper.note(box.machine, noteOf(box));
  return box.info();
}

/**
 * Takes the value of a secret anew from where it comes, and hands it to the gate for every sandbox that has it.
 *
 * @returns ids of those sandboxes
 * @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE
 */
export async function rotateSecret(boxes: readonly Box[], { secret, caller }: { readonly secret: string; readonly caller: string }, rooms: StayRooms): Promise<readonly string[]> {
  await rooms.evidence.append(lifecycle(`secret ${secret}`, 'secret-rotated', { caller }));
  await rooms.vault.rotate(secret);
  const having = boxes.filter((box) => !box.over && box.credentials.leases.some((lease) => lease.secret === secret));
  await Promise.allSettled(having.map((box) => admitAgain(box, rooms))); // a gate that cannot be told now asks for the value when it is
  return having.map(({ facts: { id } }) => id);
}

async function admitAgain(box: Box, rooms: StayRooms): Promise<void> {
  if (box.address !== null) await admit(box, { address: box.address }, rooms);
}
