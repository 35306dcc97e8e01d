import { z } from 'zod';

/** What a token of the HTTP API may be allowed to do. `admin`: read the state of the host and change its images. `approvals`: see what sandboxes wait for, and decide it; never for a token that an agent has. */
export const SCOPES = ['sandboxes:read', 'sandboxes:write', 'exec', 'files:read', 'files:write', 'workspaces', 'images', 'approvals', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];
export const Scope: z.ZodType<Scope> = z.enum(SCOPES);

const Name: z.ZodType<string> = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, dot, dash and underscore, and begin with a letter or digit');
const Scopes: z.ZodType<readonly Scope[]> = z.array(Scope).min(1).max(SCOPES.length);
const DAY_MS = 86_400_000;

/** A token that is asked for. */
export interface NewToken {
  /** Whom it is for: the caller's name in the evidence. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Milliseconds from now until it expires. Default 90 days; at most 366. */
  readonly expiresMs?: number;
}

export const NewToken: z.ZodType<NewToken> = z.strictObject({
  name: Name,
  scopes: Scopes,
  expiresMs: z.int().min(1_000).max(366 * DAY_MS).exactOptional(),
});

/** A token as it is listed; nothing in it opens anything. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Wall time in milliseconds since 1970 UTC. */
  readonly createdMs: number;
  readonly expiresMs: number;
  /** When it was last used, to the minute. */
  readonly lastUsedMs: number | null;
}

const info = {
  id: z.string().regex(/^[0-9a-z]{12}$/),
  name: Name,
  scopes: Scopes,
  createdMs: z.int().min(0),
  expiresMs: z.int().min(0),
  lastUsedMs: z.int().min(0).nullable(),
};

export const TokenInfo: z.ZodType<TokenInfo> = z.strictObject(info);

/** The one answer that holds the token itself. */
export interface TokenMade extends TokenInfo {
  readonly token: string;
}

/** A token as it is kept: the secret has 256 random bits, so that one SHA-256 of it cannot be searched. */
export interface StoredToken extends TokenInfo {
  /** SHA-256 of the secret, hex. */
  readonly sha256: string;
}

export const StoredToken: z.ZodType<StoredToken> = z.strictObject({ ...info, sha256: z.string().regex(/^[0-9a-f]{64}$/) });

export interface TokenFile {
  readonly version: 1;
  readonly tokens: readonly StoredToken[];
}

export const TokenFile: z.ZodType<TokenFile> = z.strictObject({ version: z.literal(1), tokens: z.array(StoredToken).max(10_000) });
