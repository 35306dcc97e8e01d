import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { statePaths } from '@caisson/contract';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import { drawCurve, type Point } from './curve-svg.ts';
import { freeBytes } from './memory.ts';
import { runProgram } from './peers/peer.ts';
import { quantile } from './rows.ts';

const ROOT = join(import.meta.dirname, '..');
const CAISSON = join(ROOT, 'caisson');
/** Sandboxes that are live while the next ones are made and used. */
const LIVE = [1, 10, 100, 500];
const CREATES = 20;
const EXECS = 100;
/** After this long what was claimed is no demand any more, and what was prepared for it is closed. */
export const DEMAND_OVER_MS = 35_000;
const MIB = 2 ** 20;

/** Measures what a sandbox more costs when many are live, keeps the raw data and draws it. Returns the path of the drawing. */
export async function benchCurve(): Promise<string> {
  const dir = await mkdtemp(join(process.env['CAISSON_BENCH_DIR'] ?? tmpdir(), 'caisson-bench-'));
  const command = (...argv: string[]): readonly string[] => ['env', `CAISSON_DIR=${dir}`, CAISSON, ...argv];
  const paths = statePaths({ env: { ...process.env, CAISSON_DIR: dir }, uid: process.getuid?.() ?? 0, resolve });
  try {
    const up = await runProgram(command('up', '--detach'));
    if (up.status !== 0) throw new Error(up.stderr.trim());
    return await keep(await measure({ socket: paths.apiSocket }));
  } finally {
    await runProgram(command('down'));
    await rm(dir, { recursive: true, force: true });
  }
}

/** Asks for what starts from a snapshot, which no prepared sandbox does: every create is a cold one, and none is prepared for it. */
const cold = (from: string): { readonly from: string } => ({ from });

async function measure(connection: ConnectionOptions): Promise<readonly Point[]> {
  const live: Sandbox[] = [];
  const points: Point[] = [];
  const from = await emptySnapshot(connection);
  await delay(DEMAND_OVER_MS); // what is prepared for whoever asks is there, and is not counted
  const before = await freeBytes();
  for (const target of LIVE) {
    while (live.length < target) live.push(await Sandbox.create(cold(from), { connection }));
    const memoryMib = (before - (await freeBytes())) / target / MIB;
    const create: number[] = [];
    const exec: number[] = [];
    for (let n = 0; n < CREATES; n++) {
      const start = performance.now();
      const box = await Sandbox.create(cold(from), { connection });
      await run(box);
      create.push(performance.now() - start);
      await box.close();
    }
    for (let n = 0; n < EXECS; n++) {
      const start = performance.now();
      await run(live[(n * 7) % live.length] ?? live[0]);
      exec.push(performance.now() - start);
    }
    points.push({ live: target, memoryMib, createP95Ms: quantile(create, 0.95), execP95Ms: quantile(exec, 0.95), create, exec });
    process.stderr.write(`${target} live: ${memoryMib.toFixed(2)} MiB each, create p95 ${quantile(create, 0.95).toFixed(1)} ms, exec p95 ${quantile(exec, 0.95).toFixed(2)} ms\n`);
  }
  for (const box of live) await box.close();
  return points;
}

export async function emptySnapshot(connection: ConnectionOptions): Promise<string> {
  await using box = await Sandbox.create({}, { connection });
  return (await box.snapshot()).id;
}

async function run(box: Sandbox | undefined): Promise<void> {
  const ended = await box?.exec(['true']);
  if (ended?.exit !== 0) throw new Error(ended?.reason ?? 'there is no sandbox');
}

async function keep(points: readonly Point[]): Promise<string> {
  const started = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  const folder = join(ROOT, 'bench/results');
  const host = { kernel: release(), cpus: cpus().length, load: loadavg(), node: process.version };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `curve-${started}.json`), `${JSON.stringify({ host, points })}\n`);
  const path = join(folder, `curve-${started}.svg`);
  await writeFile(path, drawCurve(points, `${cpus().length} cores, kernel ${release()}, level container`));
  return path;
}
