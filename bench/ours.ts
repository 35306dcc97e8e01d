import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { decide, parsePolicy } from '@caisson/authority';
import { runCommand } from '@caisson/cli';
import { Seccomp, statePaths, type Level, type StatePaths } from '@caisson/contract';
import { compile } from '@caisson/isolation';
import { remoteFacts, remoteLaunch } from '@caisson/runtime';
import { runProgram } from './peers/peer.ts';
import { repeat } from './peers/index.ts';

const ROOT = join(import.meta.dirname, '..');
const CAISSON = join(ROOT, 'caisson');
/** Calls before those that count. */
const WARM_UPS = 2;
/** Creates at once in the burst. */
const BURST = 100;
/** An exec is short: more of them for the same time. */
const EXECS_PER_RUN = 10;

type Samples = Readonly<Record<string, readonly number[] | string>>;

/** Whole calls, execs and the command line, through the processes of an instance of its own. */
export async function benchOurs({ count }: { readonly count: number }): Promise<Samples> {
  const dir = await mkdtemp(join(tmpdir(), 'caisson-bench-'));
  const command = (...argv: string[]): readonly string[] => ['env', `CAISSON_DIR=${dir}`, CAISSON, ...argv];
  const paths = statePaths({ env: { ...process.env, CAISSON_DIR: dir }, uid: process.getuid?.() ?? 0, resolve });
  try {
    const up = await runProgram(command('up', '--detach'));
    if (up.status !== 0) return unmeasured(up.stderr.trim());
    return {
      'create-container': await orReason(() => timeCalls(paths, 'container', count)),
      'create-gvisor': await orReason(() => timeCalls(paths, 'gvisor', count)),
      'exec-container': await orReason(() => timeExecs(paths, 'container', count * EXECS_PER_RUN)),
      'exec-gvisor': await orReason(() => timeExecs(paths, 'gvisor', count * EXECS_PER_RUN)),
      burst: await orReason(() => timeBurst(paths)),
      run: await orReason(() => repeat(count, command('run', '--', 'true'))),
    };
  } finally {
    await runProgram(command('down'));
    await rm(dir, { recursive: true, force: true });
  }
}

function unmeasured(reason: string): Samples {
  return Object.fromEntries(['create-container', 'create-gvisor', 'exec-container', 'exec-gvisor', 'burst', 'run'].map((id) => [id, reason]));
}

async function orReason(measure: () => Promise<readonly number[]>): Promise<readonly number[] | string> {
  return measure().catch((error: unknown) => `not measured here: ${(error as Error).message}`);
}

async function timed(count: number, once: () => Promise<void>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let n = 0; n < WARM_UPS + count; n++) {
    const start = performance.now();
    await once();
    times.push(performance.now() - start);
  }
  return times.slice(WARM_UPS);
}

/** From asking control to the result of the first command: with decision, both records on disk, and release. */
function timeCalls(paths: StatePaths, level: Level, count: number): Promise<readonly number[]> {
  return timed(count, () => call(paths, level));
}

/** Calls that all start now; each is timed from the start of the burst. */
async function timeBurst(paths: StatePaths): Promise<readonly number[]> {
  const start = performance.now();
  return Promise.all(Array.from({ length: BURST }, async () => {
    await call(paths, 'container');
    return performance.now() - start;
  }));
}

async function call(paths: StatePaths, level: Level): Promise<void> {
  const options = { signal: AbortSignal.timeout(60_000), stdin: undefined, write: () => Promise.resolve() };
  const { exit, reason } = await runCommand(paths, { argv: ['true'], level }, options);
  if (exit !== 0) throw new Error(reason);
}

/** From control's side of the launcher to the end of a command, in a sandbox that is there. */
async function timeExecs(paths: StatePaths, level: Level, count: number): Promise<readonly number[]> {
  const profile = async (path: string): Promise<string> => readFile(join(ROOT, 'profiles', path), 'utf8');
  const decision = decide({ argv: ['true'], level }, parsePolicy(await profile('policies/default.json'), 'default.json'));
  if (decision.effect === 'deny') throw new Error(decision.reason);
  const spec = compile({
    id: `sbx-${BigInt(`0x${randomBytes(10).toString('hex')}`).toString(36).padStart(16, '0').slice(-16)}`,
    decision,
    host: await remoteFacts(paths.launcherSocket, false),
    seccomp: Seccomp.parse(JSON.parse(await profile('seccomp/default.json'))),
  });
  if ('refused' in spec) throw new Error(spec.refused.message);
  const machine = await remoteLaunch(paths.launcherSocket, spec, { signal: AbortSignal.timeout(120_000) });
  try {
    return await timed(count, async () => {
      const { end } = await machine.spawn(
        { argv: ['/usr/bin/true'], env: ['PATH=/usr/bin'], cwd: '/workspace', stdin: false, outputBytes: 0 },
        { onOutput: () => Promise.resolve() },
      ).done;
      if (end.kind !== 'exited' || end.code !== 0) throw new Error(`true ${end.kind}`);
    });
  } finally {
    await machine.close();
  }
}
