import { readFileSync } from 'node:fs';
import { CaissonError, problem, type Policy, type SecretSource, type StatePaths } from '@caisson/contract';
import { parsePolicy } from '@caisson/authority';
import { sha256 } from '@caisson/sandbox';

/** The host's policy file, or the policy that Caisson ships where there is none. @throws CaissonError POLICY_INVALID */
export function readPolicy(paths: StatePaths, home: string): { readonly value: Policy; readonly sha256: string } {
  const shipped = `${home}/profiles/policies/default.json`;
  const own = readIfThere(paths.policy);
  const text = own ?? readFileSync(shipped, 'utf8');
  return { value: parsePolicy(text, own === null ? shipped : paths.policy), sha256: sha256(text) };
}

/** Variables of the environment that references to secrets name. */
export function secretVariables({ secrets = {} }: Policy): readonly string[] {
  const references = Object.values(secrets).flatMap(({ from }) => referencesOf(from));
  return [...new Set(references.filter((reference) => reference.startsWith('env:')).map((reference) => reference.slice(4)))];
}

function referencesOf(from: SecretSource): readonly string[] {
  if (typeof from === 'string') return [from];
  if ('vault' in from) return [from.vault.token];
  if (!('kubernetes' in from)) return [];
  const { server, token, ca } = from.kubernetes;
  const cluster = server === undefined ? ['env:KUBERNETES_SERVICE_HOST', 'env:KUBERNETES_SERVICE_PORT'] : [];
  return [...cluster, ...[token, ca].filter((reference) => reference !== undefined)];
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw CaissonError.from(problem('POLICY_INVALID', { path, detail: (error as Error).message }));
  }
}
