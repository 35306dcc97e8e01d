import type { SecretPlace } from '@caisson/contract';

export type RandomBytes = (size: number) => Buffer;

const SMALL = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
const LETTERS_AND_DIGITS = `${SMALL.toUpperCase()}${SMALL}${DIGITS}`;
const ID_LENGTH = 16;
/** 40 of 62 characters: 238 bits, so that nobody meets another's by trying. */
const PLACEHOLDER_LENGTH = 40;
const PLACEHOLDER_END = new RegExp(`^[A-Za-z0-9]{${PLACEHOLDER_LENGTH}}$`);
const DEFAULT_PREFIX = 'caisson-';
const CAPITALS_AND_DIGITS = `${SMALL.toUpperCase()}${DIGITS}`;
/** An access key id of AWS is 20 characters, of which 16 of 36 are drawn: 82 bits. It is good in the sandbox that it was drawn for, and nowhere else. */
const ACCESS_KEY_PREFIX = 'AKIA';
const ACCESS_KEY_LENGTH = 16;
const ACCESS_KEY_ID = /^AKIA[A-Z0-9]{16}$/;

export function newLeaseId(randomBytes: RandomBytes): string {
  return `lea-${draw(`${DIGITS}${SMALL}`, ID_LENGTH, randomBytes)}`;
}

/** What a placeholder has to look like. */
export interface Look {
  readonly at?: SecretPlace;
  readonly prefix?: string;
}

export function newPlaceholder(randomBytes: RandomBytes, { at, prefix = DEFAULT_PREFIX }: Look): string {
  if (at === 'sigv4') return `${ACCESS_KEY_PREFIX}${draw(CAPITALS_AND_DIGITS, ACCESS_KEY_LENGTH, randomBytes)}`;
  return `${prefix}${draw(LETTERS_AND_DIGITS, PLACEHOLDER_LENGTH, randomBytes)}`;
}

export function isPlaceholder(text: string, { at, prefix = DEFAULT_PREFIX }: Look): boolean {
  if (at === 'sigv4') return ACCESS_KEY_ID.test(text);
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
