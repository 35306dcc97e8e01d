import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './peers/peer.ts';

const ROOT = join(import.meta.dirname, '..');
const INSTALLS = 3;

/**
 * Seconds from a fresh clone of what is committed to the end of its first governed call, daemon and set-up included. What
 * Debian delivers is there already, and packages may come from the cache of this machine.
 */
export async function benchInstall(): Promise<readonly number[]> {
  const samples: number[] = [];
  for (let n = 0; n < INSTALLS; n++) samples.push(await once());
  return samples;
}

async function once(): Promise<number> {
  const scratch = await mkdtemp(join(process.env['CAISSON_BENCH_DIR'] ?? tmpdir(), 'caisson-install-'));
  const caisson = (...argv: readonly string[]): readonly string[] => ['env', `CAISSON_DIR=${scratch}/state`, `${scratch}/clone/caisson`, ...argv];
  try {
    const cloned = await runProgram(['git', 'clone', '-q', ROOT, `${scratch}/clone`]);
    if (cloned.status !== 0) throw new Error(`no clone: ${cloned.stderr.trim()}`);
    const start = performance.now();
    const { status, stderr } = await runProgram(caisson('run', '--', 'true'));
    const tookS = (performance.now() - start) / 1000;
    if (status !== 0) throw new Error(`the first call ended with ${status}: ${stderr.trim()}`);
    return tookS;
  } finally {
    await runProgram(caisson('down')).catch(() => undefined);
    await rm(scratch, { recursive: true, force: true });
  }
}
