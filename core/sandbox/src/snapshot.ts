import { problemOf } from '@caisson/contract';
import type { Box } from './box.ts';
import { noteOf } from './note.ts';
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

/** Makes something from a snapshot that goes when that is made; noted first, so that the next control has it go when this one cannot. */
export async function withPassing<T>(box: Box, layer: string, make: () => Promise<T>, rooms: StayRooms): Promise<T> {
  box.passing = [...box.passing, layer];
  await rooms.keeper.note(box.machine, noteOf(box));
  try {
    return await make();
  } finally {
    await removePassing(box, layer, rooms).catch(() => undefined);
  }
}

async function removePassing(box: Box, layer: string, rooms: StayRooms): Promise<void> {
  await rooms.keeper.removeCheckpoint(layer); // the memory first: without a layer nothing says that it is there
  await rooms.workspaces.removeLayer(layer).catch((error: unknown) => {
    if (problemOf(error).code !== 'SNAPSHOT_NOT_FOUND') throw error; // it may never have been made
  });
  box.passing = box.passing.filter((one) => one !== layer);
}

/** Removes the memory of snapshots that were not finished, or of which only half could be removed, before there was this control. */
export async function sweepMemory(boxes: readonly Box[], rooms: StayRooms): Promise<void> {
  const saved = await rooms.keeper.settledCheckpoints();
  for (const box of boxes) for (const layer of box.passing) await removePassing(box, layer, rooms).catch(() => undefined);
  for (const layer of saved) if ((await rooms.workspaces.sizeOf(layer)) === null) await rooms.keeper.removeCheckpoint(layer);
}
