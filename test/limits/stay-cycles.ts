import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import { settledLeftovers } from '../faults/leftovers.ts';
import type { Caisson } from '../harness.ts';
import { descriptors, memoryKib, pidsOf } from './given.ts';

/** What an instance holds when nothing is under way. */
export interface Holding {
  readonly descriptors: Readonly<Record<string, number>>;
  readonly memoryKib: Readonly<Record<string, number>>;
  readonly mounts: number;
  readonly images: number;
  readonly poolBytes: number;
  readonly left: readonly string[];
}

const DAEMONS = ['supervisor', 'scribe', 'launcher', 'gate', 'control'] as const;
/** Prepared sandboxes that stay when nobody asks for any; one too many is tolerated. */
const PREPARED = 3;
/** How long prepared sandboxes of a demand that is over, connections and helpers may take to go. */
const QUIET_MS = 60_000;

async function holding(caisson: Caisson): Promise<Holding> {
  const pids = await pidsOf(caisson);
  const each = (measure: (pid: number) => number): Readonly<Record<string, number>> => Object.fromEntries(DAEMONS.map((name) => [name, measure(pids[name] ?? 0)]));
  const launcher = pids['launcher'] ?? 0;
  const pool = `/proc/${launcher}/root${caisson.paths.workspaces}/pool`;
  const { blocks, bfree, bsize } = statfsSync(pool);
  return {
    descriptors: each(descriptors),
    memoryKib: each((pid) => memoryKib(pid, 'VmRSS')),
    mounts: readFileSync(`/proc/${launcher}/mounts`, 'utf8').split('\n').filter((line) => line.includes('caisson')).length,
    images: readdirSync(`${pool}/images`).length,
    poolBytes: (blocks - bfree) * bsize,
    left: await settledLeftovers(caisson.paths),
  };
}

/** What is held once nothing is left over and of the prepared sandboxes only the usual ones are there. */
export async function quietHolding(caisson: Caisson): Promise<Holding> {
  for (const untilMs = Date.now() + QUIET_MS; ; await delay(500)) {
    const now = await holding(caisson);
    if ((now.left.length === 0 && now.images <= PREPARED) || Date.now() > untilMs) return now;
  }
}

/** Creates, uses and closes so many sandboxes, two at a time. Every tenth has a name for its workspace, a snapshot, and is paused once. */
export async function cycles(connection: ConnectionOptions, count: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let cycle = next++; cycle < count; cycle = next++) await once(connection, cycle);
  };
  await Promise.all([worker(), worker()]);
}

async function once(connection: ConnectionOptions, cycle: number): Promise<void> {
  await using box = await Sandbox.create({}, { connection });
  const { exit, stdout } = await box.sh('echo $0 > file; head -c 100000 /dev/zero | tr "\\0" x');
  if (exit !== 0 || stdout.length !== 100_000) throw new Error(`cycle ${cycle}: exit ${exit}, ${stdout.length} bytes`);
  if (cycle % 10 !== 0) return;
  await box.files.write('other', 'x'.repeat(10_000));
  await box.pause();
  await box.resume();
}
