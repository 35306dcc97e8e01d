import { openFileLog, type FileLog } from '@caisson/evidence';

/** Appends measured one after another, and appends made to measure the rate. */
const SEQUENTIAL = 1_000;
const CONCURRENT = 20_000;
const IN_FLIGHT = 64;

export interface EvidenceBench {
  /** One append at a time, from the call to its receipt. */
  readonly p50Ms: number;
  readonly p95Ms: number;
  /** With 64 appends under way at any time. */
  readonly appendsPerSecond: number;
  /** Every sequential append, in the order made, in milliseconds. */
  readonly samples: number[];
}

/** Measures durable appends through a real log in `dir`, which should be on the file system that evidence is kept on. */
export async function benchEvidence({ dir }: { readonly dir: string }): Promise<EvidenceBench> {
  await using log = await openFileLog({ dir, now: Date.now });
  const samples: number[] = [];
  for (let call = 0; call < SEQUENTIAL; call++) samples.push(await timeAppend(log, `one-${call}`));
  const sorted = samples.toSorted((a, b) => a - b);
  return { p50Ms: quantile(sorted, 0.5), p95Ms: quantile(sorted, 0.95), appendsPerSecond: await measureRate(log), samples };
}

async function timeAppend(log: FileLog, subject: string): Promise<number> {
  const startMs = performance.now();
  await appendIntent(log, subject);
  return performance.now() - startMs;
}

async function measureRate(log: FileLog): Promise<number> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < CONCURRENT) await appendIntent(log, `many-${next++}`);
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return (next * 1000) / (performance.now() - startMs);
}

/** An entry of the size that a run leaves. */
async function appendIntent(log: FileLog, subject: string): Promise<void> {
  const limits = { cpusMilli: 1000, memoryBytes: 536_870_912, pids: 128, outputBytes: 16_777_216, timeoutMs: 60_000 };
  await log.append({
    kind: 'intent',
    source: 'control',
    subject,
    body: { command: ['python3', '-c', 'print(sum(range(10)))'], cwd: '/workspace', level: 'container', limits, rule: 'policy.default', spec: 'f'.repeat(64) },
  });
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
