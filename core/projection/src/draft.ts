import { nextState, type SandboxEvent } from '@caisson/contract';
import { KEPT, type Agent, type Failure, type Sandbox, type Secret, type State } from './state.ts';

/** A state that is being made: its maps are its own, what they hold is replaced and never changed. */
export type Draft = {
  -readonly [Field in keyof State]: State[Field] extends ReadonlyMap<string, infer Row> ? Map<string, Row> : State[Field];
};

export function draftOf(state: State): Draft {
  return {
    ...state,
    agents: new Map(state.agents), sandboxes: new Map(state.sandboxes), open: new Map(state.open), secrets: new Map(state.secrets),
    snapshots: new Map(state.snapshots), held: new Map(state.held), runs: new Map(state.runs),
  };
}

/** Where an entry stands. */
export interface At {
  readonly index: number;
  readonly timeMs: number;
  readonly subject: string;
}

const TEXT_MOST = 256;
const NAMES_MOST = 256;

/** Text of an entry as a state holds it: well-formed, NFC and of bounded length, so that it reads back to itself. */
export function plain(text: string): string {
  return text.toWellFormed().normalize('NFC').slice(0, TEXT_MOST).toWellFormed();
}

export function plainNames(names: readonly string[]): readonly string[] {
  return names.slice(0, NAMES_MOST).map(plain);
}

/** A sum that stays an exact integer whatever is added. */
export function plus(...counts: readonly number[]): number {
  return counts.reduce((sum, more) => Math.min(Number.MAX_SAFE_INTEGER, sum + more), 0);
}

export function latest<Item>(items: readonly Item[], item: Item, most: number): readonly Item[] {
  return items.length < most ? [...items, item] : [...items.slice(items.length - most + 1), item];
}

/** Keeps the latest rows of a map, in the order in which they came. */
export function putLatest<Row extends { readonly id: string }>(rows: Map<string, Row>, row: Row, most: number): void {
  rows.delete(row.id);
  rows.set(row.id, row);
  const [oldest] = rows.keys();
  if (rows.size > most && oldest !== undefined) rows.delete(oldest);
}

type Count = 'calls' | 'sandboxes' | 'execs' | 'denials' | 'failures' | 'unknown' | 'connections' | 'requests' | 'bytesOut' | 'bytesIn' | 'refused';

function newAgent(id: string, { index, timeMs }: At): Agent {
  return {
    id, calls: 0, sandboxes: 0, execs: 0, denials: 0, failures: 0, unknown: 0, connections: 0, requests: 0, bytesOut: 0, bytesIn: 0, refused: 0,
    firstIndex: index, lastIndex: index, lastTimeMs: timeMs, failed: [],
  };
}

/** Adds to what is counted of an agent. */
export function count(draft: Draft, id: string, at: At, more: Partial<Readonly<Record<Count, number>>>): void {
  const agent = draft.agents.get(id) ?? newAgent(id, at);
  const counts = Object.entries(more).map(([name, number]) => [name, plus(agent[name as Count], number)]);
  draft.agents.set(id, { ...agent, ...(Object.fromEntries(counts) as Partial<Agent>), lastIndex: at.index, lastTimeMs: at.timeMs });
}

export function addFailure(draft: Draft, id: string, failure: Failure): void {
  const agent = draft.agents.get(id);
  if (agent !== undefined) draft.agents.set(id, { ...agent, failed: latest(agent.failed, failure, KEPT.failures) });
}

export function changeSandbox(draft: Draft, id: string, change: Partial<Sandbox>): void {
  const sandbox = draft.sandboxes.get(id);
  if (sandbox !== undefined) draft.sandboxes.set(id, { ...sandbox, ...change });
}

export function changeSecret(draft: Draft, name: string, field: 'leases' | 'uses' | 'rotations' | 'revocations'): void {
  const id = plain(name);
  const secret: Secret = draft.secrets.get(id) ?? { id, leases: 0, uses: 0, rotations: 0, revocations: 0 };
  draft.secrets.set(id, { ...secret, [field]: plus(secret[field], 1) });
}

/** Counts what does not follow from what came before, and keeps the latest of it. */
export function misfit(draft: Draft, { index, subject }: At, what: string): void {
  draft.totals = { ...draft.totals, misfits: draft.totals.misfits + 1 };
  draft.misfits = latest(draft.misfits, { index, subject, what: plain(what) }, KEPT.misfits);
}

/** Moves a sandbox by the table of its life. */
export function move(draft: Draft, id: string, event: SandboxEvent, at: At): void {
  const sandbox = draft.sandboxes.get(id);
  if (sandbox === undefined) return;
  const state = nextState(sandbox.state, event);
  if (state === null) return misfit(draft, at, `${event} of a sandbox that is ${sandbox.state}`);
  draft.sandboxes.set(id, { ...sandbox, state });
}

/** A sandbox of which something is told that only one that has started does: its start itself is no entry. */
export function hasStarted(draft: Draft, id: string, at: At): void {
  const state = draft.sandboxes.get(id)?.state;
  if (state === 'creating' || state === 'restoring') move(draft, id, 'started', at);
}

/** What runs commands is not paused: an entry of a pause is written before it is tried, and it may have failed. */
export function isRunning(draft: Draft, id: string, at: At): void {
  hasStarted(draft, id, at);
  if (draft.sandboxes.get(id)?.state === 'paused') move(draft, id, 'resume', at);
}
