import { lstat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { CaissonError, printable } from '@caisson/contract/errors';
import type { Change, Sandbox } from '@caisson/sdk';
import { leadsInside, planAccept, type Plan } from './accept-plan.ts';
import { makeStaging, makeSteps, readJournal, removeStaging, stageFile, stagingOf, writeJournal, type Journal } from './accept-steps.ts';
import { ask, type Api } from './api.ts';
import { keepAccepted, keepBrought, readBrought, type Brought } from './brought.ts';
import { changesOf, drop, openBrought, stateOf, withFiles } from './changes.ts';
import { isSame, lookAt, partsBelow, type Seen } from './own-folder.ts';
import { howFar, startProgress } from './progress.ts';
import type { Json } from './sandbox-commands.ts';
import { note, printJson } from './say.ts';
import { CHANGES_MOST } from './snapshot-commands.ts';

/** Paths that one refusal names at most. */
const NAMED_MOST = 20;

/**
 * Does to the folder what was done in the sandbox, all of it or nothing: everything is fetched and on disk before the first path
 * changes, and from then on a crash is made good by the next accept.
 *
 * @throws CaissonError FILE_CHANGED when the folder is not as it was brought in, without `force`
 */
export async function accept(id: string, { force, keep, json }: Json & { readonly force?: boolean; readonly keep?: boolean }): Promise<number> {
  const { accepted: isOver, folder } = readBrought(id);
  if (isOver === true) return said({ id, folder, accepted: 0, completed: false, leftOut: [], kept: null }, json);
  const api = await openBrought(readBrought(id));
  const completed = await recover(api, readBrought(id));
  const brought = readBrought(id);
  await checkFolder(brought);
  const staging = stagingOf(brought.folder, id);
  const state = await stateOf(api, brought);
  if (state === 'running' || state === 'paused') throw new CaissonError('USAGE', { detail: `${id} is ${state}: close it with ./caisson rm ${id} first` });
  const { changes, truncated } = await changesOf(api, brought);
  if (truncated) throw new CaissonError('USAGE', { detail: `${id} has more than ${CHANGES_MOST} changes; copy what is wanted with ./caisson cp` });
  const now = await lookAtAll(brought.folder, changes);
  const plan = planAccept({ changes, manifest: brought.manifest, now });
  if (plan.conflicts.length > 0 && force !== true) throw changedSince(brought, plan.conflicts);
  const outside: string[] = [];
  if (plan.steps.length > 0) {
    const untouched = async (): Promise<void> => {
      const later = force === true ? now : await lookAtAll(brought.folder, changes);
      const touched = [...now].filter(([path, seen]) => !isUntouched(seen, later.get(path) ?? null)).map(([path]) => path);
      if (touched.length > 0) throw changedSince(brought, touched);
    };
    const journal = await staged(api, brought, { plan, staging, outside, untouched }).catch(async (error: unknown) => {
      await removeStaging(staging);
      throw error;
    });
    await finish(api, brought, journal, staging);
  }
  const leftOut = [...plan.leftOut, ...outside];
  const kept = keep === true || leftOut.length > 0 ? brought.workspace : await dropped(api, readBrought(id));
  return said({ id, folder: brought.folder, accepted: plan.steps.length - outside.length, completed, leftOut, kept }, json);
}

interface Accepted {
  readonly id: string;
  readonly folder: string;
  readonly accepted: number;
  readonly completed: boolean;
  readonly leftOut: readonly string[];
  /** The workspace, where it stays. */
  readonly kept: string | null;
}

function said({ id, folder, accepted, completed, leftOut, kept }: Accepted, json: boolean | undefined): number {
  if (json === true) printJson({ sandbox: id, folder, accepted, completed, leftOut, kept });
  for (const each of leftOut) note(`left out ${printable(each)}`);
  if (json === true) return 0;
  note(`${accepted} ${accepted === 1 ? 'change' : 'changes'} accepted into ${printable(folder)}${completed ? ', after one that had been cut off' : ''}`);
  if (kept !== null) note(`workspace ${kept} stays until ./caisson discard ${id}`);
  return 0;
}

/** Removes what is with Caisson, because the folder has all of it. The workspace stays where another sandbox works in it. */
async function dropped(api: Api, brought: Brought): Promise<string | null> {
  await keepAccepted(brought); // first: without its workspace it must never be taken for a folder whose files were all removed
  try {
    await drop(api, brought);
  } catch (error) {
    await keepBrought(brought);
    if ((error as { readonly code?: unknown }).code !== 'WORKSPACE_ATTACHED') throw error;
    return brought.workspace;
  }
  return null;
}

/** What is at each path that changed. Below what is no folder here, but becomes one, there is nothing. */
async function lookAtAll(folder: string, changes: readonly Change[]): Promise<ReadonlyMap<string, Seen | null>> {
  const now = new Map<string, Seen | null>();
  const becoming: string[] = [];
  for (const { path, kind, type } of changes.toSorted((a, b) => a.path.split('/').length - b.path.split('/').length)) {
    if (partsBelow(path) === null) continue;
    const seen = becoming.some((above) => path.startsWith(`${above}/`)) ? null : await lookAt(folder, path);
    now.set(path, seen);
    if (seen !== null && seen.type !== 'directory' && kind !== 'removed' && type === 'directory') becoming.push(path);
  }
  return now;
}

/** Completes an accept that was cut off after its journal was written, and forgets one that was cut off before. */
async function recover(api: Api, brought: Brought): Promise<boolean> {
  const staging = stagingOf(brought.folder, brought.sandbox);
  const journal = await readJournal(staging);
  if (journal === null) {
    await removeStaging(staging);
    return false;
  }
  await checkFolder(brought);
  await finish(api, brought, journal, staging);
  return true;
}

async function checkFolder({ folder, device, inode }: Brought): Promise<void> {
  const stats = await lstat(folder, { bigint: true }).catch(() => null);
  if (stats?.isDirectory() !== true || String(stats.dev) !== device || `${stats.ino}@${stats.birthtimeNs}` !== inode) {
    throw new CaissonError('FILE_CHANGED', { path: folder, detail: 'it is not the folder that was brought in' });
  }
}

function changedSince({ folder }: Brought, conflicts: readonly string[]): CaissonError {
  const named = conflicts.slice(0, NAMED_MOST).join(', ');
  const more = conflicts.length > NAMED_MOST ? ` and ${conflicts.length - NAMED_MOST} more` : '';
  return new CaissonError('FILE_CHANGED', { path: folder, detail: `since it was brought in: ${named}${more}; --force accepts over them` });
}

function isUntouched(before: Seen | null, now: Seen | null): boolean {
  return before === null ? now === null : isSame(before, now);
}

interface Staging {
  readonly plan: Plan;
  readonly staging: string;
  readonly outside: string[];
  /** Looks at the folder again. @throws CaissonError FILE_CHANGED */
  untouched(): Promise<void>;
}

/** Fetches everything, and writes the journal. Fetching takes as long as the sandbox has made it, and meanwhile people work on in the folder. */
async function staged(api: Api, brought: Brought, { plan, staging, outside, untouched }: Staging): Promise<Journal> {
  const { folder, sandbox, base, manifest } = brought;
  await makeStaging(folder, staging);
  return withFiles(api, brought, async (box) => {
    await fetched(box, plan, staging, outside);
    await untouched();
    const { id } = await box.snapshot({ label: 'accepted' });
    const journal: Journal = { version: 1, sandbox, steps: plan.steps, base: { old: base, new: id }, manifest };
    await writeJournal(staging, journal);
    return journal;
  });
}

/** A link that leads outside is not made: programs of this machine would write through it. Its step then finds nothing to put. */
async function fetched(box: Sandbox, { wanted }: Plan, staging: string, outside: string[]): Promise<void> {
  using progress = startProgress();
  let done = 0;
  let bytes = 0;
  for (const { path, number, type } of wanted) {
    const at = join(staging, 'new', String(number));
    const info = await box.files.stat(path);
    if (info.type !== type) throw new CaissonError('FILE_CHANGED', { path, detail: 'in the sandbox, while it was accepted' });
    if (type === 'file') await stageFile(at, await box.files.readStream(path) as AsyncIterable<Uint8Array>, info.mode);
    else if (info.target !== undefined && leadsInside(path, info.target)) await symlink(info.target, at);
    else outside.push(`${path}: it is a link that leads outside the folder`);
    bytes += info.sizeBytes;
    progress.tell(howFar('fetched', ++done, bytes));
  }
}

/** Makes the steps, and takes what the folder then is as what was brought in. */
async function finish({ connection }: Api, brought: Brought, journal: Journal, staging: string): Promise<void> {
  const kept = await makeSteps(brought.folder, staging, journal.steps);
  const manifest = { ...journal.manifest } as Record<string, Seen>;
  for (const { path } of journal.steps) {
    const seen = await lookAt(brought.folder, path);
    if (seen === null) delete manifest[path];
    else manifest[path] = seen;
  }
  await keepBrought({ ...brought, base: journal.base.new, manifest });
  await removeStaging(staging);
  await ask(connection, { method: 'DELETE', path: `/v1/snapshots/${journal.base.old}` }).catch(() => undefined); // it costs room, nothing else
  for (const path of kept) note(`${printable(path)}/ stays: there is something in it that was not brought in`);
}
