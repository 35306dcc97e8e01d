import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { openWorkspaces, type WorkspaceStore } from '@caisson/workspace';
import { childrenOf } from '../harness.ts';
import { freshId, ground, opened, AGENT, SKIP, SMALL } from './given.ts';
import type { Step } from './victim.ts';

/** Trials: each kills the process of a store, as a launcher would be, and opens the store again. */
const TRIALS = Number(process.env['CAISSON_TEST_TRIALS'] ?? 12);

/** What must be there: for each id the values that its file may have ('' for none). `maybe` are ids that may be there or not. */
interface Model {
  readonly workspaces: Map<string, Set<string>>;
  readonly layers: Map<string, Set<string>>;
}

test('a store that is killed at any moment loses nothing it said was done, and keeps nothing half', { ...SKIP, timeout: 60_000 + TRIALS * 15_000 }, async () => {
  await using place = ground();
  const model: Model = { workspaces: new Map(), layers: new Map() };
  for (let trial = 0; trial < TRIALS; trial++) {
    const { steps, under } = await killed(place.options, trial);
    for (const step of steps) apply(model, step);
    await using store = await openWorkspaces(place.options);
    if (under !== undefined) await settle(model, under, store);
    assert.deepEqual(store.list().map(({ id }) => id).sort(), [...model.workspaces.keys()].sort(), `workspaces of trial ${trial} after ${JSON.stringify(under)}`);
    assert.deepEqual(store.layers().map(({ id }) => id).sort(), [...model.layers.keys()].sort(), `layers of trial ${trial} after ${JSON.stringify(under)}`);
    assert.deepEqual(store.list().filter(({ damaged, attachedTo }) => damaged !== null || attachedTo !== null), []);
    await checkValues(model, store, trial);
    const images = readdirSync(`${place.options.dir}/pool/images`);
    assert.equal(images.length, model.workspaces.size + model.layers.size, images.join(' '));
  }
});

test('caisson-store that is killed is started again, and what it was asked fails without a trace', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  await store.create({ id: freshId('wsp'), ...SMALL });
  for (let i = 0; i < 5; i++) {
    const [id, layer] = [freshId('wsp'), freshId('lay')];
    const asked = Promise.allSettled([store.create({ id, ...SMALL }), store.snapshot(store.list()[0]?.id ?? '', { layer })]);
    await sleep(i * 2);
    process.kill(await server(), 'SIGKILL');
    const [created, taken] = await asked;
    assert.equal(store.get(id) !== null, created.status === 'fulfilled');
    assert.equal(store.layers().some((each) => each.id === layer), taken.status === 'fulfilled');
    await store.create({ id, ...SMALL });
    await store.remove(id);
    await store.collect();
    assert.equal(readdirSync(`${options.dir}/pool/images`).length, store.list().length + store.layers().length);
  }
});

/** The `caisson-store serve` that this process has started. One that was killed when nothing was asked of it is started again by the next operation. */
async function server(): Promise<number> {
  const find = (): number | undefined => childrenOf(process.pid).find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('caisson-store'));
  for (const untilMs = performance.now() + 10_000; ; await sleep(1)) {
    const found = find();
    if (found !== undefined) return found;
    assert.ok(performance.now() < untilMs, 'it was not started again');
  }
}

/** Runs a victim until it is killed at some moment; what it finished, and what it had begun. */
async function killed(options: { readonly dir: string; readonly mounts: string; readonly tool: string }, trial: number): Promise<{ readonly steps: readonly Step[]; readonly under: Step | undefined }> {
  // Every other victim has this process's mounts, as if the launcher's namespace had outlived it.
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', `${import.meta.dirname}/victim.ts`, options.dir, options.mounts, options.tool, String(trial + 1)];
  const argv = trial % 2 === 0 ? command : ['unshare', '--mount', '--propagation', 'private', ...command];
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'], detached: trial % 3 === 0 });
  let text = '';
  const ready = Promise.withResolvers<void>();
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
    if (text.includes('\n')) ready.resolve();
  });
  const exited = once(child, 'close');
  await Promise.race([ready.promise, exited]);
  await sleep((trial * 37) % 400);
  // A process group has caisson-store in it, which then dies in the middle as well.
  if (child.pid !== undefined) process.kill(trial % 3 === 0 ? -child.pid : child.pid, 'SIGKILL');
  await exited;
  const words = text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as { ready?: true; start?: Step; done?: Step });
  assert.ok(words.length > 0, 'the victim began');
  return { steps: words.flatMap(({ done }) => (done === undefined ? [] : [done])), under: words.at(-1)?.start };
}

function apply({ workspaces, layers }: Model, { op, id, layer = '', value = '' }: Step): void {
  switch (op) {
    case 'create': workspaces.set(id, new Set([''])); break;
    case 'fork':
    case 'restore': workspaces.set(id, new Set(layers.get(layer))); break;
    case 'write': workspaces.set(id, new Set([value.padStart(10, '0')])); break;
    case 'snapshot': layers.set(layer, new Set(workspaces.get(id))); break;
    case 'remove': workspaces.delete(id); break;
    case 'removeLayer': layers.delete(layer); break;
  }
}

/** What was under way is done or not done; the model takes over which. */
async function settle(model: Model, step: Step, store: WorkspaceStore): Promise<void> {
  const has = (id: string): boolean => store.get(id) !== null || store.layers().some((each) => each.id === id);
  const before = model.workspaces.get(step.id);
  const done = { create: has(step.id), fork: has(step.id), snapshot: has(step.layer ?? ''), remove: !has(step.id), removeLayer: !has(step.layer ?? ''), write: true, restore: true }[step.op];
  if (!done) return;
  apply(model, step);
  if (step.op === 'write' || step.op === 'restore') model.workspaces.set(step.id, new Set([...(before ?? []), ...(model.workspaces.get(step.id) ?? [])]));
}

async function checkValues({ workspaces, layers }: Model, store: WorkspaceStore, trial: number): Promise<void> {
  const look = async (id: string, may: Set<string>): Promise<void> => {
    const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'check' });
    const value = valueIn(`${attached.path}/v`);
    await attached.detach();
    assert.ok(may.has(value), `trial ${trial}: ${id} has ${JSON.stringify(value)}, which is not one of ${JSON.stringify([...may])}`);
    may.clear();
    may.add(value);
  };
  await Promise.all([...workspaces].map(([id, may]) => look(id, may)));
  await Promise.all([...layers].map(async ([layer, may]) => {
    const id = freshId('wsp');
    await store.fork(layer, { id, passing: true });
    await look(id, may);
    await store.remove(id);
  }));
}

function valueIn(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
