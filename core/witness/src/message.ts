import { HASH_BYTES, type Refusal } from '@caisson/tlog';

/** Most hashes of a proof (C2SP tlog-witness, add-checkpoint). */
const MAX_PROOF_LINES = 63;

/** The type of an answer that says which size the witness has (C2SP tlog-witness, add-checkpoint). */
export const SIZE_TYPE = 'text/x.tlog.size';

/** Longest body that is read of a request, and of an answer to one, in bytes: a checkpoint with every proof line takes about 4 KiB. */
export const MAX_BODY_BYTES = 64 * 1024;

/** What asks for a cosignature (C2SP tlog-witness, add-checkpoint). */
export interface AddCheckpoint {
  /** Size of the head that the witness has signed last; 0: none. */
  readonly old: number;
  /** That the tree of `old` begins the one of the checkpoint. */
  readonly proof: readonly Buffer[];
  /** A signed note, byte for byte. */
  readonly checkpoint: Buffer;
}

export function formatRequest({ old, proof, checkpoint }: AddCheckpoint): Buffer {
  const lines = [`old ${old}`, ...proof.map((hash) => hash.toString('base64'))];
  return Buffer.concat([Buffer.from(`${lines.join('\n')}\n\n`), checkpoint]);
}

/** Reads a request strictly: only what `formatRequest` gives is one. Sizes beyond 2^53 - 1 are refused. */
export function parseRequest(body: Buffer): AddCheckpoint | Refusal {
  const end = body.indexOf('\n\n');
  if (end === -1) return { bad: 'there is no empty line before a checkpoint' };
  const [first = '', ...lines] = body.toString('latin1', 0, end).split('\n');
  const old = parseSize(/^old ([0-9]+)$/.exec(first)?.[1] ?? '');
  if (old === null) return { bad: 'the first line is not old and a size' };
  if (lines.length > MAX_PROOF_LINES) return { bad: `the proof has more than ${MAX_PROOF_LINES} lines` };
  const proof = lines.map(parseHash);
  if (!proof.every((hash) => hash !== null)) return { bad: 'a line of the proof is not a hash' };
  return { old, proof, checkpoint: body.subarray(end + 2) };
}

/** A decimal without leading zeroes; null: it is none that can be counted exactly. */
export function parseSize(text: string): number | null {
  return /^(0|[1-9][0-9]*)$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : null;
}

function parseHash(line: string): Buffer | null {
  const hash = Buffer.from(line, 'base64');
  return hash.length === HASH_BYTES && hash.toString('base64') === line ? hash : null;
}
