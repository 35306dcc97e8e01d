import { createHash } from 'node:crypto';
import { canonicalJson, ENTRY_KINDS, SandboxState, type Json } from '@caisson/contract';
import { z } from 'zod';
import type { State } from './state.ts';

/** Version of the text; a change of what a state holds is another. */
const VERSION = 1;

const Count = z.int().min(0);
const Text = z.string();
const Nothing = Text.nullable();
const Names = z.array(Text);
const What = z.enum(['call', 'sandbox', 'exec']);
const Told = z.strictObject({ index: Count, subject: Text, what: Text });
const Failure = z.strictObject({ index: Count, timeMs: Count, subject: Text, ending: Text, detail: Text });

const Agent = z.strictObject({
  id: Text, calls: Count, sandboxes: Count, execs: Count, denials: Count, failures: Count, unknown: Count, connections: Count, requests: Count,
  bytesOut: Count, bytesIn: Count, refused: Count, firstIndex: Count, lastIndex: Count, lastTimeMs: Count, failed: z.array(Failure),
});
const Sandbox = z.strictObject({
  id: Text, agent: Text, what: z.enum(['call', 'sandbox']), state: SandboxState, level: Nothing, image: Text, network: Names.nullable(), secrets: Names,
  createdIndex: Count, createdMs: Count, execs: Count, refused: Count, bytesOut: Count, bytesIn: Count,
});
const Open = z.strictObject({ id: Text, what: What, agent: Text, sandbox: Text, program: Text, denied: z.boolean(), index: Count, timeMs: Count });
const Secret = z.strictObject({ id: Text, leases: Count, uses: Count, rotations: Count, revocations: Count });
const Snapshot = z.strictObject({ id: Text, sandbox: Text, memory: z.boolean(), index: Count });
const Held = z.strictObject({ id: Text, sandbox: Text, expiresMs: Count, index: Count });
const Run = z.strictObject({ id: Text, source: Text, highest: Count, gaps: z.array(z.tuple([Count, Count])), lost: Count, again: Count, lastIndex: Count });

/** The rows of a state: each is a table of the projection. */
export const ROWS = { agents: Agent, sandboxes: Sandbox, open: Open, secrets: Secret, snapshots: Snapshot, held: Held, runs: Run } as const;
export type RowsName = keyof typeof ROWS;
export const ROWS_NAMES = Object.keys(ROWS) as readonly RowsName[];

/** Rows that are given up in the order in which they came or reported last. */
const ORDERED: Readonly<Partial<Record<RowsName, string>>> = { snapshots: 'index', held: 'index', runs: 'lastIndex' };

/** What a state holds beside its rows. */
export const Rest = z.strictObject({
  version: z.literal(VERSION),
  entries: Count,
  kinds: z.record(z.enum(ENTRY_KINDS), Count),
  clock: z.strictObject({ highestMs: Count, backwards: Count }),
  policy: Nothing,
  unread: Count,
  totals: z.strictObject({ ended: Count, unknown: Count, alerts: Count, misfits: Count, workspacesRemoved: Count }),
  prepared: Names,
  ended: z.array(z.strictObject({ id: Text, what: What, agent: Text, sandbox: Text, ending: Text, index: Count, timeMs: Count })),
  alerts: z.array(Told),
  misfits: z.array(Told),
  pastRuns: z.strictObject({ runs: Count, missing: Count, again: Count }),
});

export type Row = { readonly id: string } & Readonly<Record<string, unknown>>;
export type RowsOf = Readonly<Record<RowsName, readonly Row[]>>;

export function restOf(state: State): z.infer<typeof Rest> {
  const { entries, kinds, clock, policy, unread, totals, prepared, ended, alerts, misfits, pastRuns } = state;
  return { version: VERSION, entries, kinds: { ...kinds }, clock, policy, unread, totals, prepared: [...prepared], ended: [...ended], alerts: [...alerts], misfits: [...misfits], pastRuns };
}

/** A state put together from its rows, in any order, and the rest. */
export function stateFrom(rest: z.infer<typeof Rest>, rows: RowsOf): State {
  const { entries, kinds, clock, policy, unread, totals, prepared, ended, alerts, misfits, pastRuns } = rest;
  const maps = ROWS_NAMES.map((name) => {
    const by = ORDERED[name];
    const ordered = by === undefined ? rows[name] : rows[name].toSorted((a, b) => Number(a[by]) - Number(b[by]));
    return [name, new Map(ordered.map((row) => [row.id, row]))] as const;
  });
  return { entries, kinds, clock, policy, unread, totals, prepared, ended, alerts, misfits, pastRuns, ...(Object.fromEntries(maps) as unknown as Pick<State, RowsName>) };
}

/** Canonical JSON of a state: rows by their ids, so that equal states give equal bytes in whatever order they came about. */
export function stateBytes(state: State): Buffer {
  const rows = ROWS_NAMES.map((name) => [name, [...state[name].values()].sort(({ id: a }, { id: b }) => (a < b ? -1 : a > b ? 1 : 0))]);
  return Buffer.from(canonicalJson({ ...restOf(state), ...Object.fromEntries(rows) } as Json));
}

/** SHA-256 of the bytes of a state, hex. */
export function stateHash(state: State): string {
  return createHash('sha256').update(stateBytes(state)).digest('hex');
}

const Whole = Rest.extend(Object.fromEntries(ROWS_NAMES.map((name) => [name, z.array(ROWS[name])])));

/** Reads the bytes of a state strictly: only what `stateBytes` gives is one. */
export function parseState(bytes: Buffer): State | { readonly bad: string } {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    return { bad: 'is not JSON' };
  }
  const read = Whole.safeParse(json);
  if (!read.success) return { bad: `is no state: ${read.error.issues[0]?.path.join('.') ?? ''} ${read.error.issues[0]?.message ?? ''}` };
  const whole = read.data as unknown as z.infer<typeof Rest> & RowsOf;
  const rest = Object.fromEntries(Object.entries(whole).filter(([name]) => !Object.hasOwn(ROWS, name))) as z.infer<typeof Rest>;
  const state = stateFrom(rest, whole);
  return stateBytes(state).equals(bytes) ? state : { bad: 'is not in canonical form' };
}
