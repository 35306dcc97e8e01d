import { CaissonError } from '@caisson/contract';
import { readOwn, replaceWhole, type Sync } from './folder.ts';

/** That keys are gone, and since when: all that a tenant had under one name, or all of segments below one. */
type Tombstone = { readonly name: string; readonly erasedMs: number } | { readonly before: number; readonly erasedMs: number };

/** What was erased from a ring. It only grows. */
export interface Erased {
  /** Names of tenants, as key ids have them. */
  readonly names: ReadonlyMap<string, number>;
  /** In the order of time. */
  readonly before: readonly { readonly before: number; readonly erasedMs: number }[];
}

const pathOf = (dir: string): string => `${dir}/erased.jsonl`;

/** @throws CaissonError EVIDENCE_UNAVAILABLE where the file cannot be read as what it is: a key could be made anew. */
export async function readErased(dir: string): Promise<Erased> {
  const names = new Map<string, number>();
  const before: { before: number; erasedMs: number }[] = [];
  for (const line of ((await readOwn(pathOf(dir))) ?? '').split('\n').slice(0, -1)) {
    const stone = parsed(line);
    if ('name' in stone) names.set(stone.name, stone.erasedMs);
    else before.push(stone);
  }
  return { names, before };
}

/** Durable when this resolves, and before any key is destroyed. */
export async function addTombstone(dir: string, stone: Tombstone, sync: Sync): Promise<Erased> {
  await replaceWhole(pathOf(dir), `${(await readOwn(pathOf(dir))) ?? ''}${JSON.stringify(stone)}\n`, sync);
  return readErased(dir);
}

/** When the key was erased, in milliseconds since 1970 UTC; null: it was not. */
export function erasedMs({ names, before }: Erased, { name, segment }: { readonly name: string; readonly segment: number | null }): number | null {
  const ofName = names.get(name);
  if (ofName !== undefined) return ofName;
  return segment === null ? null : (before.find((stone) => segment < stone.before)?.erasedMs ?? null);
}

function parsed(line: string): Tombstone {
  try {
    const stone = JSON.parse(line) as { readonly name?: unknown; readonly before?: unknown; readonly erasedMs?: unknown };
    const isName = typeof stone.name === 'string';
    if (Number.isSafeInteger(stone.erasedMs) && (isName || Number.isSafeInteger(stone.before))) return stone as Tombstone;
  } catch {
    // as below
  }
  throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: 'what was erased from the key ring cannot be read' });
}
