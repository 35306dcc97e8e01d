import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { expiryOf } from '@caisson/sandbox';

type Box = Parameters<typeof expiryOf>[0];

const STATES = ['running', 'paused', 'creating', 'restoring', 'closing'] as const;
const time = fc.integer({ min: 0, max: 10_000 });

/** A sandbox as far as its time is concerned. */
const box = fc.record({
  expiresMs: time,
  idleMs: fc.option(fc.integer({ min: 10, max: 10_000 }), { nil: null }),
  lastUsedMs: time,
  running: fc.boolean().map((busy) => (busy ? [{}] : []) as unknown as Box['running']),
  uses: fc.integer({ min: 0, max: 2 }),
  state: fc.constantFrom(...STATES),
});

test('a sandbox is closed at its end at the latest, idle only when it is, and looked at again before either', () => {
  fc.assert(fc.property(box, time, (of, nowMs) => {
    const expired = expiryOf(of, nowMs);
    if (nowMs >= of.expiresMs) return assert.ok('why' in expired);
    const idle = of.idleMs !== null && of.state === 'running' && of.running.length === 0 && of.uses === 0 && nowMs >= of.lastUsedMs + of.idleMs;
    assert.equal('why' in expired, idle);
    if ('againMs' in expired) assert.ok(expired.againMs > nowMs && expired.againMs <= of.expiresMs);
  }), { numRuns: 5_000 });
});
