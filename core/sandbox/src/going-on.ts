import type { KeptInfo } from '@caisson/runtime';
import type { Box } from './box.ts';
import { freshId } from './ids.ts';
import { execFrom, execNote } from './note.ts';
import { watchExec } from './stay-exec.ts';
import { continuedIntent } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';

/**
 * Takes the commands that go on from saved memory into a new sandbox. Each is another exec than the one that was saved,
 * with an intent of its own that names it; the sandbox's own intent, which names the snapshot, came before any of them.
 */
export async function takeGoingOn(box: Box, { id: machine, execs }: Pick<KeptInfo, 'id' | 'execs'>, rooms: StayRooms): Promise<void> {
  for (const { id: saved, memo, startedMs } of execs) {
    const before = execFrom(memo);
    const id = freshId('exe', rooms.randomBytes);
    const intent = await rooms.evidence.append(continuedIntent(id, { sandbox: box.facts.id, caller: box.facts.caller, saved: before }));
    const note = { ...before, id, intent, key: null };
    await rooms.keeper.rename(machine, saved, id, execNote(note));
    watchExec(box, note, { startedMs, machine }, rooms);
  }
}
