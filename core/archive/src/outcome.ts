import type { StoreFailure } from './store.ts';

/** Why the store was not brought to the head of the log. */
export type Stop =
  /** The store does not answer, or refuses. To be tried again. */
  | { readonly state: 'away'; readonly failure: StoreFailure }
  /** The files of the log here are not those of a whole log. To be tried again: a repair may come. */
  | { readonly state: 'damaged'; readonly detail: string }
  /** Somebody else writes there. Nothing is written any more. */
  | { readonly state: 'fenced'; readonly detail: string }
  /** The store holds another history than this log. Nothing is written any more. */
  | { readonly state: 'forked'; readonly detail: string };

/** What one try came to. */
export type Outcome = Stop | { readonly state: 'empty' } | { readonly state: 'current'; readonly size: number };
