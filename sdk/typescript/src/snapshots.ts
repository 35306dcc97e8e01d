import type { Readable } from 'node:stream';
import { connected, type Connecting } from './connection.ts';
import type { SnapshotInfo } from './generated.ts';
import { askJson, askStream } from './http.ts';

const SNAPSHOTS = '/v1/snapshots';
const pathOf = (snapshot: string): string => `${SNAPSHOTS}/${encodeURIComponent(snapshot)}`;

/** Snapshots of workspaces, which stay until they are removed. `box.snapshot` makes one. */
export const Snapshots = {
  async list({ signal, connection }: Connecting = {}): Promise<readonly SnapshotInfo[]> {
    const { snapshots } = await askJson<{ readonly snapshots: readonly SnapshotInfo[] }>(connected(connection), { method: 'GET', path: SNAPSHOTS, repeatable: true, signal });
    return snapshots;
  },

  /** @throws CaissonError SNAPSHOT_NOT_FOUND */
  get(id: string, { signal, connection }: Connecting = {}): Promise<SnapshotInfo> {
    return askJson(connected(connection), { method: 'GET', path: pathOf(id), repeatable: true, signal });
  },

  /** Workspaces that were made from it keep their files. @throws CaissonError SNAPSHOT_NOT_FOUND */
  async remove(id: string, { signal, connection }: Connecting = {}): Promise<void> {
    await askJson(connected(connection), { method: 'DELETE', path: pathOf(id), repeatable: false, signal });
  },

  /** Its files as a tar archive. Destroying the stream gives up. @throws CaissonError SNAPSHOT_NOT_FOUND */
  export(id: string, { signal, connection }: Connecting = {}): Promise<Readable> {
    return askStream(connected(connection), { method: 'GET', path: `${pathOf(id)}/export`, headers: { accept: 'application/x-tar' }, repeatable: true, signal });
  },
} as const;
