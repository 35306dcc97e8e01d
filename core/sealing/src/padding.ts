/** Smallest and largest size that a text is padded to; each class between them is twice the one below. */
const SMALLEST_BYTES = 256;
const LARGEST_BYTES = 32 * 1024;
const LENGTH_BYTES = 4;

/** Longest text that can be sealed, in bytes. With cipher, base64 and names it takes less than 44 KiB of an entry. */
export const MAX_TEXT_BYTES = LARGEST_BYTES - LENGTH_BYTES;

/**
 * The length of the text, the text, and zeros up to its size class: what is sealed shows one of eight sizes
 * and nothing else of its length. Null: the text is longer than MAX_TEXT_BYTES.
 */
export function pad(text: Buffer): Buffer | null {
  const needed = text.length + LENGTH_BYTES;
  if (needed > LARGEST_BYTES) return null;
  const padded = Buffer.alloc(Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(needed))));
  padded.writeUInt32BE(text.length, 0);
  text.copy(padded, LENGTH_BYTES);
  return padded;
}

/** The text that was padded; null for anything that `pad` does not give. */
export function unpad(padded: Buffer): Buffer | null {
  if (padded.length < SMALLEST_BYTES) return null;
  const end = padded.readUInt32BE(0) + LENGTH_BYTES;
  if (end > padded.length) return null;
  const text = padded.subarray(LENGTH_BYTES, end);
  return pad(text)?.equals(padded) === true ? text : null;
}
