import { problemOf, type Usage } from '@caisson/contract';
import type { Box, BoxEnding } from './box.ts';
import { releaseSecrets } from './credentials.ts';
import { noteOf } from './note.ts';
import { recordOutcome } from './on-record.ts';
import { sandboxOutcome } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';

/** Ends a sandbox and puts that on record. Idempotent: whoever asks while it ends waits for the same end. */
export async function closeBox(box: Box, why: string, rooms: StayRooms): Promise<void> {
  if (box.over || box.state === 'closing') return box.whenOver;
  box.move('close', why);
  if (box.network !== null) await rooms.gate.dismiss(box.facts.id);
  const usage = await rooms.keeper.close(box.machine, why).catch((error: unknown) => problemOf(error).message);
  if (typeof usage === 'string') return conclude(box, { ending: { kind: 'unknown', detail: usage }, usage: null }, rooms);
  return conclude(box, { ending: { kind: 'closed', detail: why }, usage }, rooms);
}

/** Sees to the end of a sandbox that nobody closed. A machine that was replaced or is being closed is not its end. */
export function watchBox(box: Box, rooms: StayRooms): void {
  const { machine } = box;
  const lost = async (usage: Usage | null, detail: string): Promise<void> => {
    if (box.machine !== machine || !box.can('lose') || box.state === 'closing' || box.state === 'restoring') return;
    const outOfMemory = (usage?.oomKills ?? 0) > 0;
    const ending: BoxEnding = outOfMemory ? { kind: 'out-of-memory', limitBytes: box.facts.decision.limits.memoryBytes } : { kind: 'unknown', detail };
    await conclude(box, { ending, usage }, rooms);
  };
  rooms.keeper.ended(machine).then(
    (usage) => lost(usage, 'all of its processes ended'),
    (error: unknown) => lost(null, problemOf(error).message),
  ).catch(() => undefined);
}

/** The end of a sandbox: its execs' outcomes are on record before its own, and a workspace that was its alone is gone. */
export async function conclude(box: Box, { ending, usage }: { readonly ending: BoxEnding; readonly usage: Usage | null }, rooms: StayRooms): Promise<void> {
  const reason = ending.kind === 'out-of-memory' ? 'its memory was used up' : ending.detail;
  if (ending.kind !== 'closed' && box.can('lose')) box.move('lose', reason);
  if (box.network !== null) await rooms.gate.dismiss(box.facts.id);
  await releaseSecrets(box.facts.id, box.credentials, rooms);
  // A sandbox of which nothing is known must not go on: where the launcher is the same, it ends now; a new one has swept it.
  if (usage === null) await rooms.keeper.close(box.machine).catch(() => undefined);
  await Promise.all([...box.execs.values()].map(({ ended }) => ended));
  const { id, workspace } = box.facts;
  if (workspace.name === null) await rooms.leavings.remove(workspace.id);
  const outcome = sandboxOutcome(id, { ending, level: box.level, spec: box.spec, usage });
  box.outcome = await recordOutcome(outcome, rooms);
  if (box.can('closed')) box.move('closed', reason);
  box.settle(rooms.wallMs());
  await rooms.keeper.note(box.machine, noteOf(box)).catch(() => undefined); // where the launcher is gone, so is what is noted
}
