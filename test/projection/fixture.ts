import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry } from '@caisson/contract';
import { emptyState, foldAll, openProjection, parseState, PointerCheck, stateBytes, stateHash, type BadPointer, type State } from '@caisson/projection';
import { folder as temporary, logged } from './given.ts';

export interface Replayed {
  readonly entries: number;
  /** Hash of the state after half of the entries. */
  readonly halfway: string;
  readonly hash: string;
  readonly bad: readonly BadPointer[];
}

type Way = (state: State, entries: readonly Entry[]) => State;

/** How a state may come about; all give the same. */
const WAYS: readonly Way[] = [foldAll, oneByOne, throughBytes, throughDatabase];

/** The entries of a folder's log.jsonl. */
export function readFixture(folder: string): readonly Entry[] {
  return readFileSync(join(folder, 'log.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Entry);
}

/** Replays the log of a folder, the n-th time in another way than before, and follows its pointers. */
export function replayFixture(folder: string, time = 0): Replayed {
  const entries = readFixture(folder);
  const check = new PointerCheck();
  const bad = entries.flatMap((entry) => check.check(entry));
  const way = WAYS[time % WAYS.length] ?? foldAll;
  const half = way(emptyState(), entries.slice(0, entries.length / 2));
  const hash = stateHash(way(half, entries.slice(entries.length / 2)));
  return { entries: entries.length, halfway: stateHash(half), hash, bad };
}

function oneByOne(state: State, entries: readonly Entry[]): State {
  return entries.reduce((before, entry) => foldAll(before, [entry]), state);
}

/** As who goes on from a checkpoint, again and again. */
function throughBytes(state: State, entries: readonly Entry[]): State {
  let reached = state;
  for (let at = 0; at < entries.length; at += 50) {
    const read = parseState(stateBytes(foldAll(reached, entries.slice(at, at + 50))));
    if ('bad' in read) throw new Error(`a state that cannot be read again: ${read.bad}`);
    reached = read;
  }
  return reached;
}

/** As a database that is opened again and again. Only a state from the start can be one. */
function throughDatabase(state: State, entries: readonly Entry[]): State {
  if (state.entries > 0) return foldAll(state, entries);
  using place = temporary();
  const path = join(place.path, 'projection.db');
  const lines = logged(entries);
  for (let at = 0; at < lines.length; at += 50) {
    using projection = openProjection(path);
    projection.apply(lines.slice(at, at + 50));
  }
  using projection = openProjection(path);
  return projection.state;
}
