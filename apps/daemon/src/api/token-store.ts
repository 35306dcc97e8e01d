import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CaissonError } from '@caisson/contract';
import { TokenFile, type NewToken, type StoredToken, type TokenInfo, type TokenMade } from '@caisson/contract/api';

const DEFAULT_EXPIRES_MS = 90 * 86_400_000;
/** The time of the last use is kept to this, so that using a token does not write the file each time. */
const LAST_USED_MS = 60_000;
const TOKENS_MOST = 10_000;
const BEARER = /^[Bb]earer csn_([0-9a-z]{12})_([0-9a-f]{64})$/;
/** Compared with where an id is unknown, so that it takes the same work as a wrong secret. */
const NOTHING = Buffer.alloc(32);

/** The tokens of the API. */
export interface Tokens {
  /** @throws CaissonError REQUEST_INVALID when there are too many */
  make(request: NewToken): TokenMade;
  list(): readonly TokenInfo[];
  /** From here on the token opens nothing. @throws CaissonError TOKEN_NOT_FOUND */
  revoke(id: string): void;
  /** The token in an Authorization header that is valid now, or null. */
  verify(authorization: string | undefined): StoredToken | null;
  /** Called with the id of each token that is revoked, or is dropped because its time is over: nothing that is kept of it is needed any more. */
  onRevoked(listener: (id: string) => void): void;
}

/**
 * Opens the tokens kept in a file of mode 0600. A secret is 256 random bits, so its SHA-256 is kept: a slow hash guards
 * secrets that can be guessed, and these cannot (NIST SP 800-63B §5.1.2.2 asks for one only below 112 bits).
 *
 * @param now Wall time in milliseconds.
 * @throws CaissonError TOKENS_DAMAGED when the file is there and is not one of ours.
 */
export function openTokens({ path, now }: { readonly path: string; readonly now: () => number }): Tokens {
  const tokens = new Map(readTokens(path).map((token) => [token.id, token]));
  const listeners = new Set<(id: string) => void>();
  const keep = (): void => writeTokens(path, [...tokens.values()]);

  return {
    make({ name, scopes, expiresMs = DEFAULT_EXPIRES_MS }) {
      dropExpired();
      if (tokens.size >= TOKENS_MOST) throw new CaissonError('REQUEST_INVALID', { detail: `there are ${TOKENS_MOST} tokens already` });
      const id = BigInt(`0x${randomBytes(10).toString('hex')}`).toString(36).padStart(12, '0').slice(-12);
      const secret = randomBytes(32).toString('hex');
      const createdMs = now();
      const stored: StoredToken = { id, name, scopes: [...new Set(scopes)], createdMs, expiresMs: createdMs + expiresMs, lastUsedMs: null, sha256: hash(secret).toString('hex') };
      tokens.set(id, stored);
      keepOrUndo(() => tokens.delete(id));
      return { ...infoOf(stored), token: `csn_${id}_${secret}` };
    },
    list: () => [...tokens.values()].map(infoOf),
    revoke(id) {
      const token = tokens.get(id);
      if (token === undefined) throw new CaissonError('TOKEN_NOT_FOUND', { token: id });
      tokens.delete(id);
      for (const listener of listeners) listener(id);
      keep(); // in memory it stays revoked even when the disk is full, and the caller learns that it is not kept
    },
    verify(authorization) {
      const [, id = '', secret = ''] = BEARER.exec(authorization ?? '') ?? [];
      const token = tokens.get(id);
      const same = timingSafeEqual(hash(secret), token === undefined ? NOTHING : Buffer.from(token.sha256, 'hex'));
      const nowMs = now();
      if (token === undefined || !same || nowMs >= token.expiresMs) return null;
      if (token.lastUsedMs === null || nowMs - token.lastUsedMs >= LAST_USED_MS) used(token, nowMs);
      return token;
    },
    onRevoked: (listener) => void listeners.add(listener),
  };

  function keepOrUndo(undo: () => void): void {
    try {
      keep();
    } catch (error) {
      undo();
      throw error;
    }
  }

  /** A full disk must not lock callers out: the time of the last use is then kept in memory only. */
  function used(token: StoredToken, lastUsedMs: number): void {
    tokens.set(token.id, { ...token, lastUsedMs });
    try {
      keep();
    } catch {
      // kept in memory; the next use tries again
    }
  }

  function dropExpired(): void {
    const expired = [...tokens.values()].filter(({ expiresMs }) => now() >= expiresMs);
    for (const { id } of expired) {
      tokens.delete(id);
      for (const listener of listeners) listener(id);
    }
  }
}

const hash = (secret: string): Buffer => createHash('sha256').update(secret).digest();

function infoOf({ id, name, scopes, createdMs, expiresMs, lastUsedMs }: StoredToken): TokenInfo {
  return { id, name, scopes, createdMs, expiresMs, lastUsedMs };
}

function readTokens(path: string): readonly StoredToken[] {
  try {
    return TokenFile.parse(JSON.parse(readFileSync(path, 'utf8'))).tokens;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new CaissonError('TOKENS_DAMAGED', { path, detail: (error as Error).message.slice(0, 200) }, { cause: error });
  }
}

/** Whole or not at all, also through a power cut: a new file, synced, takes the old one's name. */
function writeTokens(path: string, tokens: readonly StoredToken[]): void {
  const fresh = `${path}.new`;
  const file: TokenFile = { version: 1, tokens };
  const descriptor = openSync(fresh, 'w', 0o600);
  try {
    writeFileSync(descriptor, `${JSON.stringify(file, null, 2)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(fresh, path);
  syncFolder(dirname(path));
}

function syncFolder(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
