import { CaissonError, problemOf } from '@caisson/contract';
import type { Box } from './box.ts';
import { conclude } from './close.ts';
import { start } from './create.ts';
import { freshId } from './ids.ts';
import { lifecycle } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';
import { startTimings } from './timings.ts';

/**
 * Puts a sandbox back: end every process → workspace as in the snapshot → launch → attest. A snapshot that cannot be taken
 * is found before anything ends; a start that fails afterwards is the end of the sandbox, and on record as that.
 */
export async function restore(box: Box, snapshot: string, caller: string, rooms: StayRooms): Promise<void> {
  if (!box.can('restore')) throw new CaissonError('SANDBOX_STATE', { sandbox: box.facts.id, state: box.state, detail: 'restore' });
  await rooms.workspaces.check(snapshot, box.facts.workspace.id);
  await rooms.evidence.append(lifecycle(box.facts.id, 'restore', { caller, layer: snapshot }));
  rooms.keeper.expect();
  box.move('restore', `restored to ${snapshot} by ${caller}`);
  try {
    if (box.network !== null) await rooms.gate.dismiss(box.facts.id); // its link goes with its processes
    await rooms.keeper.close(box.machine);
    await Promise.all([...box.execs.values()].map(({ ended }) => ended));
    box.mustBe('restoring', 'restore'); // nothing starts for a sandbox that has been closed meanwhile
    await rooms.workspaces.restore(box.facts.workspace.id, snapshot);
    box.mustBe('restoring', 'restore');
    box.machine = freshId('sbx', rooms.randomBytes);
    await start(box, rooms, startTimings(rooms.now));
    box.move('started', 'it runs');
    box.use(rooms.wallMs());
  } catch (error) {
    const { code, message } = problemOf(error);
    await rooms.keeper.close(box.machine).catch(() => undefined);
    if (box.network !== null) await rooms.gate.dismiss(box.facts.id).catch(() => undefined); // who closed it may have been told before it was admitted
    // Whoever closed it meanwhile tells its end.
    if (box.state === 'restoring') await conclude(box, { ending: { kind: 'failed', code, detail: message }, usage: null }, rooms);
    throw error;
  }
}
