import { CaissonError, type WorkspaceInfo } from '@caisson/contract';
import type { FilesRoom, WorkspacesRoom } from './api/rooms.ts';
import type { Stay } from './stay.ts';

/** Workspaces and snapshots for the API. */
export function apiWorkspaces({ workspaces, memory, sandboxes }: Pick<Stay, 'workspaces' | 'memory' | 'sandboxes'>, files: FilesRoom): WorkspacesRoom {
  const find = async (ref: string): Promise<WorkspaceInfo> => {
    const found = (await workspaces.list()).find(({ id, name }) => id === ref || name === ref);
    if (found === undefined) throw new CaissonError('WORKSPACE_NOT_FOUND', { workspace: ref });
    return found;
  };
  return {
    list: () => workspaces.list(),
    get: find,
    remove: async (ref) => workspaces.remove((await find(ref)).id),
    async snapshots() {
      const [layers, saved] = await Promise.all([workspaces.layers(), memory.checkpoints()]);
      return layers.map(({ id, label, createdMs, sizeBytes }) => ({ id, label, createdMs, sizeBytes, memory: saved.includes(id) }));
    },
    async removeSnapshot(snapshot) {
      await workspaces.removeLayer(snapshot);
      await memory.removeCheckpoint(snapshot);
    },
    /** An archive is unpacked where an agent's files are: in a sandbox of its own, by the helper that sees nothing else. */
    async import(name, tar, asking) {
      const { id, workspace } = await sandboxes.create(name === undefined ? {} : { workspace: name }, asking);
      try {
        await using opened = await files.open(id, asking);
        await opened.unpack('/workspace', tar);
        const snapshot = await sandboxes.snapshot(id, { label: 'imported' }, asking);
        return { workspace: await find(workspace.id), snapshot };
      } finally {
        await sandboxes.close(id, asking);
      }
    },
    async export(snapshot, asking) {
      const { id } = await sandboxes.create({ from: snapshot }, asking);
      const close = (): void => void sandboxes.close(id, asking).catch(() => undefined);
      try {
        const opened = await files.open(id, asking);
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
}
