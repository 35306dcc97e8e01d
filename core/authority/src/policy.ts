import { CaissonError, isBelow, LIMIT_NAMES, Policy, type SandboxRules } from '@caisson/contract';
import { repeatedName } from './repeated.ts';

/**
 * Reads a policy file's text. An unknown, missing or repeated field is an error, and so is a default that the
 * policy itself does not allow.
 *
 * @param path where the text came from, for the error.
 * @throws CaissonError POLICY_INVALID, which names the field.
 */
export function parsePolicy(text: string, path: string): Policy {
  const invalid = (detail: string): CaissonError => new CaissonError('POLICY_INVALID', { path, detail });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`it is not JSON (${(error as Error).message})`);
  }
  const repeated = repeatedName(text);
  if (repeated !== null) throw invalid(`${repeated} is given twice`);
  const parsed = Policy.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(`${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'not a policy'}`);
  }
  const contradiction = contradictionIn(parsed.data);
  if (contradiction !== null) throw invalid(contradiction);
  return parsed.data;
}

function contradictionIn({ levels, limits, sandboxes }: Policy): string | null {
  if (isBelow(levels.default, levels.minimum)) {
    return `levels.default of ${levels.default} is below levels.minimum of ${levels.minimum}`;
  }
  const above = LIMIT_NAMES.find((name) => limits.default[name] > limits.maximum[name]);
  if (above === undefined) return sandboxes === undefined ? null : contradictionInRules(sandboxes, limits.maximum.workspaceBytes);
  return `limits.default.${above} of ${limits.default[above]} is more than limits.maximum.${above} of ${limits.maximum[above]}`;
}

function contradictionInRules(rules: SandboxRules, mostBytes: number): string | null {
  const above = (['ttlMs', 'idleMs'] as const).find((name) => rules[name].default > rules[name].maximum);
  if (above !== undefined) return `sandboxes.${above}.default of ${rules[above].default} is more than its maximum of ${rules[above].maximum}`;
  if (rules.workspaceBytes <= mostBytes) return null;
  return `sandboxes.workspaceBytes of ${rules.workspaceBytes} is more than limits.maximum.workspaceBytes of ${mostBytes}`;
}
