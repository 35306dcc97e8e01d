import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CaissonError, NetworkPolicy, NetworkRequest } from '@caisson/contract';
import { layersToTest, PolicyTest, type Layer } from '@caisson/egress/rules';

/** A file of expectations with what it refers to. */
export interface RulesFile {
  readonly test: PolicyTest;
  readonly layers: readonly Layer[];
  /** Whether it says what a call asks for; otherwise its layers are what the policy lets any call. */
  readonly hasRules: boolean;
}

interface Schema<T> {
  safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false; readonly error: { readonly issues: readonly Issue[] } };
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** Of a value that may be one of several. */
  readonly errors?: readonly (readonly Issue[])[];
}

/** Reads expectations, and the files that they name, which are beside them. @throws CaissonError USAGE naming file and field */
export async function readPolicyTest(path: string): Promise<RulesFile> {
  return withRules(path, parsed(PolicyTest, path, await json(path)));
}

/** Reads what `--policy` takes, or a file of expectations, of which only the rules are looked at. @throws CaissonError USAGE */
export async function readRules(path: string): Promise<RulesFile> {
  const value = await json(path);
  const isPlain = typeof value === 'object' && value !== null && !('policy' in value) && !('allow' in value) && !('deny' in value);
  if (!isPlain) return withRules(path, parsed(PolicyTest, path, value));
  return withRules(path, { rules: parsed(NetworkRequest, path, value).rules });
}

async function withRules(path: string, test: PolicyTest): Promise<RulesFile> {
  const beside = (name: string): string => resolve(dirname(path), name);
  const policy = typeof test.policy === 'string' ? await policyAt(beside(test.policy)) : test.policy;
  const rules = typeof test.rules === 'string' ? parsed(NetworkRequest, beside(test.rules), await json(beside(test.rules))).rules : test.rules;
  return { test, layers: layersToTest(policy, rules), hasRules: rules !== undefined };
}

/** What a policy file says of the network, or a file that says nothing else. */
async function policyAt(path: string): Promise<NetworkPolicy> {
  const value = await json(path);
  const isWhole = typeof value === 'object' && value !== null && ('network' in value || 'version' in value);
  return isWhole ? parsed(NetworkPolicy, path, (value as { readonly network?: unknown }).network ?? {}, ['network']) : parsed(NetworkPolicy, path, value);
}

function parsed<T>(schema: Schema<T>, path: string, value: unknown, above: readonly string[] = []): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { field, message } = innermost(result.error.issues[0] ?? { path: [], message: 'malformed' });
  throw new CaissonError('USAGE', { detail: `${path}: ${[...above, ...field].map(String).join('.') || 'the file'}: ${message}` });
}

/** What is wrong in the one of several forms that came nearest. */
function innermost({ path, message, errors = [] }: Issue): { readonly field: readonly PropertyKey[]; readonly message: string } {
  const nearest = errors.flat().toSorted((a, b) => b.path.length - a.path.length)[0];
  if (nearest === undefined || nearest.path.length === 0) return { field: path, message };
  const inner = innermost(nearest);
  return { field: [...path, ...inner.field], message: inner.message };
}

async function json(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new CaissonError('USAGE', { detail: error.message });
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CaissonError('USAGE', { detail: `${path} is not JSON: ${(error as Error).message}` });
  }
}
