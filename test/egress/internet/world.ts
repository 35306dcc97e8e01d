import type { Certificates } from './certificates.ts';
import type { Ends, Line, Query } from './log.ts';

/** What the servers share. */
export interface World {
  readonly certificates: Certificates;
  write(line: Line): void;
  nextId(): number;
  /** The reply to a query of DNS, or undefined for silence. */
  resolve(message: Buffer, by: { readonly ends: Ends; readonly transport: Query['transport'] }): Promise<Buffer | undefined>;
}

/** One connection: whose it is, and what its handshake said. */
export interface Facts {
  readonly id: number;
  readonly ends: Ends;
  readonly servername: string | null;
}
