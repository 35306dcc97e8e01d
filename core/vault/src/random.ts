export type RandomBytes = (size: number) => Buffer;

const SMALL = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
const LETTERS_AND_DIGITS = `${SMALL.toUpperCase()}${SMALL}${DIGITS}`;
const ID_LENGTH = 16;
/** 40 of 62 characters: 238 bits, so that nobody meets another's by trying. */
const PLACEHOLDER_LENGTH = 40;
const PLACEHOLDER_END = new RegExp(`^[A-Za-z0-9]{${PLACEHOLDER_LENGTH}}$`);
const DEFAULT_PREFIX = 'caisson-';

export function newLeaseId(randomBytes: RandomBytes): string {
  return `lea-${draw(`${DIGITS}${SMALL}`, ID_LENGTH, randomBytes)}`;
}

export function newPlaceholder(randomBytes: RandomBytes, prefix: string = DEFAULT_PREFIX): string {
  return `${prefix}${draw(LETTERS_AND_DIGITS, PLACEHOLDER_LENGTH, randomBytes)}`;
}

export function isPlaceholder(text: string, prefix: string = DEFAULT_PREFIX): boolean {
  return text.startsWith(prefix) && PLACEHOLDER_END.test(text.slice(prefix.length));
}

/** Every character is as likely as any other: bytes beyond the last whole round of the alphabet are drawn again. */
function draw(alphabet: string, length: number, randomBytes: RandomBytes): string {
  const end = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) if (byte < end && text.length < length) text += alphabet[byte % alphabet.length];
  }
  return text;
}
