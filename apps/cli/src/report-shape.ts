import { PointerCheck } from '@caisson/projection';
import { newRows, newSample, type Rows, type Sample } from './report-rows.ts';

/** Which entries of a log are counted: of a span of the scribe's clock, from `sinceMs` to before `untilMs`, and of one agent. */
export interface Filter {
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  readonly agent?: string | undefined;
}

export interface AgentRow {
  readonly agent: string;
  calls: number;
  sandboxes: number;
  execs: number;
  denied: number;
  /** Ended otherwise than by their own exit, a close, a cancellation or a refusal; what is unknown among them. */
  failed: number;
  unknown: number;
  connections: number;
  requests: number;
  refused: number;
  /** Of connections that have ended. */
  bytesOut: number;
  bytesIn: number;
}

export interface SecretRow {
  readonly secret: string;
  leases: number;
  uses: number;
  rotations: number;
  revocations: number;
}

export interface AllowedRow {
  readonly to: string;
  connections: number;
  requests: number;
  notConnected: number;
}

export interface RefusedRow {
  readonly to: string;
  readonly what: string;
  /** Of the first refusal. */
  readonly rule: string | null;
  readonly reason: string;
  count: number;
}

/** An entry that is listed by itself. */
export interface Listed {
  readonly index: number;
  readonly timeMs: number;
  readonly subject: string;
  readonly agent: string | null;
}

export interface Denial extends Listed {
  readonly what: 'call' | 'sandbox' | 'exec';
  readonly program: string;
  readonly rule: string;
  readonly reason: string;
}

export interface Who {
  readonly agent: string;
  readonly what: 'call' | 'sandbox' | 'exec' | null;
  readonly index: number;
  readonly timeMs: number;
}

interface RunRow {
  readonly run: string;
  readonly source: string;
  entries: number;
  highest: number;
}

export interface Place {
  readonly index: number;
  readonly timeMs: number;
}

/** What a report counts. Bounded but for the intents that are open, which the log itself bounds. */
export interface Tally {
  readonly filter: Filter;
  /** Of the whole log. */
  readonly open: Map<string, Who>;
  readonly ended: Map<string, Who>;
  readonly runs: Rows<RunRow>;
  readonly pointers: PointerCheck;
  readonly badPointers: Sample<{ readonly index: number; readonly subject: string; readonly why: string }>;
  clock: { highestMs: number; backwards: number };
  lastMs: number | null;
  /** Of the entries that the filter leaves. */
  entries: number;
  span: { readonly first: Place; readonly last: Place } | null;
  readonly kinds: Rows<{ readonly name: string; count: number }>;
  readonly decisions: Rows<{ readonly effect: string; readonly rule: string; count: number }>;
  readonly endings: Rows<{ readonly name: string; count: number }>;
  readonly agents: Rows<AgentRow>;
  readonly secrets: Rows<SecretRow>;
  readonly allowed: Rows<AllowedRow>;
  readonly refused: Rows<RefusedRow>;
  readonly approvals: Rows<{ readonly name: string; count: number }>;
  readonly denied: Sample<Denial>;
  readonly unknown: Sample<Listed & { readonly detail: string }>;
  readonly alerts: Sample<Listed & { readonly alert: string; readonly severity: string | null; readonly reason: string }>;
  readonly unread: Sample<Listed>;
  sealed: number;
}

export function newTally(filter: Filter): Tally {
  return {
    filter,
    open: new Map(), ended: new Map(), runs: newRows(1024), pointers: new PointerCheck(), badPointers: newSample(), clock: { highestMs: 0, backwards: 0 }, lastMs: null,
    entries: 0, span: null, kinds: newRows(64), decisions: newRows(256), endings: newRows(64), agents: newRows(1024), secrets: newRows(1024),
    allowed: newRows(4096), refused: newRows(4096), approvals: newRows(16), denied: newSample(), unknown: newSample(), alerts: newSample(), unread: newSample(), sealed: 0,
  };
}
