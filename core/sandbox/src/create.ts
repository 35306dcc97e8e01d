import { CaissonError, problemOf, type CreateRequest, type EntryDraft, type IsolationSpec, type Json, type SandboxInfo } from '@caisson/contract';
import { decideSandbox, sandboxRules, type AllowedSandbox } from '@caisson/authority';
import { compile } from '@caisson/isolation';
import type { KeptInfo } from '@caisson/runtime';
import { attest } from './attest.ts';
import { Box, type BoxEnding, type BoxFacts } from './box.ts';
import { credentialsFor, effective, granted, releaseSecrets, withNetwork, type Granted } from './credentials.ts';
import { freshId } from './ids.ts';
import { noteOf } from './note.ts';
import { recordIntent, recordOutcome } from './on-record.ts';
import { canonicalDigest, commitment } from './record.ts';
import { takeGoingOn } from './going-on.ts';
import { sandboxIntent, sandboxOutcome } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';
import { startTimings, type Timings } from './timings.ts';

/** A sandbox that was started before anybody asked for it. */
export interface Prepared {
  readonly machine: KeptInfo;
  readonly workspace: string;
  readonly level: SandboxInfo['level'];
  readonly spec: string;
}

export interface Creation {
  readonly request: CreateRequest;
  readonly caller: string;
  readonly key: string | null;
  /** Digest of what is asked for. */
  readonly asked: string;
  /** Whether a named workspace that is there is refused. */
  readonly freshWorkspace: boolean;
  /** Sandboxes that are live. */
  readonly live: number;
  /** Snapshot or workspace that a new workspace starts from. */
  readonly from: string | null;
  /** A prepared sandbox that fits, or null; whoever gets it is its only tenant. */
  claim(request: CreateRequest, decision: AllowedSandbox, image: IsolationSpec['image']): Prepared | null;
  /** Told as soon as the sandbox has an id, so that it is found while it starts. */
  onBox(box: Box): void;
}

/**
 * Makes a sandbox that stays: decide → intent → workspace → compile → claim or launch → attest → admit to the network. Whatever goes wrong is on
 * record as the sandbox's outcome and is thrown; nothing of it is left then.
 */
export async function create(creation: Creation, rooms: StayRooms): Promise<Box> {
  const { caller, key, asked } = creation;
  const request = withNetwork(creation.request, rooms.policy.value);
  const timings = startTimings(rooms.now);
  const salt = rooms.randomBytes(32).toString('hex');
  const digests = { request: commitment(salt, request as unknown as Json), salt, policy: rooms.policy.sha256, spec: null };

  const size = await sizeThere(request, creation.from, rooms);
  const decision = decideSized(request, size, creation.live, rooms);
  const { image, env: imageEnv } = await rooms.images.resolve(request.image ?? 'host');
  timings.mark('decide');

  const prepared = decision.effect === 'allow' ? claimed({ creation, request, decision, image }, rooms) : null;
  const id = prepared?.machine.id ?? freshId('sbx', rooms.randomBytes);
  const requested = decision.effect === 'allow' ? decision.level : (request.level ?? rooms.policy.value.levels.default);
  const notMade = (ending: BoxEnding): EntryDraft => sandboxOutcome(id, { ending, level: { requested, delivered: null, runtime: null, kernel: null }, spec: null, usage: null });
  const intent = await recordIntent(sandboxIntent(id, { caller, request, decision, digests }), notMade({ kind: 'refused', code: 'EVIDENCE_UNAVAILABLE', detail: 'its intent was not on record' }), rooms)
    .catch(async (error: unknown) => {
      if (prepared !== null) await discard(prepared, rooms);
      throw error;
    });
  timings.mark('intent');
  if (decision.effect === 'deny') {
    const refused = new CaissonError(decision.code, decision.context);
    await recordOutcome(notMade({ kind: 'refused', code: refused.code, detail: refused.message }), rooms);
    throw refused;
  }

  const workspace = prepared?.workspace ?? await workspaceIdFor(request, creation, size, rooms).catch(async (error: unknown) => {
    const { code, message } = problemOf(error);
    await recordOutcome(notMade({ kind: 'failed', code, detail: message }), rooms);
    throw error;
  });
  const facts: BoxFacts = {
    id, request, caller, decision, digests, image, imageEnv, intent, key, asked,
    workspace: { id: workspace, name: request.workspace ?? null },
    createdMs: rooms.wallMs(),
    warm: prepared !== null,
  };
  const box = new Box(facts, rooms.wallMs);
  creation.onBox(box);
  try {
    if (prepared === null) {
      box.credentials = await credentialsFor({ sandbox: id, request, expiresMs: facts.createdMs + sandboxRules(rooms.policy.value).ttlMs.maximum }, rooms);
      await makeWorkspace(facts, creation.from, rooms);
      timings.mark('workspace');
      box.mustBe('creating', 'create'); // nothing starts for a sandbox that has been closed meanwhile
      const kept = await start(box, rooms, timings, request.memory === true ? (request.from ?? null) : null);
      await takeGoingOn(box, kept, rooms);
    } else {
      await rooms.keeper.note(id, noteOf(box));
      box.level = { ...prepared.level, requested: decision.level };
      box.spec = prepared.spec;
      timings.mark('claim');
    }
    box.move('started', 'it runs');
    box.timings = timings.all();
    return box;
  } catch (error) {
    await undo(box, error, rooms);
    throw error;
  }
}

/** A prepared sandbox; or null, and the launcher gets ready for a start while the intent is written and the workspace made. */
function claimed({ creation, request, decision, image }: { readonly creation: Creation; readonly request: CreateRequest; readonly decision: AllowedSandbox; readonly image: IsolationSpec['image'] }, rooms: StayRooms): Prepared | null {
  const prepared = creation.claim(request, decision, image);
  if (prepared === null) rooms.keeper.expect();
  return prepared;
}

/** Ends a prepared sandbox that is not offered again. */
export async function discard({ machine, workspace }: Pick<Prepared, 'machine' | 'workspace'>, rooms: StayRooms): Promise<void> {
  await rooms.keeper.close(machine.id).catch(() => undefined);
  await rooms.leavings.remove(workspace);
}

interface Size {
  readonly sizeBytes: number;
  readonly inodes: number;
}

/** What a workspace that is there has, or one that is made from another: these hold, whatever is usual by now. */
async function sizeThere({ workspace: name, from: snapshot }: CreateRequest, from: string | null, rooms: StayRooms): Promise<Size | null> {
  const source = snapshot ?? from;
  const there = name === undefined ? null : await rooms.workspaces.byName(name);
  return there ?? (source === null ? null : await rooms.workspaces.sizeOf(source));
}

/** A limit that was asked for stays what it is: `checkSize` refuses one that does not hold. One that a level cannot hold is not asked for. */
function decideSized(request: CreateRequest, size: Size | null, live: number, { policy: { value: policy } }: StayRooms): ReturnType<typeof decideSandbox> {
  if (size === null) return decideSandbox(request, policy, live);
  const limits = { workspaceBytes: size.sizeBytes, ...request.limits };
  const decision = decideSandbox({ ...request, limits }, policy, live);
  if (decision.effect === 'deny' || decision.notEnforced.includes('inodes')) return decision;
  return decideSandbox({ ...request, limits: { inodes: size.inodes, ...limits } }, policy, live);
}

/** The named workspace that there is, or the id that a new one gets. */
async function workspaceIdFor({ workspace: name, from: snapshot, limits }: CreateRequest, { from, freshWorkspace }: Creation, size: Size | null, rooms: StayRooms): Promise<string> {
  const there = name === undefined ? null : await rooms.workspaces.byName(name);
  if (there !== null && (snapshot !== undefined || freshWorkspace)) throw new CaissonError('WORKSPACE_EXISTS', { workspace: name ?? '' });
  if (size !== null) checkSize(limits, size, name ?? snapshot ?? from ?? '');
  return there?.id ?? freshId('wsp', rooms.randomBytes);
}

/** What holds of a workspace that is there is its own size: a limit that was asked for and is another would hold nothing. */
function checkSize(limits: CreateRequest['limits'], { sizeBytes, inodes }: Size, workspace: string): void {
  for (const [limit, has] of [['workspaceBytes', sizeBytes], ['inodes', inodes]] as const) {
    const asked = limits?.[limit];
    if (asked !== undefined && asked !== has) throw new CaissonError('WORKSPACE_SIZE', { workspace, limit, has, asked });
  }
}

async function makeWorkspace({ workspace, decision: { limits }, request }: BoxFacts, from: string | null, rooms: StayRooms): Promise<void> {
  const named = workspace.name === null ? { passing: true as const } : { name: workspace.name };
  const source = request.from ?? from;
  if (workspace.name !== null && (await rooms.workspaces.byName(workspace.name)) !== null) return;
  if (source !== null && source !== undefined) await rooms.workspaces.fork(source, { id: workspace.id, ...named });
  else await rooms.workspaces.create({ id: workspace.id, ...named, sizeBytes: limits.workspaceBytes, inodes: limits.inodes });
}

/** Starts what is behind a sandbox: compile → launch → attest. Called when it is made, and again when it is restored. */
export async function start(box: Box, rooms: StayRooms, timings: Timings, checkpoint: string | null = null): Promise<KeptInfo> {
  if (checkpoint !== null && box.credentials.hadFiles === true) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: box.facts.decision.level, why: 'what goes on from saved memory cannot be given files of secrets' });
  const spec = await compileFor(box, checkpoint !== null, rooms);
  box.spec = canonicalDigest(spec as unknown as Json);
  timings.mark('compile');

  const kept = await rooms.keeper.launch(spec, noteOf(box), checkpoint);
  timings.mark('launch');
  box.level = await attested(kept, spec, rooms, { restored: checkpoint !== null });
  timings.mark('attest');
  await admit(box, kept, rooms);
  return kept;
}

/** A sandbox speaks from here on, and to nobody before. */
export async function admit(box: Box, { address }: Pick<KeptInfo, 'address'>, rooms: StayRooms): Promise<void> {
  box.address = address;
  const { network, credentials: { authority, leases } } = box;
  if (network !== null && address !== null) await rooms.gate.admit({ sandbox: box.facts.id, caller: box.facts.caller, address, network: effective(network, leases), authority, leases });
}

/** Compares what pid 1 saw with the spec. @throws CaissonError ATTESTATION_FAILED; the sandbox is closed then */
export async function attested(kept: KeptInfo, spec: IsolationSpec, rooms: StayRooms, options: { readonly restored?: boolean } = {}): Promise<SandboxInfo['level']> {
  const { delivered, findings } = attest(spec, kept, await rooms.host({ again: false }), options);
  if (delivered !== null) return { requested: spec.level, delivered, runtime: kept.runtime, kernel: kept.hello.kernel };
  await rooms.keeper.close(kept.id).catch(() => undefined);
  throw new CaissonError('ATTESTATION_FAILED', { findings: findings.join('; ') });
}

async function compileFor(box: Box, fromMemory: boolean, rooms: StayRooms): Promise<IsolationSpec> {
  const { facts: { id: sandbox, decision, workspace, image, request, intent: { index: intent } }, machine: id, credentials } = box;
  return specFor({ id, ...(fromMemory ? { hostname: id } : {}), decision, workspace: workspace.id, image, ...granted(request, credentials, { sandbox, intent, nowMs: rooms.wallMs() }), terminals: request.terminals ?? true }, rooms);
}

interface SpecParts extends Granted {
  readonly id: string;
  /** Of a sandbox that goes on from saved memory: the sign by which its programs can tell. */
  readonly hostname?: string;
  readonly decision: AllowedSandbox;
  readonly workspace: string;
  readonly image: IsolationSpec['image'];
  readonly terminals: boolean;
}

/** @throws CaissonError what the host lacks */
export async function specFor({ decision, ...parts }: SpecParts, rooms: StayRooms): Promise<IsolationSpec> {
  const input = { ...parts, decision, seccomp: rooms.seccomp };
  const first = compile({ ...input, host: await rooms.host({ again: false }) });
  if (!('refused' in first)) return first;
  // A level that is missing may have become available since the host was measured.
  const again = first.refused.code === 'LEVEL_UNAVAILABLE' ? compile({ ...input, host: await rooms.host({ again: true }) }) : first;
  if ('refused' in again) throw CaissonError.from(again.refused);
  return again;
}

async function undo(box: Box, error: unknown, rooms: StayRooms): Promise<void> {
  const { code, message } = problemOf(error);
  if (box.network !== null) await rooms.gate.dismiss(box.facts.id);
  await releaseSecrets(box.facts.id, box.credentials, rooms);
  await rooms.keeper.close(box.machine).catch(() => undefined);
  if (box.facts.workspace.name === null) await rooms.leavings.remove(box.facts.workspace.id);
  const outcome = sandboxOutcome(box.facts.id, { ending: { kind: 'failed', code, detail: message }, level: box.level, spec: box.spec, usage: null });
  if (box.over || box.state === 'closing') return; // who closed it tells its end
  box.move('lose', message);
  box.outcome = await recordOutcome(outcome, rooms);
  box.settle(rooms.wallMs());
}
