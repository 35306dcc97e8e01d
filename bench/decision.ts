import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decide, parsePolicy } from '@caisson/authority';
import { MIB, type RunRequest } from '@caisson/contract';

const POLICY = join(import.meta.dirname, '../profiles/policies/default.json');
const WARM_UP = 2_000;
const SAMPLES = 20_000;

/** Time of one decision, in microseconds, each timed on its own: requests as they come, allowed and refused in turn. */
export function benchDecision(): { p50Us: number; p95Us: number; samples: number[] } {
  const policy = parsePolicy(readFileSync(POLICY, 'utf8'), POLICY);
  const requests: readonly RunRequest[] = [
    { argv: ['true'] },
    { argv: ['python3', '-c', 'print(1)'], level: 'gvisor', limits: { memoryBytes: 128 * MIB, wallMs: 10_000 } },
    { argv: ['make'], limits: { pids: 100_000 } },
  ];
  const samples: number[] = [];
  for (let run = 0; run < WARM_UP + SAMPLES; run++) {
    const request = requests[run % requests.length] as RunRequest;
    const start = performance.now();
    decide(request, policy);
    const elapsedUs = (performance.now() - start) * 1000;
    if (run >= WARM_UP) samples.push(elapsedUs);
  }
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { p50Us: at(0.5), p95Us: at(0.95), samples };
}
