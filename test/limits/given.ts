import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, test, type TestContext } from 'node:test';
import { LEVELS, type Level, type RunRequest } from '@caisson/contract';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson, type Ran } from '../harness.ts';

/** One instance for the tests of a file, started by the first that asks: a file whose tests are all left out starts none. */
export function sharedInstance(): () => Promise<Caisson> {
  let started: Promise<Caisson> | undefined;
  after(async () => (await started)?.[Symbol.asyncDispose]());
  return () => {
    started ??= startCaisson();
    return started;
  };
}

type AtLevel = (run: (request: RunRequest) => Promise<Ran>, caisson: Caisson, t: TestContext) => Promise<void>;

/** One test per level, skipped where the host lacks the level. */
export function atEachLevel(instance: () => Promise<Caisson>, claim: string, body: AtLevel, levels: readonly Level[] = LEVELS.slice(0, 2)): void {
  for (const level of levels) {
    test(`${claim} (${level})`, { skip: IS_ROOT ? false : NEEDS_ROOT }, async (t) => {
      const caisson = await instance();
      if (!(await caisson.levels()).includes(level)) return t.skip(`level ${level} is not available here`);
      await body((request) => caisson.run({ ...request, level }), caisson, t);
    });
  }
}

export const python = (script: string): readonly string[] => ['python3', '-c', script];

export const lines = (ran: Ran): readonly string[] => ran.stdout.toString('utf8').trimEnd().split('\n');

/** Kibibytes of a field of /proc/PID/status, such as VmRSS. */
export function memoryKib(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN);
}

/** From here on VmHWM of the process is its peak since now (proc(5), clear_refs). */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export async function pidsOf(caisson: Caisson): Promise<Readonly<Record<string, number>>> {
  const { pid, processes } = await caisson.status();
  return { supervisor: pid, ...Object.fromEntries(processes.map((process) => [process.name, process.pid])) };
}
