import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { Level } from '@caisson/contract';
import { Sandbox } from '@caisson/sdk';
import { evidenceIsWhole, levelsHere, randomFrom } from '../faults/given.ts';
import { settledLeftovers } from '../faults/leftovers.ts';
import type { Caisson } from '../harness.ts';
import { disturb, DISTURBANCES, type Disturbance, type Disturbed } from './disturb.ts';
import type { Model, Pending } from './model.ts';
import { choose, type Operation } from './operations.ts';
import { checkBox, checked, checkStates, checkStored, recover } from './reality.ts';

export interface SoakOptions {
  readonly seed: number;
  readonly operations: number;
  /** Most that live at once. */
  readonly sandboxes: number;
  /** Share of rounds in which something is killed. */
  readonly kills: number;
  /** Levels of the sandboxes. Default: all that are delivered here. */
  readonly levels?: readonly Level[];
  readonly say: (line: string) => void;
}

export interface Summary {
  readonly seed: number;
  readonly operations: number;
  readonly done: Readonly<Record<string, number>>;
  /** Operations that were cut off by a kill. */
  readonly cut: number;
  readonly kills: Readonly<Record<string, number>>;
  readonly mostLive: number;
  readonly durationMs: number;
  /** What was not as the model has it; the soak ends at the first. */
  readonly mismatch: string | null;
  /** The last operations before a mismatch. */
  readonly last: readonly string[];
}

/** Operations that run at once, each on a sandbox of its own. */
const WIDTH = 6;
const LATEST_KILL_MS = 80;
const CHECK_EVERY = 20;
const TOLD = 30;

interface State {
  readonly caisson: Caisson;
  readonly options: SoakOptions;
  readonly model: Model;
  readonly random: () => number;
  readonly told: string[];
  readonly done: Record<string, number>;
  readonly kills: Record<string, number>;
  number: number;
  cut: number;
  mostLive: number;
}

/** Random operations on an instance and on a model of it, which must agree after each step and at the end. */
export async function soak(caisson: Caisson, options: SoakOptions): Promise<Summary> {
  const model: Model = { boxes: new Map(), named: new Map(), snapshots: new Map() };
  const state: State = { caisson, options, model, random: randomFrom(options.seed), told: [], done: {}, kills: {}, number: 0, cut: 0, mostLive: 0 };
  const startMs = performance.now();
  const mismatch = await rounds(state).then(() => null, (error: unknown) => inspect(error));
  const { done, cut, kills, mostLive } = state;
  return {
    seed: options.seed, operations: state.number, done, cut, kills, mostLive, durationMs: Math.round(performance.now() - startMs), mismatch,
    last: mismatch === null ? [] : lastOf(state.told, mismatch),
  };
}

/** The last operations, and before them all those on what the mismatch names. */
function lastOf(told: readonly string[], mismatch: string): readonly string[] {
  const named = new Set(mismatch.match(/(?:sbx|lay)-[0-9a-z]{16}/g));
  return told.filter((line, at) => at >= told.length - TOLD || [...named].some((id) => line.includes(id)));
}

async function rounds(state: State): Promise<void> {
  const { caisson, options, model, random } = state;
  const connection = { socket: caisson.paths.apiSocket };
  const levels = options.levels ?? (await levelsHere(caisson));
  for (let round = 1; state.number < options.operations; round++) {
    const batch = new Map<string, Operation>();
    for (let tries = 0; tries < 3 * WIDTH && batch.size < WIDTH; tries++) {
      const number = state.number + 1;
      const operation = choose({ model, connection, levels, random, number, mostBoxes: options.sandboxes - batch.size }, takenBy(batch));
      if (operation === null || (operation.name === 'remove snapshot' && batch.size > 0)) continue;
      batch.set(String(number), operation);
      state.number = number;
      if (operation.name === 'remove snapshot') break; // others may be about to use it
    }
    const kind = random() < options.kills ? DISTURBANCES[Math.floor(random() * DISTURBANCES.length)] : undefined;
    await inRound(state, batch, kind);
    state.mostLive = Math.max(state.mostLive, model.boxes.size);
    if (round % CHECK_EVERY !== 0) continue;
    await checkStates(model, connection);
    await checkStored(model, caisson);
    const boxes = [...model.boxes.values()];
    for (const box of [0, 1, 2].flatMap(() => boxes[Math.floor(random() * boxes.length)] ?? [])) await checkBox(box);
    options.say(`${state.number} operations, ${model.boxes.size} sandboxes, ${model.snapshots.size} snapshots, ${model.named.size} named workspaces, ${JSON.stringify(state.kills)}`);
  }
  await atTheEnd(state);
}

const takenBy = (batch: ReadonlyMap<string, Operation>): ReadonlySet<string> => new Set([...batch.values()].map(({ subject }) => subject));

function sparedBy(batch: ReadonlyMap<string, Operation>): ReadonlySet<string> {
  return new Set([...batch.values()].filter(({ name }) => name === 'pause' || name === 'restore').map(({ subject }) => subject));
}

function whileKilled(kind: Disturbance | undefined): string {
  return kind === undefined ? '' : `, while ${kind} was killed`;
}

async function inRound(state: State, batch: ReadonlyMap<string, Operation>, kind: Disturbance | undefined): Promise<void> {
  const { caisson, model, random, told } = state;
  const afterMs = Math.floor(random() * LATEST_KILL_MS);
  const disturbing = kind === undefined ? undefined : disturb(caisson, model, kind, { random, afterMs, spared: sparedBy(batch) });
  const ends = await Promise.all([...batch].map(async ([number, operation]) => ({ number, operation, end: await operation.act().catch((error: unknown) => error as Error) })));
  const disturbed = await disturbing;
  if (kind !== undefined) state.kills[kind] = (state.kills[kind] ?? 0) + 1;
  const cut = new Map<string, Pending>();
  for (const { number, operation, end } of ends) {
    const { name, subject } = operation;
    told.push(`${number} ${name} ${subject}: ${end instanceof Error ? String(end).split('\n')[0] : 'done'}`);
    state.done[name] = (state.done[name] ?? 0) + 1;
    if (!(end instanceof Error)) {
      end();
      continue;
    }
    if (!mayFail(end, operation, disturbed)) throw new Error(`operation ${number}, ${name} on ${await described(model, subject)}${whileKilled(kind)}`, { cause: end });
    state.cut += 1;
    cut.set(number, operation.cut?.() ?? {});
  }
  if (disturbed !== undefined) {
    told.push(`kill -9 of ${disturbed.kind} after ${afterMs} ms, in ${disturbed.ends.join()}`);
    await recover(model, caisson, disturbed, cut);
  }
  for (const box of model.boxes.values()) if (box.contents.length > 1) await checkBox(box);
}

/** What the instance says of a subject. */
async function described(model: Model, subject: string): Promise<string> {
  const box = model.boxes.get(subject);
  if (box === undefined) return subject;
  const { state, reason } = await box.sandbox.info();
  return `${box.level} sandbox ${subject} (${state}: ${reason})`;
}

/** A kill may cut an operation off, and be refused or lost. What was answered must be right all the same, but where the sandbox ended under it. */
function mayFail(error: Error, { subject }: Operation, disturbed: Disturbed | undefined): boolean {
  if (disturbed === undefined) return false;
  if (disturbed.ends.includes(subject)) return true;
  return disturbed.kind === 'launcher' || (disturbed.kind !== 'pid 1' && !(error instanceof assert.AssertionError));
}

/** Everything is compared once more, then everything is closed, and nothing is left. */
async function atTheEnd({ caisson, model, options }: State): Promise<void> {
  const connection = { socket: caisson.paths.apiSocket };
  options.say('comparing everything');
  await checkStates(model, connection);
  await checkStored(model, caisson);
  for (const box of model.boxes.values()) await checkBox(box);
  for (const [workspace, contents] of model.named) {
    await using box = await Sandbox.create({ workspace }, { connection });
    await checked(`workspace ${workspace}`, box, contents);
  }
  for (const [from, { contents }] of model.snapshots) {
    await using box = await Sandbox.create({ from }, { connection });
    await checked(`snapshot ${from}`, box, contents);
  }
  for (const { sandbox } of model.boxes.values()) await sandbox.close();
  assert.deepEqual(await settledLeftovers(caisson.paths, 30_000), []);
  await evidenceIsWhole(caisson);
}
