import { holdingOf, inspectAgent, type Agent, type AgentView } from '@caisson/projection';
import { indexOf, judged, replayTo, type TrustFlags } from './replay-state.ts';
import { jsonText, print, printTable } from './say.ts';

export interface InspectFlags extends TrustFlags {
  readonly agent?: string;
  readonly atSeq?: string;
}

/** What the log says of one agent, or of which agents it tells. @returns 0; 1 where the log is damaged; 2 where it knows no such agent */
export async function inspectCommand(flags: InspectFlags): Promise<number> {
  return judged(flags, async () => {
    const { state } = await replayTo(flags, '--at-seq', indexOf('--at-seq', flags.atSeq));
    if (flags.agent === undefined) {
      tellAgents([...state.agents.values()], flags);
      return 0;
    }
    const view = inspectAgent(holdingOf(state), flags.agent);
    const atSeq = state.entries - 1;
    if (view === null) {
      const message = `the log has nothing of the agent ${flags.agent} up to entry ${atSeq}`;
      if (flags.json === true) print(`${jsonText({ found: false, atSeq })}\n`);
      process.stderr.write(`caisson: ${jsonText(message).slice(1, -1)}\nhint: ./caisson inspect lists the agents\n`);
      return 2;
    }
    if (flags.json === true) print(`${jsonText({ found: true, atSeq, ...view })}\n`);
    else tellAgent(view, atSeq);
    return 0;
  });
}

function tellAgents(agents: readonly Agent[], { json }: InspectFlags): void {
  if (json === true) return print(`${jsonText({ agents })}\n`);
  printTable(['AGENT', 'CALLS', 'SANDBOXES', 'EXECS', 'DENIED', 'FAILED', 'LAST'], agents.map(({ id, calls, sandboxes, execs, denials, failures, lastIndex }) =>
    [id, ...[calls, sandboxes, execs, denials, failures].map(String), `#${lastIndex}`]));
}

function tellAgent({ agent, sandboxes, open, ended }: AgentView, atSeq: number): void {
  const rows: readonly (readonly [string, string])[] = [
    ['agent', jsonText(agent.id).slice(1, -1)],
    ['at', `entry ${atSeq}`],
    ['calls', `${agent.calls} calls, ${agent.sandboxes} sandboxes, ${agent.execs} execs`],
    ['refused', `${agent.denials} by the policy, ${agent.refused} at the gate`],
    ['failed', `${agent.failures}, of which ${agent.unknown} unknown`],
    ['network', `${agent.connections} connections, ${agent.requests} requests, ${agent.bytesOut} bytes out, ${agent.bytesIn} in`],
    ['entries', `${agent.firstIndex} to ${agent.lastIndex}`],
    ['open', open.length === 0 ? 'nothing' : open.map(({ id, what }) => `${what} ${id}`).join(', ')],
  ];
  print(rows.map(([name, value]) => `${name.padEnd(10)}${value}\n`).join(''));
  if (sandboxes.length > 0) printTable(['SANDBOX', 'STATE', 'LEVEL', 'EXECS'], sandboxes.map(({ id, state, level, execs }) => [id, state, level ?? '-', String(execs)]));
  if (ended.length > 0) printTable(['ENDED', 'WHAT', 'ENDING', 'ENTRY'], ended.map(({ id, what, ending, index }) => [id, what, ending, `#${index}`]));
  if (agent.failed.length > 0) printTable(['FAILURE', 'ENDING', 'ENTRY', 'WHY'], agent.failed.map(({ subject, ending, index, detail }) => [subject, ending, `#${index}`, detail]));
}
