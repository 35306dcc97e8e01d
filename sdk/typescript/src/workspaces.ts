import { Readable } from 'node:stream';
import { connected, type Connecting } from './connection.ts';
import { CaissonError } from './errors.ts';
import type { SnapshotInfo, WorkspaceInfo } from './generated.ts';
import { askJson, askStream } from './http.ts';
import { Sandbox } from './sandbox.ts';

const WORKSPACES = '/v1/workspaces';
const pathOf = (workspace: string): string => `${WORKSPACES}/${encodeURIComponent(workspace)}`;
/** Longest that the sandbox which lends its files for an export may live. */
const EXPORT_MOST_MS = 3_600_000;

/** Workspaces, which outlive their sandboxes when they have a name. `Sandbox.create({ workspace })` makes one, or takes it up again. */
export const Workspaces = {
  async list({ signal, connection }: Connecting = {}): Promise<readonly WorkspaceInfo[]> {
    const { workspaces } = await askJson<{ readonly workspaces: readonly WorkspaceInfo[] }>(connected(connection), { method: 'GET', path: WORKSPACES, repeatable: true, signal });
    return workspaces;
  },

  /** The workspace with this id or name. @throws CaissonError WORKSPACE_NOT_FOUND */
  get(idOrName: string, { signal, connection }: Connecting = {}): Promise<WorkspaceInfo> {
    return askJson(connected(connection), { method: 'GET', path: pathOf(idOrName), repeatable: true, signal });
  },

  /** Removes it and what is in it; its snapshots stay. @throws CaissonError WORKSPACE_NOT_FOUND, WORKSPACE_ATTACHED */
  async remove(idOrName: string, { signal, connection }: Connecting = {}): Promise<void> {
    await askJson(connected(connection), { method: 'DELETE', path: pathOf(idOrName), repeatable: false, signal });
  },

  /**
   * Makes a new workspace from a tar archive, gzip or not, and a snapshot of it. Without a name it is given one, which is in the answer.
   *
   * @throws CaissonError ARCHIVE_INVALID, WORKSPACE_EXISTS
   */
  import(archive: Uint8Array | AsyncIterable<Uint8Array>, { name, signal, connection }: Connecting & { readonly name?: string } = {}): Promise<{ readonly workspace: WorkspaceInfo; readonly snapshot: SnapshotInfo }> {
    const headers = { 'content-type': 'application/x-tar' };
    return askJson(connected(connection), { method: 'POST', path: `${WORKSPACES}/import`, query: { name }, bytes: archive, headers, repeatable: false, signal });
  },

  /**
   * The files that it has now as a tar archive, whether a sandbox uses it or not. Destroying the stream gives up.
   *
   * @throws CaissonError WORKSPACE_NOT_FOUND
   */
  async export(idOrName: string, { signal, connection }: Connecting = {}): Promise<Readable> {
    const to = connected(connection);
    const { attachedTo, name } = await Workspaces.get(idOrName, { signal, connection: to });
    const archive = (sandbox: string): Promise<Readable> =>
      askStream(to, { method: 'GET', path: `/v1/sandboxes/${sandbox}/files/archive`, query: { path: '/workspace' }, headers: { accept: 'application/x-tar' }, repeatable: true, signal });
    if (attachedTo !== null) return archive(attachedTo);
    if (name === null) throw new CaissonError({ code: 'WORKSPACE_NOT_FOUND', message: `no workspace is called ${idOrName}`, hint: 'name one that has a name, or export a snapshot of it' });
    const reader = await Sandbox.create({ workspace: name, ttlMs: EXPORT_MOST_MS, keepAlive: true }, { signal, connection: to });
    try {
      const pieces = lent(await archive(reader.id), reader);
      await pieces.next(); // what has not begun has no end either
      return Readable.from(pieces, { objectMode: false });
    } catch (error) {
      await reader.close();
      throw error;
    }
  },
} as const;

/** Pieces of the archive, after an empty one. Their end, or their being given up, ends the sandbox that lends the files. */
async function* lent(archive: Readable, reader: Sandbox): AsyncGenerator<Uint8Array, void> {
  try {
    yield new Uint8Array();
    yield* archive as AsyncIterable<Uint8Array>;
  } finally {
    archive.destroy();
    await reader.close();
  }
}
