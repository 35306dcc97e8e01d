import type { RowsName } from './bytes.ts';
import type { Agent, Ended, Open, Sandbox, State } from './state.ts';

/** What a state says of one agent. */
export interface AgentView {
  readonly agent: Agent;
  /** Its sandboxes that have not ended. */
  readonly sandboxes: readonly Sandbox[];
  /** Its intents that have no outcome. */
  readonly open: readonly Open[];
  /** What of it has ended lately. */
  readonly ended: readonly Ended[];
}

/** A state, or a projection: whatever holds rows. */
export interface Holding {
  readonly state: Pick<State, 'ended'>;
  rows(name: RowsName, agent?: string): readonly object[];
}

export function holdingOf(state: State): Holding {
  return {
    state,
    rows: (name, agent) => [...state[name].values()].filter((row) => agent === undefined || ('agent' in row && row.agent === agent)).sort(({ id: a }, { id: b }) => (a < b ? -1 : 1)),
  };
}

/** What is known of an agent; null: it has never called. */
export function inspectAgent(holding: Holding, id: string): AgentView | null {
  const agent = (holding.rows('agents') as readonly Agent[]).find((row) => row.id === id);
  if (agent === undefined) return null;
  return {
    agent,
    sandboxes: holding.rows('sandboxes', id) as readonly Sandbox[],
    open: holding.rows('open', id) as readonly Open[],
    ended: holding.state.ended.filter((ended) => ended.agent === id),
  };
}
