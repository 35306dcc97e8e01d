/** A value, or why it cannot be had in words that hold nothing of the value, of what a program wrote or of what a server answered. */
export type Resolved = Found | { readonly why: string };

export interface Found {
  readonly value: Buffer;
  /** Wall time in milliseconds since 1970 UTC at which the value says that it is over. Default: it does not say. */
  readonly expiresMs?: number | null;
}
