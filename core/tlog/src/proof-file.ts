import { HASH_BYTES } from './hash.ts';
import type { Refusal } from './note.ts';

const HEADER = 'c2sp.org/tlog-proof@v1';
/** A tree of 2^53 entries has proofs of 53 hashes. */
const MAX_HASHES = 63;

/** Proof that can be checked without the log (C2SP tlog-proof). */
export interface ProofFile {
  readonly index: number;
  readonly hashes: readonly Buffer[];
  /** The signed checkpoint, as it is. */
  readonly checkpoint: string;
  /** What the proof does not prove on its own. Here: the entry. */
  readonly extra?: Buffer;
}

export function formatProof({ index, hashes, checkpoint, extra }: ProofFile): string {
  const lines = [HEADER, ...(extra === undefined ? [] : [`extra ${extra.toString('base64')}`]), `index ${index}`, ...hashes.map((hash) => hash.toString('base64'))];
  return `${lines.join('\n')}\n\n${checkpoint}`;
}

/** Reads a proof strictly. */
export function parseProof(text: string): ProofFile | Refusal {
  const end = text.indexOf('\n\n');
  if (end === -1) return { bad: 'has no checkpoint after an empty line' };
  const [header, ...rest] = text.slice(0, end).split('\n');
  if (header !== HEADER) return { bad: `does not start with ${HEADER}` };
  const extra = rest[0]?.startsWith('extra ') === true ? fromBase64(rest.shift()?.slice(6) ?? '') : undefined;
  if (extra === null) return { bad: 'its extra data is not base64' };
  const [, indexText] = /^index (0|[1-9][0-9]*)$/.exec(rest.shift() ?? '') ?? [];
  const index = Number(indexText);
  if (!Number.isSafeInteger(index)) return { bad: 'its index is not a count' };
  const hashes = rest.map(fromBase64);
  if (hashes.length > MAX_HASHES || !hashes.every((hash) => hash?.length === HASH_BYTES)) return { bad: 'a line of it is not a hash' };
  return { index, hashes: hashes as Buffer[], checkpoint: text.slice(end + 2), ...(extra === undefined ? {} : { extra }) };
}

function fromBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}
