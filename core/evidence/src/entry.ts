import { canonicalJson, type Entry, type Json } from '@caisson/contract';
import { MAX_ENTRY_BYTES } from '@caisson/tlog';
import { checkDraft, type Refused } from './draft.ts';

/** The last time that a Date can hold (ECMA-262 §21.4.1.1), so that every reader can show it. */
const MAX_TIME_MS = 8_640_000_000_000_000;

const NAMES = ['body', 'index', 'kind', 'source', 'subject', 'timeMs'];
const NAMES_THAT_MAY_BE = ['origin', 'sealed'];

/**
 * The text of an entry, whose bytes are the leaf of the log: canonical JSON, without a newline.
 *
 * @param bodyText the canonical text of the body, of whoever has it
 */
export function encodeEntry({ body, index, kind, origin, sealed, source, subject, timeMs }: Entry, bodyText = canonicalJson(body)): string {
  const rest = { index, kind, origin: origin && { ...origin }, sealed: sealed && { ...sealed }, source, subject, timeMs };
  return `{"body":${bodyText},${canonicalJson(rest).slice(1)}`;
}

/** Reads an entry strictly: only the bytes that `encodeEntry` gives for it are an entry. */
export function parseEntry(bytes: Buffer): Entry | Refused {
  if (bytes.length > MAX_ENTRY_BYTES) return { bad: `is longer than ${MAX_ENTRY_BYTES} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return { bad: 'is not JSON' };
  }
  if (!hasFields(value)) return { bad: `has other fields than ${NAMES.join(', ')}` };
  const { index, timeMs, sealed, ...rest } = value;
  if (!isCount(index, Number.MAX_SAFE_INTEGER)) return { bad: 'its index is not a count' };
  if (!isCount(timeMs, MAX_TIME_MS)) return { bad: 'its timeMs is not a time' };
  if (sealed !== undefined && !isSealed(sealed)) return { bad: 'its sealed is no sealed text' };
  const checked = checkDraft(rest);
  if ('bad' in checked) return { bad: `its ${checked.bad}` };
  const entry: Entry = { ...checked.draft, index, timeMs, ...(sealed === undefined ? {} : { sealed }) };
  return bytes.equals(Buffer.from(encodeEntry(entry, checked.bodyText))) ? entry : { bad: 'is not in canonical form' };
}

function hasFields(value: unknown): value is Record<string, Json> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const names = Object.keys(value);
  return NAMES.every((name) => names.includes(name)) && names.every((name) => NAMES.includes(name) || NAMES_THAT_MAY_BE.includes(name));
}

function isCount(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function isSealed(value: unknown): value is NonNullable<Entry['sealed']> {
  if (typeof value !== 'object' || value === null || !/^(digest,)?key,nonce,text$/.test(Object.keys(value).sort().join())) return false;
  return Object.entries(value).every(([name, field]) => typeof field === 'string' && (name === 'key' ? /^[A-Za-z0-9._-]{1,128}$/ : /^[A-Za-z0-9+/=]{1,65535}$/).test(field));
}
