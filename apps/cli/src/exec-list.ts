import { CaissonError } from '@caisson/contract/errors';
import type { SignalName } from '@caisson/sdk';
import { openApi } from './api.ts';
import type { Json } from './sandbox-commands.ts';
import { note, printJson, printTable, showSpan } from './say.ts';

/** The execs of a sandbox that are still known, running ones and those that have ended. */
export async function ps(id: string, { json }: Json): Promise<number> {
  const execs = await (await (await openApi()).box(id)).execs();
  if (json === true) printJson({ execs });
  else printTable(['ID', 'STATE', 'TTY', 'AGE', 'EXIT', 'PROGRAM'], execs.map(({ id: exec, state, tty, startedMs, exit, program }) => [
    exec, state, tty ? 'yes' : '-', showSpan(Date.now() - startedMs), exit === null ? '-' : String(exit), program,
  ]));
  return 0;
}

/** Exit status 1 when the exec had ended already. */
export async function kill(id: string, exec: string, { signal, json }: Json & { readonly signal: string }): Promise<number> {
  const name = signalOf(signal);
  const delivered = await (await (await (await openApi()).box(id)).attach(exec)).kill(name);
  if (json === true) printJson({ exec, signal: name, delivered });
  else if (!delivered) note(`${exec} has ended already`);
  return delivered ? 0 : 1;
}

/** `TERM`, `SIGTERM` or `15`. @throws CaissonError USAGE */
function signalOf(text: string): SignalName | number {
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const name = text.toUpperCase().replace(/^(?!SIG)/, 'SIG');
  if (!/^SIG[A-Z0-9+]+$/.test(name)) throw new CaissonError('USAGE', { detail: `--signal: ${text} is not a signal such as SIGTERM` });
  return name as SignalName;
}
