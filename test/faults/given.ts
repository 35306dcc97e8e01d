import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { Level } from '@caisson/contract';
import { verifyLog } from '@caisson/evidence';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import type { Caisson } from '../harness.ts';

/** Longest that an instance may take to work again after one of its processes was killed. */
const RECOVERY_MS = 60_000;

export type Role = 'control' | 'launcher' | 'scribe' | 'vault';

async function pidOf(caisson: Caisson, role: Role): Promise<number | null> {
  return (await caisson.status()).processes.find(({ name }) => name === role)?.pid ?? null;
}

/** Kills a process of the instance; one that is being restarted is dead already. */
export async function kill(caisson: Caisson, role: Role): Promise<void> {
  const pid = await pidOf(caisson, role);
  if (pid !== null) process.kill(pid, 'SIGKILL');
}

/** Waits until a sandbox can be made, used and closed again. */
export async function worksAgain(connection: ConnectionOptions): Promise<void> {
  for (const untilMs = Date.now() + RECOVERY_MS; ; await delay(50)) {
    const worked = await oneCall(connection).then(() => null, (error: unknown) => inspect(error));
    if (worked === null) return;
    assert.ok(Date.now() < untilMs, `the instance did not recover: ${worked}`);
  }
}

async function oneCall(connection: ConnectionOptions): Promise<void> {
  await using box = await Sandbox.create({}, { connection, signal: AbortSignal.timeout(RECOVERY_MS) });
  assert.equal((await box.exec(['true'])).exit, 0);
}

/** Every intent has exactly one outcome but those of `open`, and the chain holds. */
export async function evidenceIsWhole({ paths }: Caisson, open: (subject: string) => boolean = () => false): Promise<void> {
  const verified = await verifyLog(paths.evidence, {});
  assert.equal(verified.bad, null);
  assert.deepEqual(verified.findings, [], 'no entry is missed');
  assert.deepEqual(verified.openIntents.filter((subject) => !open(subject)), []);
}

export const levelsHere = async (caisson: Caisson): Promise<readonly Level[]> => (await caisson.levels()).filter((level) => level === 'container' || level === 'gvisor');

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
