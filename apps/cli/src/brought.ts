import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { CaissonError } from '@caisson/contract/errors';
import type { Seen } from './own-folder.ts';

/** A folder that was brought into a sandbox. Only this user's own state knows it: the daemon is told no path of the host. */
export interface Brought {
  readonly version: 1;
  /** Where Caisson answered. */
  readonly at: string;
  readonly sandbox: string;
  readonly workspace: string;
  readonly folder: string;
  /** Device, and inode with its time of birth: a folder of the same name may be another one. */
  readonly device: string;
  readonly inode: string;
  /** Snapshot of what was brought in. */
  readonly base: string;
  readonly manifest: Readonly<Record<string, Seen>>;
  /** All of it is in the folder, and nothing of it is with Caisson any more. */
  readonly accepted?: true;
}

/** How long it is remembered that something was accepted: an accept that is asked for again must not fail. */
const ACCEPTED_MS = 7 * 86_400_000;

function place(): string {
  const { HOME: home = '/', XDG_STATE_HOME: state } = process.env;
  return join(state || join(home, '.local/state'), 'caisson-brought');
}

const fileOf = (sandbox: string): string => join(place(), `${sandbox}.json`);

/** Keeps it, whole or not at all, for this user only. */
export async function keepBrought(brought: Brought): Promise<void> {
  mkdirSync(place(), { recursive: true, mode: 0o700 });
  chmodSync(place(), 0o700);
  const beside = join(place(), `.${randomBytes(6).toString('hex')}`);
  {
    await using file = await open(beside, 'wx', 0o600);
    await file.writeFile(JSON.stringify(brought));
    await file.sync();
  }
  await rename(beside, fileOf(brought.sandbox));
}

/** What is known of the folder in this sandbox. @throws CaissonError USAGE when nothing was brought in by this user */
export function readBrought(sandbox: string): Brought {
  if (!/^sbx-[0-9a-z]{16}$/.test(sandbox)) throw new CaissonError('USAGE', { detail: `${sandbox} is not the id of a sandbox, as run --in prints it` });
  try {
    return JSON.parse(readFileSync(fileOf(sandbox), 'utf8')) as Brought;
  } catch (cause) {
    throw new CaissonError('USAGE', { detail: `${sandbox}: no folder was brought into it by this user, or it was discarded` }, { cause });
  }
}

/** What still can be accepted or discarded, the newest first. */
export function allBrought(): readonly (Brought & { readonly changedMs: number })[] {
  return broughtIds().flatMap((id) => {
    try {
      const [brought, { mtimeMs }] = [readBrought(id), statSync(fileOf(id))];
      return brought.accepted === true ? [] : [{ ...brought, changedMs: mtimeMs }];
    } catch {
      return []; // another command has just forgotten it
    }
  }).toSorted((a, b) => b.changedMs - a.changedMs);
}

/** Ids of the sandboxes that folders were brought into. */
function broughtIds(): readonly string[] {
  try {
    return readdirSync(place()).filter((name) => /^sbx-[0-9a-z]{16}\.json$/.test(name)).map((name) => name.slice(0, -5));
  } catch {
    return [];
  }
}

/** Keeps of it only that it was accepted, and forgets what was accepted long ago. */
export async function keepAccepted(brought: Brought): Promise<void> {
  await keepBrought({ ...brought, manifest: {}, accepted: true });
  for (const id of broughtIds()) {
    try {
      if (statSync(fileOf(id)).mtimeMs < Date.now() - ACCEPTED_MS && readBrought(id).accepted === true) forgetBrought(id);
    } catch {
      // another command has just forgotten it
    }
  }
}

export function forgetBrought(sandbox: string): void {
  rmSync(fileOf(sandbox), { force: true });
}
