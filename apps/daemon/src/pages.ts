import { z } from 'zod';

/** Bytes of JSON that one reply holds of a list: what a frame can carry has an end, and a list of what callers made has none. */
const PAGE_BYTES = 1024 * 1024;

/** Which part of a list is asked for: what comes after a key, from the start with null. */
export const PageRequest = z.strictObject({ after: z.string().max(256).nullable() });

export interface Page<T> {
  readonly items: readonly T[];
  /** Key of the last item when there are more. */
  readonly next: string | null;
}

export function pageOf<T>(item: z.ZodType<T>): z.ZodType<Page<T>> {
  return z.strictObject({ items: z.array(item), next: z.string().nullable() });
}

/** The items of a list after a key, in the order of keys and as many as fit, but one at least. */
export function page<T>(all: readonly T[], keyOf: (item: T) => string, after: string | null): Page<T> {
  const left = all.filter((item) => after === null || keyOf(item) > after).toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const items = fitting(left);
  const last = items.at(-1);
  return { items, next: last === undefined || items.length === left.length ? null : keyOf(last) };
}

/** The first items that so many bytes of JSON can hold, but one at least. */
export function fitting<T>(items: readonly T[], mostBytes: number = PAGE_BYTES): readonly T[] {
  let bytes = 0;
  const end = items.findIndex((item, index) => (bytes += Buffer.byteLength(JSON.stringify(item)) + 1) > mostBytes && index > 0);
  return end === -1 ? items : items.slice(0, end);
}

/** All items of a list that is told in pages. What is added meanwhile may be missing, as in any list. */
export async function allPages<T>(ask: (after: string | null) => Promise<Page<T>>): Promise<readonly T[]> {
  const all: T[] = [];
  for (let after: string | null = null; ; ) {
    const { items, next }: Page<T> = await ask(after);
    for (const item of items) all.push(item);
    if (next === null) return all;
    after = next;
  }
}
