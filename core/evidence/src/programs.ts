import type { Entry, Json } from '@caisson/contract';
import { find, type Findings } from './findings.ts';

/** Commands of each sandbox that is open, as far as their entries tell. */
export interface Programs {
  readonly findings: Findings;
  /** Of each open sandbox or call: commands that may have been started. */
  readonly counted: Map<string, number>;
  /** The sandbox of each open command. */
  readonly sandboxOf: Map<string, string>;
}

export function emptyPrograms(findings: Findings): Programs {
  return { findings, counted: new Map(), sandboxOf: new Map() };
}

/**
 * Takes the next entry. At the end of a sandbox its pid 1 and the launcher have counted the programs that they started: of each
 * the log has an intent that was allowed. A command that could not be executed is in the log and was not started.
 */
export function passProgram(programs: Programs, entry: Entry): void {
  if (entry.kind === 'intent') begin(programs, entry);
  if (entry.kind === 'outcome') end(programs, entry);
}

function begin({ counted, sandboxOf }: Programs, { subject, body }: Entry): void {
  const what = at(body, 'what');
  if (what === 'sandbox') return void counted.set(subject, 0);
  const isAllowed = at(at(body, 'decision'), 'effect') === 'allow';
  if (what !== 'exec') return void counted.set(subject, isAllowed ? 1 : 0);
  const sandbox = at(body, 'sandbox');
  if (!isAllowed || typeof sandbox !== 'string') return;
  sandboxOf.set(subject, sandbox);
  counted.set(sandbox, (counted.get(sandbox) ?? 0) + 1);
}

function end({ findings, counted, sandboxOf }: Programs, { subject, body, index }: Entry): void {
  const sandbox = sandboxOf.get(subject);
  if (sandbox !== undefined) {
    sandboxOf.delete(subject);
    const before = counted.get(sandbox);
    if (at(at(body, 'ending'), 'kind') === 'not-started' && before !== undefined) counted.set(sandbox, before - 1);
    return;
  }
  const inLog = counted.get(subject);
  counted.delete(subject);
  const counts = at(at(body, 'usage'), 'counts');
  const [started, asked] = [at(counts, 'started'), at(counts, 'asked')].map((count) => (typeof count === 'number' ? count : 0)) as [number, number];
  if (inLog === undefined || Math.max(started, asked) <= inLog) return;
  const [who, count] = started >= asked ? ['its pid 1 has', started] : ['the launcher has', asked];
  find(findings, index, `is the end of sandbox ${subject}: ${who} started ${count} ${count === 1 ? 'program' : 'programs'}, the log has ${inLog}`);
}

function at(value: Json | undefined, name: string): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as { readonly [name: string]: Json })[name] : undefined;
}
