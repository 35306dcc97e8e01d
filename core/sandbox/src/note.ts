import { CaissonError } from '@caisson/contract';
import { Box, type BoxEnd, type BoxExec, type BoxFacts } from './box.ts';
import { NO_CREDENTIALS, type Credentials } from './credentials.ts';

/**
 * What control notes with the launcher of a sandbox or an exec, to know it again after a restart. It comes back from a
 * process that has more rights than control, and is checked for its version only.
 */
const VERSION = 1;
/** PATH_MAX of Linux. */
const PATH_CHARS = 4096;

interface BoxNote {
  readonly version: typeof VERSION;
  readonly facts: BoxFacts;
  readonly expiresMs: number;
  readonly idleMs: number | null;
  readonly network: BoxFacts['request']['network'] | null;
  /** Default, of one that a former control noted: none. */
  readonly credentials?: Credentials;
  /** Default, of one that a former control noted: none. */
  readonly passing?: readonly string[];
  readonly spec: string | null;
  readonly end: BoxEnd | null;
}

export type ExecNote = Pick<BoxExec, 'id' | 'program' | 'tty' | 'salt' | 'request' | 'intent' | 'limits'> & { readonly key: string | null; readonly digest: string };

export function noteOf({ facts, expiresMs, idleMs, network, credentials, passing, spec, end }: Box): string {
  return JSON.stringify({ version: VERSION, facts, expiresMs, idleMs, network, credentials, passing, spec, end } satisfies BoxNote);
}

/** The sandbox that was noted. */
export function boxFrom(note: string, { machine, wallMs }: { readonly machine: string; readonly wallMs: () => number }): Box {
  const { version, facts, expiresMs, idleMs, network = null, credentials = NO_CREDENTIALS, passing = [], spec, end } = JSON.parse(note) as BoxNote;
  if (version !== VERSION) throw new CaissonError('INTERNAL', { detail: 'a note of another version' });
  const box = Object.assign(new Box(facts, wallMs), { machine, expiresMs, idleMs, network, credentials, passing, spec });
  if (end !== null) box.conclude(end);
  return box;
}

/** Noted with a sandbox that nobody has claimed yet. */
export const PREPARED = 'prepared';

/** Of the program only what a path can be: all notes of a sandbox must reach who takes it over. */
export function execNote(note: ExecNote): string {
  const argv = note.request.argv.map((argument) => argument.slice(0, PATH_CHARS));
  return JSON.stringify({ ...note, request: { ...note.request, argv } });
}

export function execFrom(note: string): ExecNote {
  return JSON.parse(note) as ExecNote;
}
