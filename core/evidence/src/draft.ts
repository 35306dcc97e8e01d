import { canonicalJson, EntryDraft, type Json } from '@caisson/contract';

/** Deepest nesting of a draft. It keeps every later reader, which recurses, far from the end of its stack. */
const MAX_DEPTH = 64;

export interface Refused {
  /** The field at fault, and why. */
  readonly bad: string;
}

/**
 * A draft as it will stand in the log: strings in NFC, absent fields left out, text that reads back to itself.
 * What passes here can be read by every verifier, so that no draft can make the log look damaged later.
 */
export function checkDraft(value: unknown): EntryDraft | Refused {
  if (isDeeperThan(value, MAX_DEPTH)) return { bad: `body: is nested deeper than ${MAX_DEPTH} levels` };
  let canonical: Json;
  try {
    canonical = JSON.parse(canonicalJson(value as Json)) as Json;
  } catch (error) {
    return { bad: `body: ${(error as Error).message}` };
  }
  const parsed = EntryDraft.safeParse(canonical);
  if (parsed.success) return canonical as unknown as EntryDraft;
  const [issue] = parsed.error.issues;
  return { bad: `${issue?.path.join('.') || 'entry'}: ${issue?.message ?? 'is not valid'}` };
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((item) => isDeeperThan(item, levels - 1));
}
