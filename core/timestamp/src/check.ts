import { hash } from 'node:crypto';
import type { HashName } from './algorithms.ts';
import { chainFault, nameOf, signerFault, type Trust } from './certificate.ts';
import { countOf, DerError, fail, fieldsOf, itemsOf, readDer, TAG, type Der } from './der.ts';
import { readToken, type Token } from './token.ts';

/** What a time-stamp that holds says: the data was there at that time. */
export interface TimeStamp {
  /** When it was made, by the clock of the authority, in milliseconds since 1970 UTC. */
  readonly timeMs: number;
  /** How far that may be off, in milliseconds; null: the authority does not say. */
  readonly accuracyMs: number | null;
  /** Subject of the certificate by which it is signed. */
  readonly authority: string;
  /** Object identifier of the policy under which it was made. */
  readonly policy: string;
  /** Number that the authority gave to it, in hexadecimal. */
  readonly serial: string;
}

export interface Expected {
  /** What is stamped, byte for byte. */
  readonly data: Buffer;
  readonly trust: Trust;
  /** Its digest. Default: any of SHA-256, SHA-384 and SHA-512. */
  readonly hash?: HashName | undefined;
  /** What was asked with it: content of the INTEGER. Default: none is looked for. */
  readonly nonce?: Buffer | undefined;
  /** Default: any. */
  readonly policy?: string | undefined;
}

/** Why there is no time-stamp: the authority `refused` to make one, or what it sent is `bad`. */
export type NoTimeStamp = { readonly refused: string } | { readonly bad: string };

/**
 * Checks an answer of a time-stamping authority (RFC 3161 §2.4.2): it has granted a token, over this data, for this question, under
 * this policy, by a certificate that is for time-stamping alone and led to one that is trusted when the token was made. Whether a
 * certificate was revoked is not looked at. Never throws, whatever the bytes are.
 */
export function checkTimeStamp(answer: Buffer, expected: Expected): TimeStamp | NoTimeStamp {
  try {
    const token = tokenIn(readDer(answer));
    return 'refused' in token ? token : judged(readToken(token), expected);
  } catch (error) {
    if (error instanceof DerError) return { bad: error.message };
    return { bad: `cannot be checked: ${(error as Error).message}` };
  }
}

const GRANTED: readonly number[] = [0, 1];
/** PKIFailureInfo by its bits. */
const FAILURES: Readonly<Record<number, string>> = {
  0: 'it does not know the algorithm', 2: 'it does not take such a request', 5: 'it cannot read the request', 14: 'its source of time is not there',
  15: 'it does not have the policy', 16: 'it does not know an extension', 17: 'it has not what it needs', 25: 'its system fails',
};
const MAX_TEXT_CHARS = 200;

function tokenIn(response: Der): Der | { readonly refused: string } {
  const fields = fieldsOf(response, TAG.sequence, 'the answer');
  const status = fieldsOf(fields.next(TAG.sequence, 'status'), TAG.sequence, 'the status');
  const number = countOf(status.next(TAG.integer, 'number'), 'the status');
  const words = status.maybe(TAG.sequence);
  const failure = status.maybe(TAG.bits);
  status.end();
  if (!GRANTED.includes(number)) return { refused: [`status ${number}`, ...failuresOf(failure), ...wordsOf(words)].join(': ') };
  const token = fields.next(TAG.sequence, 'token');
  fields.end();
  return token;
}

function failuresOf(bits: Der | null): readonly string[] {
  if (bits === null) return [];
  return Object.keys(FAILURES).map(Number).filter((bit) => ((bits.content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0).map((bit) => FAILURES[bit] as string);
}

function wordsOf(words: Der | null): readonly string[] {
  const text = words === null ? '' : itemsOf(words, TAG.sequence, 'the words of the answer').map(({ content }) => content.toString('utf8')).join(' ');
  return text === '' ? [] : [text.slice(0, MAX_TEXT_CHARS).toWellFormed()];
}

function judged(token: Token, { data, trust, hash: wanted, nonce, policy }: Expected): TimeStamp {
  const { imprint, signer, timeMs } = token;
  if (wanted !== undefined && imprint.hash !== wanted) fail(`it is over a digest of ${imprint.hash}, and ${wanted} was asked for`);
  if (!imprint.digest.equals(hash(imprint.hash, data, 'buffer'))) fail('it is over other data');
  if (nonce !== undefined && token.nonce?.equals(nonce) !== true) fail('it is the answer to another question: its nonce is not the one that was sent');
  if (policy !== undefined && token.policy !== policy) fail(`it was made under the policy ${token.policy}, and ${policy} was asked for`);
  const fault = signerFault(signer) ?? chainFault(signer, { anchors: trust.anchors, others: [...token.certificates, ...trust.others], atMs: timeMs });
  if (fault !== null) fail(fault);
  return { timeMs, accuracyMs: token.accuracyMs, authority: nameOf(signer), policy: token.policy, serial: token.serial.toString('hex') };
}
