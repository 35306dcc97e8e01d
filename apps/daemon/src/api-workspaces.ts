import { randomBytes } from 'node:crypto';
import { CaissonError, type WorkspaceInfo } from '@caisson/contract';
import { holderOf, inUse } from '@caisson/sandbox';
import type { FilesRoom, WorkspacesRoom } from './api/rooms.ts';
import type { Stay } from './stay.ts';

/** Workspaces and snapshots for the API. */
export function apiWorkspaces({ workspaces, memory, sandboxes }: Pick<Stay, 'workspaces' | 'memory' | 'sandboxes'>, files: FilesRoom): WorkspacesRoom {
  /** Names of those that are being made of an archive. */
  const importing = new Set<string>();
  const list = async (): Promise<readonly WorkspaceInfo[]> => {
    const found = await workspaces.list();
    const live = sandboxes.list();
    return found.map((info) => ({ ...info, attachedTo: holderOf(info.id, live)?.id ?? info.attachedTo }));
  };
  const find = async (ref: string): Promise<WorkspaceInfo> => {
    const found = (await list()).find(({ id, name }) => id === ref || name === ref);
    if (found === undefined) throw new CaissonError('WORKSPACE_NOT_FOUND', { workspace: ref });
    return found;
  };
  return {
    list,
    get: find,
    async remove(ref) {
      const { id } = await find(ref);
      await workspaces.remove(id).catch((error: unknown) => {
        throw inUse(error, id, sandboxes.list());
      });
    },
    async snapshots() {
      const [layers, saved] = await Promise.all([workspaces.layers(), memory.checkpoints()]);
      return layers.map(({ id, label, createdMs, sizeBytes }) => ({ id, label, createdMs, sizeBytes, memory: saved.includes(id) }));
    },
    async removeSnapshot(snapshot) {
      if (!(await workspaces.layers()).some(({ id }) => id === snapshot)) throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot });
      await memory.removeCheckpoint(snapshot); // first: memory without a snapshot is listed nowhere
      await workspaces.removeLayer(snapshot);
    },
    /**
     * An archive is unpacked where an agent's files are: in a sandbox of its own, by the helper that sees nothing else. A key
     * of the request is not the sandbox's: two requests must not share one that the first of them closes.
     */
    async import(name = `import-${randomBytes(8).toString('hex')}`, tar, { caller }) {
      if (importing.has(name)) throw new CaissonError('WORKSPACE_EXISTS', { workspace: name });
      importing.add(name);
      try {
        const { id, workspace } = await sandboxes.create({ workspace: name }, { caller, freshWorkspace: true });
        const snapshot = await unpacked(id, tar, caller).catch(async (error: unknown) => {
          await sandboxes.close(id, { caller }).catch(() => undefined);
          await workspaces.remove(workspace.id).catch(() => undefined); // who has taken it up meanwhile keeps it
          throw error;
        });
        await sandboxes.close(id, { caller });
        return { workspace: await find(workspace.id), snapshot };
      } finally {
        importing.delete(name);
      }
    },
    async export(snapshot, { caller }) {
      const { id } = await sandboxes.create({ from: snapshot }, { caller });
      const close = (): void => void sandboxes.close(id, { caller }).catch(() => undefined);
      try {
        const opened = await files.open(id, { caller });
        const tar = opened.pack('/workspace');
        tar.once('close', () => void opened[Symbol.asyncDispose]().then(close));
        return tar;
      } catch (error) {
        close();
        throw error;
      }
    },
    async changes(sandbox, { from, limit }) {
      const { workspace } = sandboxes.get(sandbox);
      return workspaces.diff(from ?? (await find(workspace.id)).parent, workspace.id, limit);
    },
  };

  async function unpacked(sandbox: string, tar: AsyncIterable<Buffer>, caller: string): ReturnType<typeof sandboxes.snapshot> {
    await using opened = await files.open(sandbox, { caller });
    await opened.unpack('/workspace', tar);
    return await sandboxes.snapshot(sandbox, { label: 'imported' }, { caller });
  }
}
