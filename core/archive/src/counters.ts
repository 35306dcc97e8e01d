/** Why a store did not do what it was asked; the classes that metrics and alerts go by. */
export const STORE_ERRORS = ['AccessDenied', 'PreconditionFailed', 'NoSuchBucket', 'Network', 'Other'] as const;
export type StoreErrorClass = (typeof STORE_ERRORS)[number];

/** What has been asked of a store since the archiver started. */
export interface Counters {
  puts: number;
  gets: number;
  lists: number;
  /** Bytes of objects that were written. */
  putBytes: number;
  /** Answers that were failures, by class. A 412 that shows that an object is there already counts too. */
  readonly errors: Record<StoreErrorClass, number>;
}

export function newCounters(): Counters {
  return { puts: 0, gets: 0, lists: 0, putBytes: 0, errors: { AccessDenied: 0, PreconditionFailed: 0, NoSuchBucket: 0, Network: 0, Other: 0 } };
}
