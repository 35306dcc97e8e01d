import { setTimeout as delay } from 'node:timers/promises';
import { problemOf, type Json } from '@caisson/contract';
import type { KeptInfo } from '@caisson/runtime';
import type { Box } from './box.ts';
import { closeBox, conclude } from './close.ts';
import { admit, attested, specFor } from './create.ts';
import { granted } from './credentials.ts';
import { takeGoingOn } from './going-on.ts';
import { boxFrom, execFrom, PREPARED } from './note.ts';
import { commitment } from './record.ts';
import { sweepMemory } from './snapshot.ts';
import { watchExec } from './stay-exec.ts';
import type { StayRooms } from './stay-rooms.ts';

/** Between two tries to tell a gate that is away of a sandbox. */
const ADMIT_AGAIN_MS = 500;

/** What went on while there was no control. */
export interface Adopted {
  readonly boxes: readonly Box[];
  /** Subjects whose intents have an outcome to come. */
  readonly goingOn: ReadonlySet<string>;
}

/**
 * Finds the sandboxes that the launcher has kept, attests each again and waits for their commands as before. Prepared ones
 * that nobody has claimed are closed, and so is one that does not hold what its spec promises. A workspace that goes with
 * its sandbox goes now when there is none.
 */
export async function adopt(rooms: StayRooms): Promise<Adopted> {
  const kept = await rooms.keeper.list();
  await Promise.all(kept.filter(({ memo }) => memo === PREPARED).map(({ id }) => rooms.keeper.close(id).catch(() => undefined)));
  // A sandbox that was restored has had several machines; the last is the one that it has.
  const machines = Map.groupBy(kept.filter(({ memo }) => memo !== PREPARED), ({ id, memo }) => boxFrom(memo, { machine: id, wallMs: rooms.wallMs }).facts.id);
  const boxes = await Promise.all([...machines.values()].map((of) => takeOver(of, rooms)));
  const inUse = new Set(boxes.filter((box) => !box.over).map(({ facts }) => facts.workspace.id));
  await Promise.all((await rooms.workspaces.nameless()).filter((id) => !inUse.has(id)).map((id) => rooms.leavings.remove(id)));
  await sweepMemory(boxes, rooms);
  return { boxes, goingOn: new Set(boxes.flatMap((box) => [box.facts.id, ...box.execs.keys()])) };
}

async function takeOver(machines: readonly KeptInfo[], rooms: StayRooms): Promise<Box> {
  const last = machines.find(({ usage }) => usage === null) ?? machines.at(-1);
  if (last === undefined) throw new Error('a sandbox without a machine');
  const box = boxFrom(last.memo, { machine: last.id, wallMs: rooms.wallMs });
  if (!box.over) box.move('started', 'it runs');
  box.use(rooms.wallMs());
  await watchAll(box, machines, rooms).catch((error: unknown) => {
    const { code, message } = problemOf(error);
    return conclude(box, { ending: { kind: 'failed', code, detail: message }, usage: null }, rooms); // nothing goes on that is not on record
  });
  if (box.over) return box;
  if (last.closedFor !== null) {
    await closeBox(box, last.closedFor, rooms);
    return box;
  }
  if (last.usage !== null) {
    await conclude(box, { ending: { kind: 'unknown', detail: 'it ended while Caisson was being restarted' }, usage: last.usage }, rooms);
    return box;
  }
  if (last.paused) box.move('pause', 'it was paused before Caisson was restarted');
  await attestAgain(box, last, rooms);
  return box;
}

async function watchAll(box: Box, machines: readonly KeptInfo[], rooms: StayRooms): Promise<void> {
  for (const machine of machines) {
    const inherited = inheritedBy(box, machine);
    for (const { id, memo, startedMs } of machine.execs) {
      if (inherited.some((one) => one.id === id)) continue;
      const note = execFrom(memo);
      const exec = watchExec(box, note, { startedMs, machine: machine.id }, rooms);
      if (note.key === null) continue;
      box.execKeys.set(note.key, { same: (request) => commitment(note.salt, request as unknown as Json) === note.digest, id: exec.id, exec: Promise.resolve(exec.info) });
    }
    if (!box.over) await takeGoingOn(box, { id: machine.id, execs: inherited }, rooms);
  }
}

/**
 * Commands of another sandbox that go on in this one, because control did not live to give them names of their own: they
 * were asked for before this sandbox was. What becomes of them here is not what becomes of them there.
 */
function inheritedBy(box: Box, machine: KeptInfo): KeptInfo['execs'] {
  const { id, request, intent } = box.facts;
  if (request.memory !== true || machine.id !== id) return []; // a restore starts it anew, under another id
  return machine.execs.filter(({ memo }) => execFrom(memo).intent.index < intent.index);
}

async function attestAgain(box: Box, machine: KeptInfo, rooms: StayRooms): Promise<void> {
  const { id: sandbox, decision, workspace, image, request, intent: { index: intent } } = box.facts;
  const { files = [] } = box.credentials;
  if (files.length > 0) void rooms.vault.adopt({ sandbox, leases: files }).catch(() => undefined); // what is in the sandbox is there; it is not waited for
  try {
    const isFromMemory = request.memory === true && machine.id === box.facts.id; // a restore starts it anew, under another id
    const spec = await specFor({ id: machine.id, ...(isFromMemory ? { hostname: machine.id } : {}), decision, workspace: workspace.id, image, ...granted(request, box.credentials, { sandbox, intent, nowMs: rooms.wallMs() }), terminals: request.terminals ?? true }, rooms);
    box.level = await attested(machine, spec, rooms, { restored: true }); // its commands run already
  } catch (error) {
    await conclude(box, { ending: { kind: 'failed', code: 'ATTESTATION_FAILED', detail: (error as Error).message }, usage: null }, rooms);
    return;
  }
  if (!(await admitAgain(box, machine, rooms))) void admitLater(box, machine, rooms);
}

/** Nobody gets out of a sandbox that the gate was not told of: that it is away is no reason to end it. Gives whether there is no more to be done. */
function admitAgain(box: Box, machine: KeptInfo, rooms: StayRooms): Promise<boolean> {
  return box.inTurn(async () => {
    if (!box.over && box.state !== 'closing' && box.machine === machine.id) await admit(box, machine, rooms);
  }).then(() => true, () => false);
}

async function admitLater(box: Box, machine: KeptInfo, rooms: StayRooms): Promise<void> {
  do await delay(ADMIT_AGAIN_MS, undefined, { ref: false });
  while (!(await admitAgain(box, machine, rooms)));
}
