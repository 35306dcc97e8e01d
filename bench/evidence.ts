import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { proveEntry } from '@caisson/cli';
import type { Secret } from '@caisson/contract';
import { folderFetch, openFileLog, publishedKeys, scribeVerbs, type FileLog } from '@caisson/evidence';

/** Appends measured one after another, and appends made to measure the rate. */
const SEQUENTIAL = 1_000;
const CONCURRENT = 20_000;
const IN_FLIGHT = 64;
/** Entries of the log that is verified, and proofs made of it. */
const MANY = 1_000_000;
const PROOFS = 300;
/** A prime: the entries that are proven lie all over the log, each in a bundle that was not read before. */
const STRIDE = 7_919;

export interface EvidenceBench {
  /** One append at a time, from the call to its receipt. */
  readonly p50Ms: number;
  readonly p95Ms: number;
  /** With 64 appends under way at any time. */
  readonly appendsPerSecond: number;
  /** Every sequential append, in the order made, in milliseconds. */
  readonly samples: number[];
  /** Time of a process that verifies a million entries. */
  readonly verifySeconds: number;
  /** The most memory that this process had, all of it. */
  readonly verifyMiB: number;
  /** Time in which the log of a million entries is open for appends, in a process of its own. */
  readonly startMs: number;
  /** Each proof of an entry of that log, in milliseconds. */
  readonly proofsMs: number[];
}

/** Measures durable appends through a real log in `dir`, which should be on the file system that evidence is kept on. */
export async function benchEvidence({ dir }: { readonly dir: string }): Promise<EvidenceBench> {
  const folder = `${dir}/evidence`;
  let samples: number[] = [];
  let appendsPerSecond = 0;
  {
    await using log = await openFileLog({ dir: folder, now: Date.now });
    samples = await measureOneByOne(log);
    appendsPerSecond = await measureRate(log);
    await fill(log);
  }
  const sorted = samples.toSorted((a, b) => a - b);
  return { p50Ms: quantile(sorted, 0.5), p95Ms: quantile(sorted, 0.95), appendsPerSecond, samples, ...(await measureVerify(folder)), ...(await measureStart(folder)), proofsMs: await measureProofs(folder) };
}

async function fill(log: FileLog): Promise<void> {
  let next = ((await log.head())?.index ?? -1) + 1;
  const lane = async (): Promise<void> => {
    while (next < MANY) await log.append({ kind: 'lifecycle', source: 'control', subject: `sbx-${next++}`, body: { event: 'pause', caller: 'uid:1000', digest: 'f'.repeat(64) } });
  };
  await Promise.all(Array.from({ length: 4 * IN_FLIGHT }, lane));
}

/** In a process of its own, as who verifies has it. */
async function measureVerify(folder: string): Promise<Pick<EvidenceBench, 'verifySeconds' | 'verifyMiB'>> {
  const program = `const { verifyLog } = await import('@caisson/evidence'); const start = performance.now();
    const { entries, bad } = await verifyLog(process.argv[1]); if (bad !== null || entries < ${MANY}) process.exit(1);
    console.log(JSON.stringify({ verifySeconds: (performance.now() - start) / 1000, verifyMiB: process.resourceUsage().maxRSS / 1024 }))`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, folder], { cwd: import.meta.dirname });
  return JSON.parse(stdout) as Pick<EvidenceBench, 'verifySeconds' | 'verifyMiB'>;
}

async function measureStart(folder: string): Promise<Pick<EvidenceBench, 'startMs'>> {
  const program = `const { openFileLog } = await import('@caisson/evidence'); const start = performance.now();
    const log = await openFileLog({ dir: process.argv[1], now: Date.now }); const startMs = performance.now() - start;
    const { index } = await log.append({ kind: 'lifecycle', source: 'control', subject: 'sbx-start', body: {} }); if (index < ${MANY}) process.exit(1);
    await log[Symbol.asyncDispose](); console.log(JSON.stringify({ startMs }))`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, folder], { cwd: import.meta.dirname });
  return JSON.parse(stdout) as Pick<EvidenceBench, 'startMs'>;
}

async function measureProofs(folder: string): Promise<number[]> {
  const fetch = folderFetch(folder);
  const keys = await publishedKeys(fetch);
  const proofsMs: number[] = [];
  for (let at = 0; at < PROOFS; at++) {
    const startMs = performance.now();
    const proof = await proveEntry(fetch, (at * STRIDE) % MANY, keys);
    if ('bad' in proof) throw new Error(proof.bad);
    proofsMs.push(performance.now() - startMs);
  }
  return proofsMs;
}

/** @param secret what is sealed beside each; default: nothing */
export async function measureOneByOne(log: FileLog, secret?: Secret): Promise<number[]> {
  const samples: number[] = [];
  for (let call = 0; call < SEQUENTIAL; call++) {
    const startMs = performance.now();
    await appendIntent(log, `one-${call}`, secret);
    samples.push(performance.now() - startMs);
  }
  return samples;
}

/** Appends in a second, with 64 under way at any time. */
export async function measureRate(log: FileLog, secret?: Secret): Promise<number> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < CONCURRENT) await appendIntent(log, `many-${next++}`, secret);
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return (next * 1000) / (performance.now() - startMs);
}

/** An entry of the size that a run leaves, as the scribe takes it: its body is checked first. */
async function appendIntent(log: FileLog, subject: string, secret?: Secret): Promise<void> {
  const limits = { cpusMilli: 1000, memoryBytes: 536_870_912, pids: 128, outputBytes: 16_777_216, timeoutMs: 60_000 };
  const decision = { effect: 'allow', rule: 'policy.default', reason: '' };
  await scribeVerbs(log)['append']?.({
    kind: 'intent',
    source: 'control',
    subject,
    body: { caller: 'uid:1000', program: 'python3', request: 'f'.repeat(64), decision, level: 'container', limits, policy: 'f'.repeat(64), network: null, secrets: [] },
    ...(secret !== undefined && { secret }),
  });
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
