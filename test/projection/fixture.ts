import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry } from '@caisson/contract';
import { emptyState, foldAll, PointerCheck, stateHash, type BadPointer } from '@caisson/projection';

export interface Replayed {
  readonly entries: number;
  /** Hash of the state after half of the entries. */
  readonly halfway: string;
  readonly hash: string;
  readonly bad: readonly BadPointer[];
}

/** The entries of a folder's log.jsonl. */
export function readFixture(folder: string): readonly Entry[] {
  return readFileSync(join(folder, 'log.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Entry);
}

/** Replays the log of a folder and follows its pointers. */
export function replayFixture(folder: string): Replayed {
  const entries = readFixture(folder);
  const check = new PointerCheck();
  const bad = entries.flatMap((entry) => check.check(entry));
  const half = foldAll(emptyState(), entries.slice(0, entries.length / 2));
  return { entries: entries.length, halfway: stateHash(half), hash: stateHash(foldAll(half, entries.slice(entries.length / 2))), bad };
}
