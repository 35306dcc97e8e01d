import { existsSync } from 'node:fs';
import { isOver, type StatePaths, type SupervisorStatus, type WorkspaceInfo } from '@caisson/contract';
import { remoteWorkspaces } from '@caisson/daemon';
import { RemoteKeeper, type KeptInfo } from '@caisson/runtime';
import { Sandbox } from '@caisson/sdk';
import { Caller } from '@caisson/wire';

/** What an instance says that it keeps. */
export interface Known {
  /** Sandboxes of the launcher that run: those of a user, and those prepared for one. */
  readonly live: ReadonlySet<string>;
  /** Those, and the ended ones whose output can still be read. */
  readonly remembered: ReadonlySet<string>;
  /** Workspaces that a live sandbox has. */
  readonly attached: ReadonlySet<string>;
  /** Workspaces and snapshots. */
  readonly stored: ReadonlySet<string>;
  /** Null when the instance is down. */
  readonly launcher: number | null;
  /** What the launcher keeps for nobody, one line each. */
  readonly astray: readonly string[];
}

const NOTHING: Known = { live: new Set(), remembered: new Set(), attached: new Set(), stored: new Set(), launcher: null, astray: [] };

/** @returns nothing known where the instance is down, or does not answer now. An answer that is not understood is an error. */
export async function knownTo(paths: StatePaths): Promise<Known> {
  if (!existsSync(paths.keeperSocket)) return NOTHING;
  return ask(paths).catch((error: unknown) => {
    if ((error as { readonly code?: unknown }).code === 'REQUEST_INVALID') throw error;
    return NOTHING;
  });
}

async function ask(paths: StatePaths): Promise<Known> {
  using supervisor = new Caller(paths.supervisorSocket);
  using keeper = new RemoteKeeper(paths.keeperSocket);
  const { processes } = (await supervisor.call('status', null)) as SupervisorStatus;
  const boxes = new Set<string>();
  for await (const { id, state } of Sandbox.list({}, { connection: { socket: paths.apiSocket, reconnectMs: 0 } })) if (!isOver(state)) boxes.add(id);
  const machines = await keeper.list();
  const workspaces = await remoteWorkspaces(keeper).list();
  const layers = await remoteWorkspaces(keeper).layers();
  const running = machines.filter(({ usage }) => usage === null);
  const live = new Set(running.map(({ id }) => id));
  const free = (workspace: WorkspaceInfo): boolean => workspace.attachedTo === null || !live.has(workspace.attachedTo);
  return {
    live,
    remembered: new Set(machines.map(({ id }) => id)),
    attached: new Set(workspaces.filter((workspace) => !free(workspace)).map(({ id }) => id)),
    stored: new Set([...workspaces, ...layers].map(({ id }) => id)),
    launcher: processes.find(({ name }) => name === 'launcher')?.pid ?? null,
    astray: [
      ...running.filter((machine) => !isWanted(machine, boxes)).map(({ id }) => `sandbox ${id} runs and no user has it`),
      ...workspaces.filter(({ name }) => name === null).filter(free).map(({ id }) => `workspace ${id} has no name and no sandbox`),
      ...workspaces.filter((workspace) => workspace.attachedTo !== null && free(workspace)).map(({ id, attachedTo }) => `workspace ${id} is attached to ${attachedTo ?? ''}, which does not run`),
      ...workspaces.filter(({ damaged }) => damaged !== null).map(({ id, damaged }) => `workspace ${id}: ${damaged ?? ''}`),
    ],
  };
}

/** A machine's memo is what control noted: that it is prepared, or whose it is. */
function isWanted({ memo }: KeptInfo, boxes: ReadonlySet<string>): boolean {
  return memo === 'prepared' || boxes.has((JSON.parse(memo) as { readonly facts: { readonly id: string } }).facts.id);
}
