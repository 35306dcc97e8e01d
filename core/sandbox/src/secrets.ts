import { CaissonError, problemOf, SECRETS_FOLDER, type FileLease, type SandboxInfo, type SecretInfo } from '@caisson/contract';
import type { Box } from './box.ts';
import { admit } from './create.ts';
import { isThere, secretNames } from './credentials.ts';
import { noteOf } from './note.ts';
import { lifecycle } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';

/**
 * Takes a secret from a sandbox: on record → the vault gives it no more → the gate replaces its placeholder no more, and cuts
 * the connections that it went out on, or its file is gone → noted. The hosts that could be reached by it alone cannot be any more. Where the gate
 * cannot be told, it is asked for again; the vault has forgotten the secret by then, so that no gate gets it anew.
 *
 * @throws CaissonError LEASE_NOT_FOUND, SANDBOX_STATE, NETWORK_UNAVAILABLE, DAEMON_UNREACHABLE
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
  if (!secretNames(box.credentials).includes(secret)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret });
  await rooms.evidence.append(lifecycle(sandbox, 'secret-revoked', { caller, secret }));
  const before = box.credentials;
  const file = fileOf(box, secret);
  // Of a file at once: a start that comes now is not to write it, and its end does not wait for a vault that is slow to answer.
  if (file !== undefined) box.credentials = without(before, secret);
  const forgotten = rooms.vault.revoke(sandbox, secret).catch(() => undefined);
  try {
    if (file === undefined) {
      await forgotten;
      box.credentials = without(before, secret);
      await admitAgain(box, rooms);
    } else {
      await dropFile(box, file, rooms);
    }
  } catch (error) {
    box.credentials = before;
    throw error;
  }
  await rooms.keeper.note(box.machine, noteOf(box)); // before a vault that is slow is waited for: the next control is not to lease it anew
  await forgotten;
  return box.info();
}

function without(credentials: Box['credentials'], secret: string): Box['credentials'] {
  const { leases, files = [] } = credentials;
  return { ...credentials, leases: leases.filter((lease) => lease.secret !== secret), files: files.filter((lease) => lease.secret !== secret) };
}

function fileOf({ credentials: { files = [] } }: Box, secret: string): FileLease | undefined {
  return files.find((lease) => lease.secret === secret);
}

/** A machine that the launcher does not know has no files. */
async function dropFile(box: Box, { id }: FileLease, rooms: StayRooms): Promise<void> {
  await rooms.keeper.dropSecret(box.machine, id).catch((error: unknown) => {
    if (problemOf(error).code !== 'SANDBOX_NOT_FOUND') throw error;
  });
}

/**
 * Takes the value of a secret anew from where it comes, and hands it to the gate, or has the launcher write its file anew, for every
 * sandbox that has it. A file that cannot be written is told when all others are.
 *
 * @returns ids of those sandboxes
 * @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE
 */
export async function rotateSecret(boxes: readonly Box[], { secret, caller }: { readonly secret: string; readonly caller: string }, rooms: StayRooms): Promise<readonly string[]> {
  await rooms.evidence.append(lifecycle(`secret ${secret}`, 'secret-rotated', { caller }));
  await rooms.vault.rotate(secret);
  const having = boxes.filter((box) => !box.over && secretNames(box.credentials).includes(secret));
  const renewals = await Promise.all(having.map((box) => renew(box, secret, rooms)));
  const failed = renewals.find((renewal) => renewal instanceof CaissonError);
  if (failed instanceof CaissonError) throw failed;
  return having.filter((_, index) => renewals[index] === true).map(({ facts: { id } }) => id);
}

/** Whether it has the secret by now; a reason where it has the old one. */
async function renew(box: Box, secret: string, rooms: StayRooms): Promise<boolean | CaissonError> {
  const file = fileOf(box, secret);
  if (file === undefined) return admitAgain(box, rooms).then(() => true, () => true); // a gate that cannot be told now asks for the value when it is
  return rooms.keeper.renewSecret(box.machine, file.id).then(() => true, (error: unknown) => {
    const problem = problemOf(error);
    return problem.code === 'LEASE_NOT_FOUND' || problem.code === 'SANDBOX_NOT_FOUND' ? false : CaissonError.from(problem); // revoked, over or ended meanwhile
  });
}

async function admitAgain(box: Box, rooms: StayRooms): Promise<void> {
  if (box.address !== null) await admit(box, { address: box.address }, rooms);
}

/** The secrets that a sandbox may use now: how often each went with a request, or was read for it by the launcher. */
export async function secretsIn(box: Box, rooms: StayRooms): Promise<readonly SecretInfo[]> {
  const { id: sandbox } = box.facts;
  const { leases, files = [] } = box.credentials;
  const there = isThere(rooms.wallMs());
  const sent = leases.some(there) ? ((await rooms.gate.state(sandbox))?.secrets ?? []) : [];
  const read = files.some(there) ? await rooms.vault.list(sandbox) : [];
  const info = ({ secret, expiresMs }: Pick<FileLease, 'secret' | 'expiresMs'>, file: string | null, use: { readonly uses: number; readonly lastMs: number | null } | undefined): SecretInfo =>
    ({ secret, file, uses: use?.uses ?? 0, lastMs: use?.lastMs ?? null, expiresMs });
  return [
    ...leases.filter(there).map((lease) => info(lease, null, sent.find(({ secret }) => secret === lease.secret))),
    ...files.filter(there).map((lease) => info(lease, `${SECRETS_FOLDER}/${lease.file}`, read.find((use) => use.lease.id === lease.id))),
  ];
}
