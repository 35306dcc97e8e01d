import { CaissonError, isOver, problemOf, type SandboxInfo } from '@caisson/contract';

/**
 * The sandbox that has a workspace, or null. The launcher knows the machine that holds it, which after a restore is called
 * otherwise than its sandbox. Of several the oldest has it, and the others find that out.
 *
 * @param sandboxes newest first
 * @param workspace id or name
 */
export function holderOf(workspace: string, sandboxes: readonly SandboxInfo[]): SandboxInfo | null {
  return sandboxes.findLast((info) => !isOver(info.state) && (info.workspace.id === workspace || info.workspace.name === workspace)) ?? null;
}

/** What is thrown for a workspace that is in use, with the sandbox that has it as callers know it; anything else as it is. */
export function inUse(error: unknown, workspace: string | undefined, sandboxes: readonly SandboxInfo[]): unknown {
  if (workspace === undefined || problemOf(error).code !== 'WORKSPACE_ATTACHED') return error;
  const holder = holderOf(workspace, sandboxes);
  return holder === null ? error : new CaissonError('WORKSPACE_ATTACHED', { workspace: holder.workspace.id, sandbox: holder.id }, { cause: error });
}
