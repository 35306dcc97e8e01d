import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { instanceId } from '@caisson/contract';
import { knownTo } from '../faults/known.ts';
import { settledLeftovers } from '../faults/leftovers.ts';
import { childrenOf, IS_ROOT, NEEDS_ROOT, type Caisson } from '../harness.ts';
import { descriptors, memoryKib, pidsOf, sharedInstance } from './given.ts';

const instance = sharedInstance();
const DAEMONS = ['supervisor', 'scribe', 'launcher', 'gate', 'control'];

/** Most that the resident memory of one daemon may grow over 200 calls, in KiB: what a collector leaves lying, no leak of a buffer per call. */
const GROWTH_KIB = 16 * 1024;

/** What connections take to close on the other side. */
const QUIET_MS = 300;

interface Held {
  readonly descriptors: Readonly<Record<string, number>>;
  readonly children: number;
  readonly mounts: readonly string[];
  readonly groups: readonly string[];
  readonly sandboxes: readonly string[];
  readonly states: readonly string[];
}

async function held(caisson: Caisson): Promise<Held> {
  const pids = await pidsOf(caisson);
  const launcher = pids['launcher'] ?? 0;
  const { runtimes, sandboxes } = caisson.paths;
  const { live } = await knownTo(caisson.paths); // prepared ones are no run's
  await delay(QUIET_MS);
  const ofRuns = (names: readonly string[]): readonly string[] => names.filter((name) => !live.has(/sbx-[0-9a-z]{16}/.exec(name)?.[0] ?? ''));
  return {
    descriptors: Object.fromEntries(DAEMONS.map((name) => [name, descriptors(pids[name] ?? 0)])),
    children: childrenOf(launcher).length,
    mounts: ['self', launcher].flatMap((pid) => readFileSync(`/proc/${pid}/mounts`, 'utf8').split('\n').filter((line) => line.includes('caisson'))),
    groups: ofRuns(globSync([`/sys/fs/cgroup/*/caisson/${instanceId(caisson.dir)}/*`, `/sys/fs/cgroup/caisson/${instanceId(caisson.dir)}/sbx-*`]).filter((path) => path.includes('/sbx-'))),
    sandboxes: ofRuns(readdirSync(sandboxes)),
    states: ofRuns(readdirSync(runtimes).flatMap((runtime) => readdirSync(`${runtimes}/${runtime}`))),
  };
}

/** What is held once that stands still: the scribe has files open while it publishes, and a connection of the last question may still be closing. */
async function heldStill(caisson: Caisson): Promise<Held> {
  for (let [last, attempt] = [await held(caisson), 0]; ; attempt++) {
    const now = await held(caisson);
    if (isDeepStrictEqual(now, last)) return now;
    assert.ok(attempt < 40, `what is held does not stand still: ${JSON.stringify([last, now])}`);
    last = now;
  }
}

/** What is held once it is no more than `most`: a connection of the last question may still be closing. */
async function heldOnceAt(most: Held, caisson: Caisson): Promise<Held> {
  for (let attempt = 0; ; attempt++) {
    const now = await held(caisson);
    if (attempt === 40 || isDeepStrictEqual(now, most)) return now;
    await delay(50);
  }
}

async function runMany(caisson: Caisson, count: number): Promise<void> {
  const worker = async (): Promise<void> => {
    for (let done = 0; done < count / 2; done++) assert.equal((await caisson.run({ argv: ['sh', '-c', 'echo out; echo err >&2'] })).result.exit, 0);
  };
  await Promise.all([worker(), worker()]);
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
}

test('200 runs leave memory, descriptors, mounts, cgroups and folders where they were', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const caisson = await instance();
  await runMany(caisson, 240); // until compilers and collectors of the processes have settled
  const pids = await pidsOf(caisson);
  const rss = (): readonly number[] => DAEMONS.map((name) => memoryKib(pids[name] ?? 0, 'VmRSS'));
  const [before, memoryBefore] = [await heldStill(caisson), rss()];
  await runMany(caisson, 200);
  const [after, memoryAfter] = [await heldOnceAt(before, caisson), rss()];
  assert.deepEqual(after, before);
  assert.deepEqual([after.groups, after.sandboxes, after.states], [[], [], []]);
  const growth = DAEMONS.map((name, at) => [name, (memoryAfter[at] ?? 0) - (memoryBefore[at] ?? 0)] as const);
  assert.ok(growth.every(([, kib]) => kib < GROWTH_KIB), JSON.stringify(growth));
});
