import { createHash } from 'node:crypto';
import { canonicalJson, type Entry, type Receipt } from '@caisson/contract';
import { checkDraft, type Refused } from './draft.ts';

/** What the first entry has as `prev`. */
export const GENESIS = '0'.repeat(64);

/** Longest line, in bytes without its newline: the longest body at three bytes a character, and room for the rest. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** The last time that a Date can hold (ECMA-262 §21.4.1.1), so that every reader can show it. */
const MAX_TIME_MS = 8_640_000_000_000_000;

/** Keeps these hashes apart from every other use of SHA-256 in Caisson. */
const DOMAIN = 'caisson-evidence-v1\n';

/** One line of the log: an entry, chained to the line before it. */
export interface Line {
  readonly entry: Entry;
  /** SHA-256 over the domain, `prev`, a newline and the canonical text of the entry; hex. */
  readonly hash: string;
  /** The hash of the line before; 64 zeros in the first. */
  readonly prev: string;
}

/**
 * Chains an entry to `prev`. The text has no newline.
 *
 * @param bodyText the canonical text of the body, of whoever has it
 */
export function encodeLine(entry: Entry, prev: string, bodyText = canonicalJson(entry.body)): { readonly line: Line; readonly text: string } {
  const { index, kind, source, subject, timeMs } = entry;
  const canonical = `{"body":${bodyText},${canonicalJson({ index, kind, source, subject, timeMs }).slice(1)}`;
  const hash = hashOf(prev, canonical);
  return { line: { entry, hash, prev }, text: lineText(canonical, hash, prev) };
}

function lineText(canonical: string, hash: string, prev: string): string {
  return `{"entry":${canonical},"hash":"${hash}","prev":"${prev}"}`;
}

function hashOf(prev: string, canonical: string): string {
  return createHash('sha256').update(`${DOMAIN}${prev}\n${canonical}`).digest('hex');
}

/** Reads one line strictly: only the bytes that `encodeLine` gives for the same entry are a line. */
export function parseLine(bytes: Buffer): Line | Refused {
  let record: unknown;
  try {
    record = JSON.parse(bytes.toString('utf8'));
  } catch {
    return { bad: 'is not JSON' };
  }
  if (!hasFields(record, ['entry', 'hash', 'prev'])) return { bad: 'has other fields than entry, hash and prev' };
  const { hash, prev } = record;
  if (typeof prev !== 'string' || !/^[0-9a-f]{64}$/.test(prev)) return { bad: 'its prev is not a hash' };
  const entry = parseEntry(record['entry']);
  if ('bad' in entry) return entry;
  const encoded = encodeLine(entry.entry, prev, entry.bodyText);
  if (hash !== encoded.line.hash) return { bad: 'its hash is not the hash of what it says' };
  if (!bytes.equals(Buffer.from(encoded.text))) return { bad: 'is not in canonical form' };
  return encoded.line;
}

function parseEntry(value: unknown): { readonly entry: Entry; readonly bodyText: string } | Refused {
  if (!hasFields(value, ['body', 'index', 'kind', 'source', 'subject', 'timeMs'])) {
    return { bad: 'its entry has other fields than body, index, kind, source, subject and timeMs' };
  }
  const { index, timeMs, ...rest } = value;
  if (!isCount(index, Number.MAX_SAFE_INTEGER)) return { bad: 'its index is not a count' };
  if (!isCount(timeMs, MAX_TIME_MS)) return { bad: 'its timeMs is not a time' };
  const checked = checkDraft(rest);
  if ('bad' in checked) return { bad: `its ${checked.bad}` };
  return { entry: { ...checked.draft, index, timeMs }, bodyText: checked.bodyText };
}

function hasFields(value: unknown, names: readonly string[]): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.keys(value).sort().join() === names.join();
}

function isCount(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

/** Why `line` cannot stand after `head`; null is the head of an empty log. */
export function breakOfChain(line: Line, head: Receipt | null): string | undefined {
  const index = head === null ? 0 : head.index + 1;
  if (line.entry.index !== index) return `says that it is entry ${line.entry.index}: entries were removed, added or moved`;
  if (line.prev !== (head?.hash ?? GENESIS)) return 'does not follow from the entry before it';
  return undefined;
}
