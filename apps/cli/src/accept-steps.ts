import { lchown, lstat, mkdir, open, readFile, rename, rm, rmdir, chmod } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CaissonError } from '@caisson/contract/errors';
import type { Step } from './accept-plan.ts';
import { openFolder, openParent, within, type Seen } from './own-folder.ts';

/** What is on disk before the first step is made, so that after a crash the rest can be made. */
export interface Journal {
  readonly version: 1;
  readonly sandbox: string;
  readonly steps: readonly Step[];
  readonly base: { readonly old: string; readonly new: string };
  readonly manifest: Readonly<Record<string, Seen>>;
}

/** Beside the folder, so that a rename leads from one into the other. */
export function stagingOf(folder: string, sandbox: string): string {
  return join(dirname(folder), `.${basename(folder)}.caisson-${sandbox}`);
}

/** Makes the staging folder. @throws CaissonError FILE_DENIED when it cannot lie beside the folder, on the same file system */
export async function makeStaging(folder: string, staging: string): Promise<void> {
  await mkdir(staging, { mode: 0o700 }).catch((cause: NodeJS.ErrnoException) => {
    throw new CaissonError('FILE_DENIED', { path: staging, detail: `${cause.code}; accept puts everything there first, beside the folder` }, { cause });
  });
  const [there, here] = [await lstat(staging), await lstat(folder)];
  if (there.dev !== here.dev) {
    await rm(staging, { recursive: true });
    throw new CaissonError('FILE_DENIED', { path: folder, detail: 'it is a file system of its own, and nothing can be moved into it in one step' });
  }
  await mkdir(join(staging, 'new'));
  await mkdir(join(staging, 'old'));
}

/** From here on the accept is made, whatever happens. */
export async function writeJournal(staging: string, journal: Journal): Promise<void> {
  for (const name of ['new', 'old']) await syncFolder(join(staging, name));
  {
    await using file = await open(join(staging, 'journal.part'), 'wx', 0o600);
    await file.writeFile(JSON.stringify(journal));
    await file.sync();
  }
  await rename(join(staging, 'journal.part'), join(staging, 'journal.json'));
  await syncFolder(staging);
  await syncFolder(dirname(staging));
}

/** The journal of an accept that was begun; null when none was. @throws CaissonError FILE_DENIED when another user made the staging folder */
export async function readJournal(staging: string): Promise<Journal | null> {
  const stats = await lstat(staging).catch(() => null);
  if (stats === null) return null;
  if (!stats.isDirectory() || stats.uid !== process.getuid?.()) throw new CaissonError('FILE_DENIED', { path: staging, detail: 'it is not a folder of this user' });
  return readFile(join(staging, 'journal.json'), 'utf8').then((text) => JSON.parse(text) as Journal, (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}

/** The accept is over: what is left goes, and cannot be made again. */
export async function removeStaging(staging: string): Promise<void> {
  await rename(join(staging, 'journal.json'), join(staging, 'done.json')).catch(() => undefined); // there is none before the first step
  await rm(staging, { recursive: true, force: true });
}

/**
 * Makes the steps. A step that was made before does nothing. No step passes a symbolic link: each begins at the folder and goes
 * through descriptors.
 *
 * @returns folders that were to go and stay, because there is something in them
 * @throws CaissonError FILE_DENIED when a folder on the way is a link; then the rest can be made by accepting again
 */
export async function makeSteps(folder: string, staging: string, steps: readonly Step[]): Promise<readonly string[]> {
  const kept: string[] = [];
  const parents = new Set<string>();
  const { uid, gid } = await lstat(folder);
  const owner = process.getuid?.() === 0 ? { uid, gid } : null;
  for (const step of steps) {
    // Its number names a file of the staging folder: a journal that says a path there would lead out of it.
    if ('number' in step && !Number.isSafeInteger(step.number)) throw new CaissonError('FILE_DENIED', { path: step.path, detail: 'the journal of the accept is not one of ours' });
    const found = await openParent(folder, step.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' && (step.do === 'take' || step.do === 'remove-folder')) return null; // it went with the folder above it
      throw error;
    });
    if (found === null) continue;
    await using above = found.folder;
    if (!(await makeStep(step, { at: within(above, found.name), staging, owner }))) kept.push(step.path);
    parents.add(dirname(step.path));
  }
  for (const parent of parents) await syncBelow(folder, parent);
  return kept;
}

interface Where {
  readonly at: string;
  readonly staging: string;
  /** To whom what root puts there belongs. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
}

/** False when the path stays, because there is something in it. */
async function makeStep(step: Step, { at, staging, owner }: Where): Promise<boolean> {
  switch (step.do) {
    case 'take': {
      const aside = join(staging, 'old', String(step.number));
      if ((await lstat(aside).catch(() => null)) === null) await rename(at, aside).catch(whenGone);
      return true;
    }
    case 'remove-folder':
      return rmdir(at).then(() => true, (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return true;
        if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') return false;
        throw error;
      });
    case 'make-folder': {
      await mkdir(at).catch((error: NodeJS.ErrnoException) => (error.code === 'EEXIST' ? undefined : Promise.reject(error)));
      await using made = await openFolder(at);
      if (owner !== null) await made.chown(owner.uid, owner.gid);
      await made.chmod(step.mode);
      return true;
    }
    case 'put': {
      const ready = join(staging, 'new', String(step.number));
      if ((await lstat(ready).catch(() => null)) === null) return true;
      if (owner !== null) await lchown(ready, owner.uid, owner.gid);
      await rename(ready, at);
      return true;
    }
  }
}

function whenGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Writes a file of the staging folder to disk. Bits that lend its owner's rights are not among its mode. */
export async function stageFile(path: string, content: AsyncIterable<Uint8Array>, mode: number): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  for await (const piece of content) await file.writeFile(piece);
  await file.sync();
  await chmod(path, mode & 0o777);
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await openFolder(path);
  await folder.sync();
}

async function syncBelow(root: string, path: string): Promise<void> {
  try {
    const { folder } = await openParent(root, path === '.' ? 'any' : `${path}/any`);
    await using opened = folder;
    await opened.sync();
  } catch (error) {
    whenGone(error as NodeJS.ErrnoException);
  }
}
