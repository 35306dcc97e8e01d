/** A value, or why it cannot be had in words that hold nothing of the value, of what a program wrote or of what a server answered. */
export type Resolved = { readonly value: Buffer } | { readonly why: string };
