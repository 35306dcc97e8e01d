import { HASH_BYTES } from './hash.ts';
import { openNote, type OpenNote, type Refusal } from './note.ts';
import type { PublicKey } from './key.ts';
import { cosignedMessage, type NoteSignature } from './note.ts';
import type { Signer } from './key.ts';

/** Head of a log at one size (C2SP tlog-checkpoint, Note text). */
export interface Checkpoint {
  /** Names the log. */
  readonly origin: string;
  readonly size: number;
  /** 32 bytes. */
  readonly root: Buffer;
  /** Further lines, not empty. Default none. */
  readonly extensions?: readonly string[];
}

/** The text that is signed. */
export function formatCheckpoint({ origin, size, root, extensions = [] }: Checkpoint): string {
  return [origin, String(size), root.toString('base64'), ...extensions].map((line) => `${line}\n`).join('');
}

/** Reads the text of a checkpoint strictly. */
export function parseCheckpoint(text: string): Checkpoint | Refusal {
  if (!text.endsWith('\n')) return { bad: 'its text does not end in a newline' };
  const [origin = '', sizeText = '', rootText = '', ...extensions] = text.slice(0, -1).split('\n');
  if (origin === '') return { bad: 'it has no origin' };
  const size = Number(sizeText);
  if (!/^(0|[1-9][0-9]*)$/.test(sizeText) || !Number.isSafeInteger(size)) return { bad: 'its size is not a count' };
  const root = Buffer.from(rootText, 'base64');
  if (root.length !== HASH_BYTES || root.toString('base64') !== rootText) return { bad: 'its root is not a hash' };
  if (extensions.includes('')) return { bad: 'it has an empty line' };
  return { origin, size, root, ...(extensions.length === 0 ? {} : { extensions }) };
}

/** A checkpoint that a trusted key has signed, with who did. */
export interface SignedCheckpoint extends Checkpoint {
  readonly note: OpenNote;
}

/**
 * Opens a checkpoint: one of `logKeys` has to have signed it, cosignatures of `witnesses` are checked where they are there.
 * The name of a log's key is the origin (C2SP tlog-checkpoint, Signatures).
 */
export function openCheckpoint(bytes: Buffer, { logKeys, witnesses = [] }: { readonly logKeys: readonly PublicKey[]; readonly witnesses?: readonly PublicKey[] }): SignedCheckpoint | Refusal {
  const note = openNote(bytes, [...logKeys, ...witnesses]);
  if ('bad' in note) return note;
  if (!note.signers.some((signer) => logKeys.includes(signer))) return { bad: 'has no signature of the log' };
  const checkpoint = parseCheckpoint(note.text);
  if ('bad' in checkpoint) return checkpoint;
  return { ...checkpoint, note };
}

/**
 * A witness's line for the text of a checkpoint: that it is the largest consistent one it has seen at that time.
 *
 * @param timeMs milliseconds since 1970 UTC; a cosignature holds whole seconds (C2SP tlog-cosignature, Format).
 */
export async function cosign(text: string, { publicKey, sign }: Signer, timeMs: number): Promise<NoteSignature> {
  const timeS = BigInt(Math.floor(timeMs / 1000));
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(timeS);
  return { name: publicKey.name, id: publicKey.id, bytes: Buffer.concat([time, await sign(cosignedMessage(text, timeS))]) };
}

/** When a cosignature says that it was made, in milliseconds since 1970 UTC. */
export function cosignedAtMs({ bytes }: NoteSignature): number {
  return Number(bytes.readBigUInt64BE(0)) * 1000;
}
