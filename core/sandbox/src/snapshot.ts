import type { Box } from './box.ts';
import type { SnapshotInfo } from './service.ts';
import type { StayRooms } from './stay-rooms.ts';

/**
 * Keeps the workspace of a sandbox as it is now, and with `memory` its processes as well. Memory is saved first, so that no
 * file that a saved process has open is missing in the workspace; a snapshot without the one or the other is none. One
 * that is there is not made again.
 */
export async function takeSnapshot(box: Box, { layer, label, memory }: { readonly layer: string; readonly label?: string; readonly memory: boolean }, rooms: StayRooms): Promise<SnapshotInfo> {
  if (memory && (await rooms.workspaces.sizeOf(layer)) === null) {
    await rooms.keeper.removeCheckpoint(layer); // half of one that was cut off and is asked for again
    await rooms.keeper.checkpoint(box.machine, layer);
  }
  try {
    const { id, label: said, createdMs, sizeBytes } = await rooms.workspaces.snapshot(box.facts.workspace.id, { layer, ...(label === undefined ? {} : { label }) });
    return { id, label: said, createdMs, sizeBytes, memory };
  } catch (error) {
    if (memory) await rooms.keeper.removeCheckpoint(layer).catch(() => undefined);
    throw error;
  }
}
