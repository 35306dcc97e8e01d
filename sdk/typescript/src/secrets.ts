import type { Connection } from './connection.ts';
import type { Aborting } from './files.ts';
import type { SandboxInfo, SecretInfo } from './generated.ts';
import { askJson } from './http.ts';

/**
 * Secrets that a sandbox may use: one that it never sees, for which commands find a placeholder in their environment that is replaced
 * on its way to the hosts of the secret, or one that is a file in `/run/secrets`. Which there are is in the policy; which a sandbox
 * has is said when it is made.
 */
export interface Secrets {
  /** Those that it may use now. `uses` counts the requests that it went with, or how often its file was written; `file` is the path of that, or null. */
  list(options?: Aborting): Promise<readonly SecretInfo[]>;
  /**
   * Takes one from it. Resolves when its file is gone, or no request goes out with it any more: connections on which it did are cut.
   *
   * @throws CaissonError LEASE_NOT_FOUND for one that it has not, or not any more
   */
  revoke(secret: string, options?: Aborting): Promise<SandboxInfo>;
}

export function secretsOf(connection: Connection, sandbox: string): Secrets {
  const path = `/v1/sandboxes/${encodeURIComponent(sandbox)}`;
  return {
    async list({ signal } = {}) {
      const { secrets } = await askJson<{ readonly secrets: readonly SecretInfo[] }>(connection, { method: 'GET', path: `${path}/secrets`, repeatable: true, signal });
      return secrets;
    },
    revoke: async (secret, { signal } = {}) => askJson(connection, { method: 'DELETE', path: `${path}/secrets/${encodeURIComponent(secret)}`, repeatable: true, signal }),
  };
}
