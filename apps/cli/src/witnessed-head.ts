import { readFile } from 'node:fs/promises';
import { CaissonError, type Receipt } from '@caisson/contract';
import { cosignedAtMs, openNote, parseCheckpoint, parseVerifierKey, SIGNATURE_TYPE, type PublicKey } from '@caisson/tlog';
import { witnessed, WITNESSED_FILE } from '@caisson/witness';

export interface WitnessFlags {
  /** Verifier keys of witnesses: the head that they have signed has to be one of this log. */
  readonly witness?: readonly string[] | undefined;
  /** How many of them have to have signed it. Default all. */
  readonly quorum?: string | undefined;
  /** A checkpoint with their signatures. Default: the one that the feeder keeps beside the log. */
  readonly witnessed?: string | undefined;
}

export interface AskedWitnesses {
  readonly keys: readonly PublicKey[];
  readonly quorum: number;
  readonly path: string;
}

/** What is asked of witnesses of the log in `dir`; null: nothing. @throws CaissonError USAGE */
export function askedWitnesses({ witness = [], quorum, witnessed: file }: WitnessFlags, dir: string): AskedWitnesses | null {
  if (witness.length === 0) {
    if (quorum !== undefined || file !== undefined) throw usage('--quorum and --witnessed say something of --witness, which is not given');
    return null;
  }
  const keys = witness.map((text) => {
    const key = parseVerifierKey(text);
    if (key?.type !== SIGNATURE_TYPE.cosignature) throw usage(`--witness ${text} is no verifier key of a witness`);
    return key;
  });
  const count = quorum === undefined ? keys.length : Number(quorum);
  if (!Number.isSafeInteger(count) || count < 1 || count > keys.length) throw usage(`--quorum ${quorum} is not between 1 and ${keys.length}`);
  return { keys, quorum: count, path: file ?? `${dir}/witness/${WITNESSED_FILE}` };
}

function usage(detail: string): CaissonError {
  return new CaissonError('USAGE', { detail });
}

/** A head that a log has to have had, because witnesses have signed it. */
export interface WitnessedHead {
  readonly head: Receipt;
  readonly by: readonly string[];
  /** Of the newest of these signatures, by the clock of its witness: milliseconds since 1970 UTC. */
  readonly timeMs: number;
}

/**
 * The witnessed head that is kept, or why it is none. Which key of the log has signed it does not count: it may be one that was
 * replaced since. That the log holds it is for whoever verifies the log to say.
 *
 * @throws CaissonError STATE_DIR_INVALID when it cannot be read
 */
export async function witnessedHead({ keys, quorum, path }: AskedWitnesses, logKeys: readonly PublicKey[]): Promise<WitnessedHead | { readonly bad: string }> {
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return null;
    throw new CaissonError('STATE_DIR_INVALID', { dir: path, detail: cause.message }, { cause });
  });
  if (bytes === null) return { bad: 'there is no head that witnesses have signed' };
  const note = openNote(bytes, [...keys, ...logKeys]);
  const checkpoint = 'bad' in note ? note : parseCheckpoint(note.text);
  if ('bad' in note || 'bad' in checkpoint) return { bad: `the head that is kept with signatures of witnesses ${'bad' in checkpoint ? checkpoint.bad : ''}` };
  if (!logKeys.some(({ name }) => name === checkpoint.origin)) return { bad: `the head that is kept with signatures of witnesses is of the log ${checkpoint.origin}` };
  const found = witnessed(bytes, keys, quorum);
  if ('bad' in found || !found.enough) return { bad: `${'bad' in found ? 0 : found.by.length} of these witnesses have signed the head that is kept, and ${quorum} have to` };
  if (checkpoint.size === 0) return { bad: 'the head that they have signed is of an empty log' };
  return { head: { index: checkpoint.size - 1, hash: checkpoint.root.toString('hex') }, by: found.by, timeMs: Math.max(...note.signatures.filter(({ id }) => keys.some((key) => key.id === id)).map(cosignedAtMs)) };
}
