import { canonicalJson, EntryDraft, type Json } from '@caisson/contract';
import { MAX_ENTRY_BYTES } from '@caisson/tlog';

/** Deepest nesting of a draft. It keeps every later reader, which recurses, far from the end of its stack. */
const MAX_DEPTH = 64;
/** What an entry has besides its body: names that are bounded, numbers, and an origin. */
const OTHER_FIELDS_BYTES = 2_048;
/** Bytes of the canonical text of a body, with what may be sealed beside it: an entry has to fit a bundle. */
export const MAX_BODY_BYTES = MAX_ENTRY_BYTES - OTHER_FIELDS_BYTES;

export interface Refused {
  /** The field at fault, and why. */
  readonly bad: string;
}

export interface Checked {
  readonly draft: EntryDraft;
  /** The canonical text of its body. */
  readonly bodyText: string;
}

/**
 * A draft as it will stand in the log: strings in NFC, absent fields left out, text that reads back to itself.
 * What passes here can be read by every verifier, so that no draft can make the log look damaged later.
 */
export function checkDraft(value: unknown): Checked | Refused {
  if (isDeeperThan(value, MAX_DEPTH)) return { bad: `body: is nested deeper than ${MAX_DEPTH} levels` };
  if (hasReservedName(value)) return { bad: 'body: a field cannot be named __proto__' };
  const { body, ...fields } = (value ?? {}) as { readonly [name: string]: Json | undefined };
  let bodyText: string;
  let draft: Json;
  try {
    bodyText = body === undefined ? '' : canonicalJson(body);
    draft = { ...(JSON.parse(canonicalJson(fields)) as object), ...(body === undefined ? {} : { body: JSON.parse(bodyText) as Json }) };
  } catch (error) {
    return { bad: `body: ${(error as Error).message}` };
  }
  if (Buffer.byteLength(bodyText) > MAX_BODY_BYTES) return { bad: `body: is more than ${MAX_BODY_BYTES} bytes` };
  const parsed = EntryDraft.safeParse(draft);
  if (parsed.success) return { draft: draft as unknown as EntryDraft, bodyText };
  const [issue] = parsed.error.issues;
  return { bad: `${issue?.path.join('.') || 'entry'}: ${issue?.message ?? 'is not valid'}` };
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((item) => isDeeperThan(item, levels - 1));
}

/** A name that some readers of JSON take for something else than a field. */
function hasReservedName(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.hasOwn(value, '__proto__') || Object.values(value).some(hasReservedName);
}
