import { createHash } from 'node:crypto';
import type { Level } from '@caisson/contract';
import type { Process, Sandbox } from '@caisson/sdk';

/** Digest of each file by its path. */
export type Files = ReadonlyMap<string, string>;

/** What a workspace may hold: one content, or several when an operation was cut off and nobody knows how far it came. */
export type Contents = readonly Files[];

/** A command that was left running, and what it will have printed. */
export interface Background {
  readonly process: Process;
  readonly expected: string;
}

export interface ModelBox {
  readonly sandbox: Sandbox;
  readonly level: Level;
  readonly workspace: string | null;
  readonly sizeBytes: number;
  state: 'running' | 'paused';
  contents: Contents;
  background: Background | null;
  /** Restored ones have another machine than their id says. */
  restored: boolean;
}

export interface ModelSnapshot {
  readonly contents: Contents;
  readonly sizeBytes: number;
}

/** What must be true of the instance. */
export interface Model {
  readonly boxes: Map<string, ModelBox>;
  /** Workspaces with a name that no sandbox has now. */
  readonly named: Map<string, Contents>;
  readonly snapshots: Map<string, ModelSnapshot>;
}

/** What may have come of an operation that was cut off; it is found by the label that it gave. */
export interface Pending {
  readonly box?: Omit<ModelBox, 'sandbox' | 'state' | 'background' | 'restored'>;
  readonly snapshot?: ModelSnapshot;
  /** The sandbox that may be gone. */
  readonly mayEnd?: string;
  /** The snapshot that may be removed. */
  readonly mayVanish?: string;
}

export const SMALL_BYTES = 2 ** 25;
export const EMPTY: Contents = [new Map()];

export const digest = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** Contents that differ, each once. */
export function union(...all: readonly Contents[]): Contents {
  const keyed = new Map(all.flat().map((files) => [keyOf(files), files]));
  return [...keyed.values()];
}

export function keyOf(files: Files): string {
  return JSON.stringify([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The same files but one. */
export function withFile(files: Files, path: string, sha256: string): Files {
  return new Map([...files, [path, sha256]]);
}

export function withoutFile(files: Files, path: string): Files {
  return new Map([...files].filter(([name]) => name !== path));
}
