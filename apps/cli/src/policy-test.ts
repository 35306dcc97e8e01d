import { printable } from '@caisson/contract/errors';
import { unmet } from '@caisson/egress/rules';
import { readPolicyTest } from './rules-file.ts';
import type { Json } from './sandbox-commands.ts';
import { note, print, printJson } from './say.ts';

/** Checks what a file expects of rules. @returns 0 when all is so, 1 when something is not */
export async function policyTest(file: string, flags: Json): Promise<number> {
  const { test, layers } = await readPolicyTest(file);
  const failures = unmet(layers, test);
  const expectations = (test.allow ?? []).length + (test.deny ?? []).length;
  if (flags.json === true) printJson({ expectations, failures });
  else for (const { expected, what, reason, fix } of failures) print(printable(`${expected === 'allow' ? 'not allowed' : 'not denied'}: ${what}: ${reason}`) + `\n  ${expected === 'allow' ? 'would be allowed by' : 'would be denied by'}: ${printable(fix)}\n`);
  note(`${expectations - failures.length} of ${expectations} expectations are met`);
  return failures.length === 0 ? 0 : 1;
}
