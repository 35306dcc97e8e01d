import { verifies, type PublicKey, type Signer, SIGNATURE_TYPE } from './key.ts';

/** Bounds of what is read as a note. */
const MAX_NOTE_BYTES = 1024 * 1024;
const MAX_SIGNATURES = 100;
const BULLET = '\u2014 ';

/** One signature line: — NAME BASE64(id ‖ signature). */
export interface NoteSignature {
  readonly name: string;
  /** 8 hex digits. */
  readonly id: string;
  readonly bytes: Buffer;
}

/** A text with signature lines after it (C2SP signed-note). Nothing of it is proven. */
export interface Note {
  /** Ends in a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface Refusal {
  readonly bad: string;
}

export function formatNote({ text, signatures }: Note): string {
  return `${text}\n${signatures.map(formatSignature).join('')}`;
}

export function formatSignature({ name, id, bytes }: NoteSignature): string {
  return `${BULLET}${name} ${Buffer.concat([Buffer.from(id, 'hex'), bytes]).toString('base64')}\n`;
}

/** Reads the form strictly: only what `formatNote` gives is a note. */
export function parseNote(bytes: Buffer): Note | Refusal {
  if (bytes.length > MAX_NOTE_BYTES) return { bad: `is longer than ${MAX_NOTE_BYTES} bytes` };
  const whole = bytes.toString('utf8');
  if (!Buffer.from(whole).equals(bytes)) return { bad: 'is not UTF-8' };
  if (hasControl(whole)) return { bad: 'holds a control character' };
  const split = whole.lastIndexOf('\n\n');
  if (split === -1 || !whole.endsWith('\n')) return { bad: 'has no signatures after an empty line' };
  const lines = whole.slice(split + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) return { bad: `has more than ${MAX_SIGNATURES} signatures` };
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignature(line);
    if (signature === null) return { bad: 'has a line that is no signature' };
    signatures.push(signature);
  }
  return { text: whole.slice(0, split + 1), signatures };
}

/** Control characters below a space but newline, which a note must not hold. */
function hasControl(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /[\u0000-\u0009\u000b-\u001f]/.test(text);
}

/** One signature line without its newline; null: it is none. */
export function parseSignature(line: string): NoteSignature | null {
  const [, name, data] = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line) ?? [];
  if (name === undefined || data === undefined) return null;
  const bytes = Buffer.from(data, 'base64');
  if (bytes.length < 5 || bytes.toString('base64') !== data) return null;
  return { name, id: bytes.subarray(0, 4).toString('hex'), bytes: bytes.subarray(4) };
}

/** Signs the text by each signer, in order. @throws RangeError for a text that cannot be that of a note. */
export async function signNote(text: string, signers: readonly Signer[]): Promise<string> {
  if (!text.endsWith('\n') || hasControl(text) || !text.isWellFormed()) throw new RangeError('a text that cannot be signed as a note');
  const signatures: NoteSignature[] = [];
  for (const { publicKey, sign } of signers) {
    if (publicKey.type !== SIGNATURE_TYPE.ed25519) throw new RangeError(`${publicKey.name} signs no notes`);
    signatures.push({ name: publicKey.name, id: publicKey.id, bytes: await sign(Buffer.from(text)) });
  }
  return formatNote({ text, signatures });
}

/** A note of which a trusted key has signed the text. */
export interface OpenNote extends Note {
  /** Names of keys whose signature is good. */
  readonly signers: readonly PublicKey[];
}

/** What a cosignature is over is another message than the text (C2SP tlog-cosignature, Ed25519 signed message). */
type MessageOf = (text: string, signature: Buffer) => { readonly message: Buffer; readonly signature: Buffer } | null;

const MESSAGES: Readonly<Record<number, MessageOf>> = {
  [SIGNATURE_TYPE.ed25519]: (text, signature) => ({ message: Buffer.from(text), signature }),
  [SIGNATURE_TYPE.cosignature]: (text, signature) => {
    if (signature.length !== 72) return null;
    return { message: cosignedMessage(text, signature.readBigUInt64BE(0)), signature: signature.subarray(8) };
  },
};

/** @param timeS POSIX time, in seconds. */
export function cosignedMessage(text: string, timeS: bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${timeS}\n${text}`);
}

/**
 * Opens a note for who trusts these keys: signatures of other keys are passed over, one of a trusted key that does not
 * verify refuses the whole note, and at least one has to verify (C2SP signed-note, Signatures).
 */
export function openNote(bytes: Buffer, trusted: readonly PublicKey[]): OpenNote | Refusal {
  const note = parseNote(bytes);
  if ('bad' in note) return note;
  const signers = new Map<string, PublicKey>();
  for (const { name, id, bytes: signature } of note.signatures) {
    const key = trusted.find((known) => known.name === name && known.id === id);
    if (key === undefined || signers.has(`${name}+${id}`)) continue;
    const signed = MESSAGES[key.type]?.(note.text, signature) ?? null;
    if (signed === null || !verifies(key, signed.message, signed.signature)) return { bad: `has a signature of ${name} that is not of its key` };
    signers.set(`${name}+${id}`, key);
  }
  if (signers.size === 0) return { bad: 'has no signature of a key that is trusted' };
  return { ...note, signers: [...signers.values()] };
}
