import type { Change } from '@caisson/sdk';
import { isSame, partsBelow, type Seen } from './own-folder.ts';

/** One step of an accept. Every step may be made again after it was made: that is how a crash is made good. */
export type Step =
  /** Moves what is at a path away, into `old/` of the staging folder. */
  | { readonly do: 'take'; readonly path: string; readonly number: number }
  | { readonly do: 'remove-folder'; readonly path: string }
  | { readonly do: 'make-folder'; readonly path: string; readonly mode: number }
  /** Moves a file or link of `new/` in the staging folder to its path, in place of a file or link that is there. */
  | { readonly do: 'put'; readonly path: string; readonly number: number };

/** What is to be fetched before anything is done. */
export interface Wanted {
  readonly path: string;
  readonly number: number;
  readonly type: 'file' | 'symlink';
}

export interface Plan {
  readonly steps: readonly Step[];
  readonly wanted: readonly Wanted[];
  /** Paths that are not as they were when the folder was brought in, with what is there now. */
  readonly conflicts: readonly string[];
  /** What cannot be in a folder of this machine, and why. */
  readonly leftOut: readonly string[];
}

export interface Grounds {
  readonly changes: readonly Change[];
  /** What was brought in. */
  readonly manifest: Readonly<Record<string, Seen>>;
  /** What is in the folder now, at each path that changed. */
  readonly now: ReadonlyMap<string, Seen | null>;
}

/** The steps that make of the folder what the sandbox made of it, in an order in which each is possible. */
export function planAccept({ changes, manifest, now }: Grounds): Plan {
  const refused = new Map(changes.map((change) => [change, refusal(change)]));
  const leftOut = changes.filter((change) => refused.get(change) !== null).map((change) => `${change.path}: ${refused.get(change)}`);
  const taken = changes.filter((change) => refused.get(change) === null);
  const conflicts = taken.filter(({ path }) => hasConflict(path, manifest, now)).map(({ path }) => path);
  const byDepth = taken.toSorted((a, b) => a.path.split('/').length - b.path.split('/').length || (a.path < b.path ? -1 : 1));
  const steps: Step[] = [];
  const wanted: Wanted[] = [];
  for (const { path, kind, type } of byDepth.toReversed()) {
    const here = now.get(path) ?? null;
    const goes = kind === 'removed' || (here !== null && (here.type === 'directory') !== (type === 'directory'));
    if (!goes || here === null) continue;
    steps.push(here.type === 'directory' ? { do: 'remove-folder', path } : { do: 'take', path, number: steps.length });
  }
  for (const { path, kind, type, mode } of byDepth) {
    if (kind === 'removed') continue;
    if (type === 'directory') steps.push({ do: 'make-folder', path, mode: (mode & 0o777) | 0o700 });
    else {
      wanted.push({ path, number: steps.length, type: type as Wanted['type'] });
      steps.push({ do: 'put', path, number: steps.length });
    }
  }
  return { steps, wanted, conflicts, leftOut };
}

/** Why a change is not made here; null for one that is. */
function refusal({ path, type, kind, ...rest }: Change & { readonly pathBase64?: string }): string | null {
  if (rest.pathBase64 !== undefined) return 'its name is not UTF-8';
  const parts = partsBelow(path);
  if (parts === null || (kind !== 'removed' && type !== 'file' && type !== 'directory' && type !== 'symlink')) return `it is a ${type} that no folder here may hold`;
  return kind !== 'removed' && isRunByGit(parts, type) ? 'git would run what it names on this machine; look at it and copy it with ./caisson cp' : null;
}

/** In a folder of git: what it runs, or reads what to run from, without being asked to by anybody who has read it. */
const RUN_BY_GIT: ReadonlySet<string> = new Set(['hooks', 'config', 'config.worktree', 'commondir']);

/** Such a file, in a repository, a submodule's or a worktree's; or a `.git` that is no folder and says where another one is. */
function isRunByGit(parts: readonly string[], type: string): boolean {
  const at = parts.findIndex((part) => part.toLowerCase() === '.git');
  if (at === -1) return false;
  const inside = parts.slice(at + 1);
  if (inside.length === 0) return type !== 'directory';
  const isOwn = RUN_BY_GIT.has(inside[0] ?? '') || (inside.length === 1 && type === 'symlink');
  return isOwn || ((inside[0] === 'modules' || inside[0] === 'worktrees') && inside.slice(1).some((part) => RUN_BY_GIT.has(part)));
}

function hasConflict(path: string, manifest: Grounds['manifest'], now: Grounds['now']): boolean {
  const before = Object.hasOwn(manifest, path) ? manifest[path] : undefined;
  const here = now.get(path) ?? null;
  return before === undefined ? here !== null : !isSame(before, here);
}

/** Whether a link at a path leads to a place in the folder: names alone, after no more steps up than there are folders above it. */
export function leadsInside(path: string, target: string): boolean {
  const parts = target.split('/');
  const names = parts.findIndex((part) => part !== '..');
  const ups = names === -1 ? parts.length : names;
  return target !== '' && !target.startsWith('/') && ups < path.split('/').length && !parts.slice(ups).includes('..');
}
