import { openCheckpoint, parseCheckpoint, parseNote, type Checkpoint, type Edge, type PublicKey, type Refusal } from '@caisson/tlog';

/** A head that none of the trusted keys has signed, and the log without what is proven by it alone. */
export interface Doubt {
  readonly edge: Edge;
  readonly bad: { readonly index: number; readonly reason: string };
}

/**
 * What a checkpoint says. Where none of the keys has a line in it nothing of it is proven: a key that they hand on to may have
 * signed it, and which that is the entries say.
 */
export function claimed(bytes: Buffer, keys: readonly PublicKey[]): Checkpoint | Refusal {
  const note = parseNote(bytes);
  if ('bad' in note) return note;
  const isOurs = note.signatures.some(({ name, id }) => keys.some((key) => key.name === name && key.id === id));
  return isOurs ? openCheckpoint(bytes, { logKeys: keys }) : parseCheckpoint(note.text);
}
