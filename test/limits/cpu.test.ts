import assert from 'node:assert/strict';
import { leastOf } from '../least.ts';
import { atEachLevel, python, sharedInstance } from './given.ts';

const instance = sharedInstance();

atEachLevel(instance, 'CPU time is counted over all processes, and ends the call with 124', async (run) => {
  // Read every 100 ms, on two cores: at most 200 ms late, and some for the reading. A launcher that this machine holds up reads later.
  const cpuMs = await leastOf(1_200, async () => {
    const { result } = await run({ argv: ['sh', '-c', 'for i in 1 2 3 4; do (while :; do :; done) & done; wait'], limits: { cpuMs: 600, cpuMillis: 2_000, wallMs: 20_000 } });
    assert.equal(result.exit, 124);
    assert.deepEqual(result.ending, { kind: 'timed-out', limit: 'cpu', limitMs: 600 });
    const each = result.usage.cpuMs ?? 0;
    assert.ok(each > 600, `${each} ms`);
    return each;
  });
  assert.ok(cpuMs < 1_200, `${cpuMs} ms`);
});

atEachLevel(instance, 'half a core is half a core', async (run) => {
  const spin = 'import time\nstart = time.perf_counter()\nwhile time.perf_counter() - start < 1.2: pass';
  const wallPerCpu = await leastOf(5, async () => {
    const { result } = await run({ argv: python(spin), limits: { cpuMillis: 500 } });
    const wallMs = (result.timings['run'] ?? 0) - (result.timings['compile'] ?? 0);
    const share = (result.usage.cpuMs ?? 0) / wallMs;
    assert.ok(share < 0.62, `${share} of a core`);
    return 1 / share;
  });
  assert.ok(wallPerCpu < 5, `${1 / wallPerCpu} of a core`);
});

atEachLevel(instance, 'sleeping costs no CPU time', async (run) => {
  const { result } = await run({ argv: ['sleep', '1'], limits: { cpuMs: 900 } });
  assert.equal(result.exit, 0);
}, ['container']);
