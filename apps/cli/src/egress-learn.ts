import { writeFile } from 'node:fs/promises';
import { CaissonError, printable } from '@caisson/contract/errors';
import type { Json } from '@caisson/contract';
import { proposeRules, usesOf } from '@caisson/egress/rules';
import { readEntries } from '@caisson/evidence';
import { instancePaths } from './client.ts';
import { run, type RunFlags } from './run.ts';
import { note, print } from './say.ts';

/** The options of `egress learn` as commander gives them. */
export interface LearnFlags extends Omit<RunFlags, 'learning' | 'json'> {
  readonly out?: string;
  readonly wildcards?: boolean;
}

/** As many as a request takes. */
const RULES_MOST = 256;

/** Runs a command that may speak to any name, and proposes rules for what it used. @returns the exit status of the command */
export async function learn(argv: readonly string[], { out, wildcards, ...flags }: LearnFlags, home: string): Promise<number> {
  if (out !== undefined) await write(out, '', 'a'); // before the command has run for nothing; what was there stays until then
  let sandbox: string | undefined;
  const learning = { streams: out === undefined ? ('stderr' as const) : ('own' as const), ended: (id: string) => void (sandbox = id) };
  const status = await inFresh(argv, { ...flags, learning }, home);
  if (sandbox === undefined) return status;
  const { rules, notes } = proposeRules(usesOf(await onRecord(sandbox)), { wildcards: wildcards === true });
  for (const each of notes) note(printable(each));
  if (rules.length > RULES_MOST) note(`${rules.length} rules are more than the ${RULES_MOST} that a sandbox takes; --wildcards makes fewer of them`);
  const text = `${JSON.stringify({ rules }, null, 2)}\n`;
  if (out === undefined) print(text);
  else await write(out, text);
  if (out !== undefined) note(`${rules.length} ${rules.length === 1 ? 'rule is' : 'rules are'} in ${printable(out)}`);
  return status;
}

/** As `run` does it, with its options. */
async function inFresh(argv: readonly string[], flags: RunFlags, home: string): Promise<number> {
  if (flags.in !== undefined) return (await import('./run-in.ts')).runIn(flags.in, argv, flags, home);
  if (flags.image !== undefined) return (await import('./run-image.ts')).runImage(argv, flags, home);
  return run(argv, flags, { home, early: undefined });
}

async function onRecord(sandbox: string): Promise<readonly Json[]> {
  const bodies: Json[] = [];
  for await (const { entry } of readEntries(instancePaths().evidence)) if (entry.kind === 'egress' && entry.subject === sandbox) bodies.push(entry.body);
  return bodies;
}

async function write(path: string, text: string, flag: 'a' | 'w' = 'w'): Promise<void> {
  await writeFile(path, text, { flag }).catch((error: Error) => {
    throw new CaissonError('USAGE', { detail: `--out: ${error.message}` });
  });
}
