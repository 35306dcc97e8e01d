import type { Entry } from '@caisson/contract';

/** How long one key of a tenant seals: for so many entries of the log, or for so long. */
export type SegmentRule = { readonly entries: number } | { readonly periodMs: number };

/** 65,536 entries: 256 bundles of a C2SP tile log, and 16,384 times fewer than a key could take. */
export const DEFAULT_SEGMENT: SegmentRule = { entries: 65_536 };

/** One day of UTC: what is to be forgotten is forgotten by days. */
export const BY_DAY: Extract<SegmentRule, { readonly periodMs: number }> = { periodMs: 86_400_000 };

/** The segment that an entry is in, from 0. It never gets smaller while indexes and times do not. */
export function segmentOf({ index, timeMs }: Pick<Entry, 'index' | 'timeMs'>, rule: SegmentRule = DEFAULT_SEGMENT): number {
  return 'entries' in rule ? Math.floor(index / rule.entries) : Math.floor(timeMs / rule.periodMs);
}
