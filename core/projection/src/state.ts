import { ENTRY_KINDS, type EntryKind, type SandboxState } from '@caisson/contract';
import type { Run } from './runs.ts';

/** How many of what has ended or went wrong a state keeps, the latest. They are part of the state: another number is another state. */
export const KEPT = { ended: 64, failures: 20, alerts: 32, misfits: 16, prepared: 256, held: 256, snapshots: 1024, runs: 64 } as const;

/** A call, a sandbox or an exec that did not come to a good end. */
export interface Failure {
  /** Entry that tells it. */
  readonly index: number;
  readonly timeMs: number;
  readonly subject: string;
  /** Kind of its ending, such as `refused`, `failed`, `timed-out` or `unknown`. */
  readonly ending: string;
  readonly detail: string;
}

/** Who calls, and what came of it. Every identity that ever called stays: they are those of the policy. */
export interface Agent {
  readonly id: string;
  readonly calls: number;
  readonly sandboxes: number;
  readonly execs: number;
  /** Intents that were refused. */
  readonly denials: number;
  /** Ended otherwise than by their own exit, a close or a refusal. */
  readonly failures: number;
  /** Of these, what nobody knows the end of. */
  readonly unknown: number;
  readonly connections: number;
  readonly requests: number;
  readonly bytesOut: number;
  readonly bytesIn: number;
  /** Attempts that the gate refused. */
  readonly refused: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly lastTimeMs: number;
  readonly failed: readonly Failure[];
}

/** A sandbox that has not ended: one that stays, or that of a call. */
export interface Sandbox {
  readonly id: string;
  readonly agent: string;
  readonly what: 'call' | 'sandbox';
  readonly state: SandboxState;
  readonly level: string | null;
  readonly image: string;
  /** Names of its rules; null: it has no network. */
  readonly network: readonly string[] | null;
  /** Secrets that are leased to it. */
  readonly secrets: readonly string[];
  readonly createdIndex: number;
  readonly createdMs: number;
  readonly execs: number;
  readonly refused: number;
  /** What has been told of connections that ended, since the gate was last told to forget it. */
  readonly bytesOut: number;
  readonly bytesIn: number;
}

/** An intent that has no outcome. */
export interface Open {
  readonly id: string;
  readonly what: 'call' | 'sandbox' | 'exec';
  readonly agent: string;
  /** Where an exec runs; of others their own id. */
  readonly sandbox: string;
  readonly program: string;
  readonly denied: boolean;
  readonly index: number;
  readonly timeMs: number;
}

export interface Ended {
  readonly id: string;
  readonly what: Open['what'];
  readonly agent: string;
  readonly sandbox: string;
  readonly ending: string;
  readonly index: number;
  readonly timeMs: number;
}

export interface Secret {
  readonly id: string;
  readonly leases: number;
  readonly uses: number;
  readonly rotations: number;
  readonly revocations: number;
}

export interface Snapshot {
  readonly id: string;
  readonly sandbox: string;
  readonly memory: boolean;
  readonly index: number;
}

/** An attempt that waits for a decision. */
export interface Held {
  readonly id: string;
  readonly sandbox: string;
  readonly expiresMs: number;
  readonly index: number;
}

export interface Told {
  readonly index: number;
  readonly subject: string;
  readonly what: string;
}

/** All that follows from the entries of a log up to one of them. Plain data: integers, text and nothing of this machine. */
export interface State {
  /** Entries folded; the next is that of this index. */
  readonly entries: number;
  readonly kinds: Readonly<Record<EntryKind, number>>;
  /** The highest time that an entry has, and how many entries have one below that of an entry before them. */
  readonly clock: { readonly highestMs: number; readonly backwards: number };
  /** Digest of the policy that the last intent was decided by. */
  readonly policy: string | null;
  /** Entries whose body is none that this version knows. */
  readonly unread: number;
  readonly totals: { readonly ended: number; readonly unknown: number; readonly alerts: number; readonly misfits: number; readonly workspacesRemoved: number };
  readonly agents: ReadonlyMap<string, Agent>;
  readonly sandboxes: ReadonlyMap<string, Sandbox>;
  readonly open: ReadonlyMap<string, Open>;
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly snapshots: ReadonlyMap<string, Snapshot>;
  readonly held: ReadonlyMap<string, Held>;
  /** Prepared sandboxes that nobody has claimed, the latest. */
  readonly prepared: readonly string[];
  readonly ended: readonly Ended[];
  readonly alerts: readonly Told[];
  /** What does not follow from what came before it. */
  readonly misfits: readonly Told[];
  readonly runs: ReadonlyMap<string, Run>;
  /** Runs that are no longer kept one by one. */
  readonly pastRuns: { readonly runs: number; readonly missing: number; readonly again: number };
}

export function emptyState(): State {
  return {
    entries: 0,
    kinds: Object.fromEntries(ENTRY_KINDS.map((kind) => [kind, 0])) as Record<EntryKind, number>,
    clock: { highestMs: 0, backwards: 0 },
    policy: null,
    unread: 0,
    totals: { ended: 0, unknown: 0, alerts: 0, misfits: 0, workspacesRemoved: 0 },
    agents: new Map(), sandboxes: new Map(), open: new Map(), secrets: new Map(), snapshots: new Map(), held: new Map(),
    prepared: [], ended: [], alerts: [], misfits: [],
    runs: new Map(),
    pastRuns: { runs: 0, missing: 0, again: 0 },
  };
}
