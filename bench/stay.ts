import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { statePaths } from '@caisson/contract';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import { DEMAND_OVER_MS, emptySnapshot } from './curve.ts';
import { freeBytes } from './memory.ts';
import { runProgram } from './peers/peer.ts';

const CAISSON = join(import.meta.dirname, '..', 'caisson');
const WARM_UPS = 3;
const BURST = 100;
const EXECS_PER_RUN = 10;
/** Sandboxes that are held while the memory of the host is read. */
const IDLE = 50;
const SNAPSHOTS = 10;
const GIB = 2 ** 30;
const MIB = 2 ** 20;
/** Longest that a prepared sandbox is waited for. */
const PREPARED_MS = 5_000;

type Samples = Readonly<Record<string, readonly number[] | string>>;
type Measure = (connection: ConnectionOptions, count: number) => Promise<readonly number[]>;

const MEASURES: Readonly<Record<string, Measure>> = {
  'create-warm': (connection, count) => timed(count, () => createAndExec(connection, {}), () => preparedAgain(connection)),
  'create-stay': (connection, count) => timed(count, (n) => createAndExec(connection, { limits: { pids: 50 + n } })),
  'create-stay-gvisor': (connection, count) => timed(Math.ceil(count / 2), (n) => createAndExec(connection, { level: 'gvisor', limits: { pids: 50 + n } })),
  'exec-stay': timeExecs,
  'burst-stay': timeBurst,
  snapshot: (connection) => timeBig(connection, async (box) => {
    await box.snapshot();
    return async () => undefined;
  }),
  fork: (connection) => timeBig(connection, async (box) => {
    const fork = await box.fork();
    return () => fork.close(); // which is not timed, as that of no sandbox is
  }),
  restore: timeRestore,
  idle: measureIdle,
};

/** Sandboxes that stay, by the SDK and the HTTP API of an instance of its own. */
export async function benchStay({ count }: { readonly count: number }): Promise<Samples> {
  const dir = await mkdtemp(join(process.env['CAISSON_BENCH_DIR'] ?? tmpdir(), 'caisson-bench-'));
  const command = (...argv: string[]): readonly string[] => ['env', `CAISSON_DIR=${dir}`, CAISSON, ...argv];
  const paths = statePaths({ env: { ...process.env, CAISSON_DIR: dir }, uid: process.getuid?.() ?? 0, resolve });
  try {
    const up = await runProgram(command('up', '--detach'));
    const samples: Record<string, readonly number[] | string> = {};
    for (const [id, measure] of Object.entries(MEASURES)) {
      samples[id] = up.status === 0 ? await measure({ socket: paths.apiSocket }, count).catch(reason) : up.stderr.trim();
    }
    return samples;
  } finally {
    await runProgram(command('down'));
    await rm(dir, { recursive: true, force: true });
  }
}

function reason(error: unknown): string {
  return `not measured here: ${(error as Error).message}`;
}

/** @param between what has to be over before the next, and is not timed */
async function timed(count: number, once: (n: number) => Promise<() => Promise<void>>, between = async (): Promise<void> => undefined): Promise<readonly number[]> {
  const times: number[] = [];
  for (let n = 0; n < WARM_UPS + count; n++) {
    await between();
    const start = performance.now();
    const undo = await once(n);
    times.push(performance.now() - start);
    await undo();
  }
  return times.slice(WARM_UPS);
}

/** From asking for a sandbox to the result of its first command; both are on record by then. Closing it is not timed. */
async function createAndExec(connection: ConnectionOptions, options: Parameters<typeof Sandbox.create>[0]): Promise<() => Promise<void>> {
  const box = await Sandbox.create(options, { connection });
  const { exit, reason: why } = await box.exec(['true']);
  if (exit !== 0) throw new Error(why);
  return () => box.close();
}

/** The pool prepares the next while nobody asks; what is measured here is what a caller finds then. */
async function preparedAgain(connection: ConnectionOptions): Promise<void> {
  for (const until = Date.now() + PREPARED_MS; Date.now() < until; ) {
    await delay(50);
    const box = await Sandbox.create({}, { connection });
    const { warm } = await box.info();
    await box.close();
    if (warm) break;
  }
  await delay(250);
}

async function timeExecs(connection: ConnectionOptions, count: number): Promise<readonly number[]> {
  await using box = await Sandbox.create({}, { connection });
  return await timed(count * EXECS_PER_RUN, async () => {
    const { exit, reason: why } = await box.exec(['true']);
    if (exit !== 0) throw new Error(why);
    return async () => undefined;
  });
}

/** Sandboxes that are asked for now; each is timed from the start of the burst. */
async function timeBurst(connection: ConnectionOptions): Promise<readonly number[]> {
  const start = performance.now();
  const undo: (() => Promise<void>)[] = [];
  const times = await Promise.all(Array.from({ length: BURST }, async () => {
    undo.push(await createAndExec(connection, {}));
    return performance.now() - start;
  }));
  for (const each of undo) await each();
  return times;
}

async function timeBig(connection: ConnectionOptions, once: (box: Sandbox) => Promise<() => Promise<void>>): Promise<readonly number[]> {
  await using box = await Sandbox.create({ limits: { workspaceBytes: 4 * GIB, wallMs: 300_000, memoryBytes: 2 * GIB } }, { connection });
  const { exit, reason: why } = await box.exec(['sh', '-c', 'head -c 1000000000 /dev/urandom > big && sync'], { timeoutMs: 300_000 });
  if (exit !== 0) throw new Error(why);
  return await timed(SNAPSHOTS, () => once(box));
}

/** A sandbox that goes on from saved memory, to the answer of the first new command in it. */
async function timeRestore(connection: ConnectionOptions): Promise<readonly number[]> {
  await using box = await Sandbox.create({ level: 'gvisor' }, { connection });
  await box.spawn(['sh', '-c', 'while :; do sleep 1; done']);
  const { id: from } = await box.snapshot({ memory: true });
  return await timed(SNAPSHOTS, () => createAndExec(connection, { level: 'gvisor', from, memory: true }));
}

/** What the memory of the host has less of, per sandbox, when many are held: processes, page tables, mounts and caches alike. */
async function measureIdle(connection: ConnectionOptions): Promise<readonly number[]> {
  const samples: number[] = [];
  const from = await emptySnapshot(connection); // none is prepared of what starts from a snapshot
  await delay(DEMAND_OVER_MS);
  for (let round = 0; round < 3; round++) {
    const before = await freeBytes();
    const boxes: Sandbox[] = [];
    for (let n = 0; n < IDLE; n++) boxes.push(await Sandbox.create({ from }, { connection }));
    samples.push((before - (await freeBytes())) / IDLE / MIB);
    for (const box of boxes) await box.close();
  }
  return samples;
}

