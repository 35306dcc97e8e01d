import { readFile } from 'node:fs/promises';
import { CaissonError, type Receipt, type StatePaths } from '@caisson/contract';
import { folderFetch, publishedKeys } from '@caisson/evidence';
import { cosignedAtMs, openCheckpoint, parseVerifierKey, SIGNATURE_TYPE, type PublicKey } from '@caisson/tlog';
import { witnessed, WITNESSED_FILE } from '@caisson/witness';

export interface AskedWitnesses {
  readonly keys: readonly PublicKey[];
  readonly quorum: number;
}

/** Reads `--witness` and `--quorum`; a string says what is wrong. */
export function askedWitnesses(texts: readonly string[], quorum: string | undefined): AskedWitnesses | string {
  const keys: PublicKey[] = [];
  for (const text of texts) {
    const key = parseVerifierKey(text);
    if (key?.type !== SIGNATURE_TYPE.cosignature) return `--witness ${text} is no verifier key of a witness`;
    keys.push(key);
  }
  const count = quorum === undefined ? keys.length : Number(quorum);
  if (!Number.isSafeInteger(count) || count < 1 || count > keys.length) return `--quorum ${quorum} is not between 1 and ${keys.length}`;
  return { keys, quorum: count };
}

/** A head that a log has to have had, because witnesses have signed it. */
export interface WitnessedHead {
  readonly head: Receipt;
  readonly by: readonly string[];
  /** Of the newest of these signatures, by the clock of its witness: milliseconds since 1970 UTC. */
  readonly timeMs: number;
}

/** The witnessed head that is kept with the log, or why it is none. @throws CaissonError STATE_DIR_INVALID when it cannot be read */
export async function witnessedHead(paths: StatePaths, { keys, quorum }: AskedWitnesses, logKeys: readonly PublicKey[] | undefined): Promise<WitnessedHead | { readonly bad: string }> {
  const path = `${paths.witness}/${WITNESSED_FILE}`;
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return null;
    throw new CaissonError('STATE_DIR_INVALID', { dir: paths.witness, detail: cause.message }, { cause });
  });
  if (bytes === null) return { bad: 'there is no head that witnesses have signed' };
  const checkpoint = openCheckpoint(bytes, { logKeys: logKeys ?? (await publishedKeys(folderFetch(paths.evidence))), witnesses: keys });
  if ('bad' in checkpoint) return { bad: `the head that is kept with signatures of witnesses ${checkpoint.bad}` };
  const found = witnessed(bytes, keys, quorum);
  if ('bad' in found || !found.enough) return { bad: `${'bad' in found ? 0 : found.by.length} of these witnesses have signed the head that is kept, and ${quorum} have to` };
  if (checkpoint.size === 0) return { bad: 'the head that they have signed is of an empty log' };
  return { head: { index: checkpoint.size - 1, hash: checkpoint.root.toString('hex') }, by: found.by, timeMs: Math.max(...checkpoint.note.signatures.filter(({ id }) => keys.some((key) => key.id === id)).map(cosignedAtMs)) };
}
