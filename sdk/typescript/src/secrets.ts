import type { Connection } from './connection.ts';
import type { Aborting } from './files.ts';
import type { NetworkInfo, SandboxInfo } from './generated.ts';
import { askJson } from './http.ts';

/** A secret that a sandbox may use, and how often it went with a request of it. */
export interface SecretInfo {
  readonly secret: string;
  readonly uses: number;
  /** When it last did, in milliseconds since 1970 UTC; null: it never did. */
  readonly lastMs: number | null;
}

/**
 * Secrets that a sandbox may use and never sees: commands find a placeholder in their environment, which is replaced on its way
 * to the hosts of the secret. Which there are is in the policy; which a sandbox has is said when it is made.
 */
export interface Secrets {
  /** Those that it may use now. */
  list(options?: Aborting): Promise<readonly SecretInfo[]>;
  /**
   * Takes one from it. Resolves when no request goes out with it any more: connections on which it did are cut.
   *
   * @throws CaissonError LEASE_NOT_FOUND for one that it has not, or not any more
   */
  revoke(secret: string, options?: Aborting): Promise<SandboxInfo>;
}

export function secretsOf(connection: Connection, sandbox: string): Secrets {
  const path = `/v1/sandboxes/${encodeURIComponent(sandbox)}`;
  const get = <T>(at: string, signal: AbortSignal | undefined): Promise<T> => askJson(connection, { method: 'GET', path: at, repeatable: true, signal });
  return {
    async list({ signal } = {}) {
      const { secrets } = await get<SandboxInfo>(path, signal);
      if (secrets.length === 0) return []; // it may have no network that could be asked for
      const used = (await get<NetworkInfo>(`${path}/network`, signal)).secrets;
      return secrets.map((secret) => used.find((use) => use.secret === secret) ?? { secret, uses: 0, lastMs: null });
    },
    revoke: async (secret, { signal } = {}) => askJson(connection, { method: 'DELETE', path: `${path}/secrets/${encodeURIComponent(secret)}`, repeatable: true, signal }),
  };
}
