import { readFile } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract/errors';
import type { NetworkRequest } from '@caisson/contract';

/** The options that ask for a network, as commander gives them. */
export interface NetworkFlags {
  /** `HOST[:PORT][/PROTOCOL]` each. */
  readonly allow?: readonly string[];
  /** Path of a file that holds `{"rules": […]}`. */
  readonly policy?: string;
  /** Set where the command may speak to any name: where its output goes, and who is told which sandbox it was. */
  readonly learning?: { readonly streams: 'own' | 'stderr'; readonly ended: (sandbox: string) => void };
}

/**
 * What the options ask of the network; undefined where they ask for none. The schemas are loaded only for who uses them,
 * because a command without them starts in milliseconds.
 *
 * @throws CaissonError USAGE
 */
export async function networkOf({ allow, policy, learning }: NetworkFlags): Promise<NetworkRequest | undefined> {
  const learn = learning === undefined ? {} : { learn: true as const };
  if (allow === undefined && policy === undefined) return learning === undefined ? undefined : { rules: [], ...learn };
  const { allowArgument, NetworkRequest: schema } = await import('@caisson/contract');
  const rules = (allow ?? []).map((text) => {
    const rule = allowArgument(text);
    if ('refused' in rule) throw new CaissonError('USAGE', { detail: `--allow: ${text} ${rule.refused}` });
    return rule;
  });
  if (policy === undefined) return { rules, ...learn };
  const parsed = schema.safeParse(parse(policy, await read(policy)));
  if (parsed.success) return { ...parsed.data, rules: [...parsed.data.rules, ...rules], ...learn };
  const issue = parsed.error.issues[0];
  throw new CaissonError('USAGE', { detail: `--policy: ${policy}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}` });
}

async function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: Error) => {
    throw new CaissonError('USAGE', { detail: `--policy: ${error.message}` });
  });
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CaissonError('USAGE', { detail: `--policy: ${path} is not JSON: ${(error as Error).message}` });
  }
}
