import type { Refused } from './host.ts';

/** Deepest nesting that is read: some readers give up earlier than others. */
const DEPTH_MOST = 128;

/**
 * What a text of JSON holds, if every reader finds the same in it (RFC 8259 §4): an object that names a key twice is read by
 * one reader as its first and by another as its last value.
 */
export function readJson(text: string): { readonly value: unknown } | Refused {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { refused: 'it is no JSON' };
  }
  const refused = oddKeys(text);
  return refused === null ? { value } : { refused };
}

/** Why a text that is JSON is not clear; null: it is. Goes through it once, without recursion. */
function oddKeys(text: string): string | null {
  const open: (Set<string> | null)[] = []; // the keys of each object that is open; null: an array
  let isKey = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      const end = endOfString(text, at);
      if (isKey && !added(open.at(-1) ?? null, text.slice(at, end + 1))) return 'an object in it names a key twice';
      isKey = false;
      at = end;
    } else if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : null);
      isKey = char === '{';
      if (open.length > DEPTH_MOST) return `it is nested deeper than ${DEPTH_MOST}`;
    } else if (char === '}' || char === ']') {
      open.pop();
      isKey = false;
    } else if (char === ',') {
      isKey = open.at(-1) instanceof Set;
    }
  }
  return null;
}

/** Whether a key is new to its object. */
function added(keys: Set<string> | null, encoded: string): boolean {
  const key = JSON.parse(encoded) as string;
  if (keys?.has(key) === true) return false;
  keys?.add(key);
  return true;
}

/** Where the string ends that begins at a quotation mark. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}
