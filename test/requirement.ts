/** A test that proves a promise: its file and its title as the source has it, ${…} included. */
export type Proof = readonly [file: string, title: string];

/** What is asked of Caisson, as the promise it makes, and what proves it. */
export interface Requirement {
  readonly id: string;
  readonly promise: string;
  readonly proofs: readonly Proof[];
  /** The part that is not kept yet, and why. */
  readonly later?: string;
}
