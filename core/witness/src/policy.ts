import { openNote, SIGNATURE_TYPE, type PublicKey, type Refusal } from '@caisson/tlog';

export interface Quorum {
  /** Names of the witnesses whose cosignature is good. */
  readonly by: readonly string[];
  readonly enough: boolean;
}

/**
 * Whether as many witnesses as `quorum` have cosigned the checkpoint. A key counts once, whatever names it goes by, because
 * the signature does not hold the name (C2SP tlog-cosignature, Ed25519 signed message). That the log has signed it is for
 * `openCheckpoint` to say.
 *
 * @param checkpoint a signed note, byte for byte
 * @param quorum 0: none is needed
 * @throws RangeError for a quorum that is no count, and a key that is not of a witness
 */
export function witnessed(checkpoint: Buffer, witnesses: readonly PublicKey[], quorum: number): Quorum | Refusal {
  if (!Number.isSafeInteger(quorum) || quorum < 0) throw new RangeError(`a quorum of ${quorum}`);
  const other = witnesses.find(({ type }) => type !== SIGNATURE_TYPE.cosignature);
  if (other !== undefined) throw new RangeError(`${other.name} is no key of a witness`);
  const note = openNote(checkpoint, witnesses);
  if ('bad' in note) return quorum === 0 ? { by: [], enough: true } : note;
  const signers = new Map(note.signers.map(({ key, name }) => [key.toString('hex'), name]));
  return { by: [...signers.values()], enough: signers.size >= quorum };
}
