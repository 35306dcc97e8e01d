import { CaissonError, canonicalJson, type Entry, type Json } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { Caller } from '@caisson/wire';
import { instancePaths } from './client.ts';
import { print } from './say.ts';

/** What the scribe says of a sealed text. */
type Unsealed =
  | { readonly state: 'open'; readonly value: Json }
  | { readonly state: 'erased'; readonly erasedMs: number }
  | { readonly state: 'missing' }
  | { readonly state: 'bad'; readonly detail: string };

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** @throws CaissonError USAGE, EVIDENCE_KEY_ERASED, EVIDENCE_KEY_MISSING, EVIDENCE_DAMAGED, DAEMON_UNREACHABLE, STATE_DIR_INVALID */
export async function unseal(entry: string, { dir }: { readonly dir?: string }): Promise<number> {
  const paths = instancePaths();
  const index = Number(entry);
  if (!/^(0|[1-9][0-9]*)$/.test(entry) || !Number.isSafeInteger(index)) throw new CaissonError('USAGE', { detail: `audit unseal: ${entry} is not the number of an entry` });
  const { kind, source, subject, sealed } = await entryAt(dir ?? paths.evidence, index);
  if (sealed === undefined) throw new CaissonError('USAGE', { detail: `audit unseal: entry ${index} seals nothing` });
  const { key, nonce, text } = sealed;
  const opened = (await ask(paths.scribeKeysSocket, 'unseal', { index, kind, source, subject, sealed: { key, nonce, text } })) as Unsealed;
  switch (opened.state) {
    case 'open': print(`${shown(opened.value)}\n`); return 0;
    case 'erased': throw new CaissonError('EVIDENCE_KEY_ERASED', { index, when: new Date(opened.erasedMs).toISOString() });
    case 'missing': throw new CaissonError('EVIDENCE_KEY_MISSING', { index, key });
    case 'bad': throw new CaissonError('EVIDENCE_DAMAGED', { index, detail: opened.detail });
  }
}

/** @throws CaissonError USAGE, REQUEST_INVALID, EVIDENCE_UNAVAILABLE, DAEMON_UNREACHABLE */
export async function erase({ tenant, before }: { readonly tenant?: string; readonly before?: string }): Promise<number> {
  if ((tenant === undefined) === (before === undefined)) throw new CaissonError('USAGE', { detail: 'audit erase takes either --tenant or --before' });
  const what = tenant === undefined ? { beforeMs: startOf(before ?? '') } : { tenant };
  const { keys } = (await ask(instancePaths().scribeKeysSocket, 'erase', what)) as { readonly keys: number };
  print(keys === 0 ? 'no key was there\n' : `${keys} ${keys === 1 ? 'key is' : 'keys are'} erased\n`);
  return 0;
}

async function entryAt(dir: string, index: number): Promise<Entry> {
  for await (const { entry } of readEntries(dir, { from: index })) return entry;
  throw new CaissonError('USAGE', { detail: `audit unseal: the log has no entry ${index}` });
}

function startOf(day: string): number {
  const startMs = DAY.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(startMs) || startMs < 0) throw new CaissonError('USAGE', { detail: `audit erase: --before ${day} is not a day such as 2026-01-31` });
  return startMs;
}

async function ask(socket: string, verb: string, parameters: unknown): Promise<unknown> {
  using caller = new Caller(socket);
  return await caller.call(verb, parameters);
}

/** JSON of one line that cannot drive a terminal or reorder what it shows: such characters stand as their JSON escapes. */
function shown(value: Json): string {
  return canonicalJson(value).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) => found.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''));
}
