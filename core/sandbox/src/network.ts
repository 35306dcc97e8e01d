import { CaissonError, type NetworkInfo, type NetworkRequest, type NetworkState } from '@caisson/contract';
import { decideNetwork } from '@caisson/authority';
import type { Box } from './box.ts';
import { admit } from './create.ts';
import { effective, mustCertify } from './credentials.ts';
import { noteOf } from './note.ts';
import { ruleNames } from './record.ts';
import { lifecycle } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';

interface Change {
  readonly network: NetworkRequest;
  readonly caller: string;
}

/** What a gate that has just been started says of everybody. */
const NOTHING_YET: NetworkState = { connections: [], secrets: [], passed: { connections: 0, bytesOut: 0, bytesIn: 0 }, refused: [], refusedTotal: 0 };

/**
 * Gives a sandbox other rules: decide → on record → in force, with what they no longer allow cut → noted with the launcher, so
 * that the next control keeps to them. Changes of one sandbox are made one after the other: its rules are those of the last
 * change that is on record and did not fail.
 *
 * @throws CaissonError NETWORK_ABSENT, EGRESS_EXCEEDS_POLICY, SANDBOX_STATE, NETWORK_UNAVAILABLE, EGRESS_UNCERTIFIED
 */
export function changeNetwork(box: Box, change: Change, rooms: StayRooms): Promise<NetworkInfo> {
  return box.inTurn(() => make(box, change, rooms));
}

async function make(box: Box, { network, caller }: Change, rooms: StayRooms): Promise<NetworkInfo> {
  mustHave(box, 'changing its network');
  const denied = decideNetwork(effective(network, box.credentials.leases), rooms.policy.value.network);
  if (denied !== null) throw new CaissonError(denied.code, denied.context);
  mustCertify(box.facts.id, box.credentials, network);
  const { id: sandbox } = box.facts;
  await rooms.evidence.append(lifecycle(sandbox, 'network', { caller, rules: ruleNames(network) }));
  const address = mustHave(box, 'changing its network'); // it may have been closed or put back while that was written
  const before = box.network;
  box.network = network; // at once: whoever starts it anew while the gate answers admits it with these
  try {
    await admit(box, { address }, rooms);
  } catch (error) {
    box.network = before;
    throw error;
  }
  await rooms.keeper.note(box.machine, noteOf(box));
  box.use(rooms.wallMs());
  return networkOf(box, rooms);
}

/** What a sandbox may reach, and what it has done with that. @throws CaissonError NETWORK_ABSENT, SANDBOX_STATE, NETWORK_UNAVAILABLE */
export async function networkOf(box: Box, rooms: StayRooms): Promise<NetworkInfo> {
  mustHave(box, 'reading its network');
  const state = await rooms.gate.state(box.facts.id);
  const { rules = [], learn } = box.network ?? {};
  return { rules, ...(learn === true && { learn }), ...(state ?? NOTHING_YET) };
}

/** The address of its link. @throws CaissonError NETWORK_ABSENT, SANDBOX_STATE */
function mustHave(box: Box, verb: string): string {
  if (box.network === null) throw new CaissonError('NETWORK_ABSENT', { sandbox: box.facts.id });
  if (box.state !== 'paused') box.mustBe('running', verb);
  if (box.address === null) throw new CaissonError('NETWORK_ABSENT', { sandbox: box.facts.id });
  return box.address;
}
