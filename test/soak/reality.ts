import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isOver, type SandboxInfo } from '@caisson/contract';
import { remoteWorkspaces } from '@caisson/daemon';
import { RemoteKeeper } from '@caisson/runtime';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import { worksAgain } from '../faults/given.ts';
import type { Caisson } from '../harness.ts';
import type { Disturbed } from './disturb.ts';
import { digest, keyOf, type Contents, type Files, type Model, type ModelBox, type Pending } from './model.ts';

/** Name of the file that a write from inside makes first; a kill leaves it. */
const UNFINISHED = '.new';
const PATIENCE_MS = 15_000;

async function filesOf({ files }: Sandbox): Promise<Files> {
  const found = new Map<string, string>();
  for await (const { path, type } of files.list('/workspace', { recursive: true })) {
    const name = path.replace(/^\/workspace\//, '');
    if (type === 'file' && name !== UNFINISHED) found.set(name, digest(await files.readBytes(path)));
  }
  return found;
}

/** Compares what a workspace holds with what it may; resolves to which it is. */
export async function checked(what: string, sandbox: Sandbox, contents: Contents): Promise<Contents> {
  const found = await filesOf(sandbox);
  const match = contents.find((files) => keyOf(files) === keyOf(found));
  if (match === undefined) assert.fail(`${what} holds ${keyOf(found)}; it should hold ${contents.map(keyOf).join(' or ')}`);
  return [match];
}

export async function checkBox(box: ModelBox): Promise<void> {
  box.contents = await checked(`${box.level} sandbox ${box.sandbox.id}`, box.sandbox, box.contents);
}

/** What the instance lists as live, when nothing is between two states any more. */
async function settled(connection: ConnectionOptions): Promise<ReadonlyMap<string, SandboxInfo>> {
  for (const untilMs = Date.now() + PATIENCE_MS; ; await delay(50)) {
    const live = new Map<string, SandboxInfo>();
    for await (const info of Sandbox.list({}, { connection })) if (!isOver(info.state)) live.set(info.id, info);
    if ([...live.values()].every(({ state }) => state === 'running' || state === 'paused') || Date.now() > untilMs) return live;
  }
}

/** Compares which sandboxes there are and their states. */
export async function checkStates(model: Model, connection: ConnectionOptions): Promise<void> {
  const live = await settled(connection);
  const states = (all: ReadonlyMap<string, { readonly state: string }>): readonly string[] => [...all].map(([id, { state }]) => `${id} ${state}`).toSorted();
  assert.deepEqual(states(live), states(model.boxes));
}

/** Compares which snapshots and named workspaces there are. */
export async function checkStored(model: Model, caisson: Caisson): Promise<void> {
  using keeper = new RemoteKeeper(caisson.paths.keeperSocket);
  const names = (await remoteWorkspaces(keeper).list()).flatMap(({ name }) => name ?? []);
  const snapshots = (await remoteWorkspaces(keeper).layers()).map(({ id }) => id);
  assert.deepEqual(snapshots.toSorted(), [...model.snapshots.keys()].toSorted());
  assert.deepEqual(names.toSorted(), [...model.named.keys(), ...[...model.boxes.values()].flatMap(({ workspace }) => workspace ?? [])].toSorted());
}

/** After a kill: what it ended leaves the model, and what was cut off is looked for. Everything else must be as it was. */
export async function recover(model: Model, caisson: Caisson, disturbed: Disturbed, cut: ReadonlyMap<string, Pending>): Promise<void> {
  const connection = { socket: caisson.paths.apiSocket };
  await worksAgain(connection);
  const mayEnd = new Set([...cut.values()].flatMap((pending) => pending.mayEnd ?? []));
  // What was made in the same round may have been there before the kill, or made after it.
  if (disturbed.kind === 'launcher') for (const id of model.boxes.keys()) mayEnd.add(id);
  await ended(model, connection, { must: disturbed.ends, may: mayEnd });
  const live = await settled(connection);
  for (const info of live.values()) if (!model.boxes.has(info.id)) await appeared(model, connection, info, cut);
  for (const [id, box] of model.boxes) {
    const state = live.get(id)?.state;
    if (state === 'running' || state === 'paused') box.state = state;
  }
  await stored(model, caisson, cut);
  for (const box of model.boxes.values()) if (box.contents.length > 1) await checkBox(box);
}

async function ended(model: Model, connection: ConnectionOptions, { must, may }: { readonly must: readonly string[]; readonly may: ReadonlySet<string> }): Promise<void> {
  for (const untilMs = Date.now() + PATIENCE_MS; ; await delay(50)) {
    const live = await settled(connection);
    const late = must.filter((id) => model.boxes.has(id) && live.has(id));
    if (late.length > 0 && Date.now() < untilMs) continue;
    assert.deepEqual(late, [], 'sandboxes that have no process are said to live');
    const gone = [...model.boxes.values()].filter(({ sandbox }) => !live.has(sandbox.id));
    const unasked = gone.filter(({ sandbox: { id } }) => !must.includes(id) && !may.has(id));
    assert.deepEqual(await Promise.all(unasked.map(async ({ sandbox, level }) => `${level} ${sandbox.id}: ${(await sandbox.info()).reason}`)), [], 'sandboxes that nobody ended are gone');
    for (const { sandbox, workspace, contents } of gone) {
      model.boxes.delete(sandbox.id);
      if (workspace !== null) model.named.set(workspace, contents);
    }
    return;
  }
}

async function appeared(model: Model, connection: ConnectionOptions, info: SandboxInfo, cut: ReadonlyMap<string, Pending>): Promise<void> {
  const pending = cut.get(info.labels['op'] ?? '')?.box;
  if (pending === undefined) assert.fail(`sandbox ${info.id} is there and nobody asked for it`);
  if (pending.workspace !== null) model.named.delete(pending.workspace);
  model.boxes.set(info.id, { ...pending, sandbox: await Sandbox.connect(info.id, { connection }), state: 'running', background: null, restored: false });
}

/** Snapshots and workspaces of operations that were cut off, where they are there. */
async function stored(model: Model, caisson: Caisson, cut: ReadonlyMap<string, Pending>): Promise<void> {
  using keeper = new RemoteKeeper(caisson.paths.keeperSocket);
  const layers = await remoteWorkspaces(keeper).layers();
  for (const { id, label } of layers) {
    const pending = cut.get(label ?? '')?.snapshot;
    if (!model.snapshots.has(id) && pending !== undefined) model.snapshots.set(id, pending);
  }
  for (const { mayVanish } of cut.values()) {
    if (mayVanish !== undefined && !layers.some(({ id }) => id === mayVanish)) model.snapshots.delete(mayVanish);
  }
  const held = new Set([...model.boxes.values()].flatMap(({ workspace }) => workspace ?? []));
  for (const { name } of (await remoteWorkspaces(keeper).list())) {
    const pending = [...cut.values()].find(({ box }) => box !== undefined && box.workspace === name)?.box;
    if (name !== null && !held.has(name) && !model.named.has(name) && pending !== undefined) model.named.set(name, pending.contents);
  }
}
