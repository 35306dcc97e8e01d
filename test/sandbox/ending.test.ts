import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitStatus, reasonFor, type Usage } from '@caisson/contract';
import type { ExecEnd } from '@caisson/runtime';
import { endingOf } from '@caisson/sandbox';
import { shippedPolicy } from '../isolation/given.ts';

const LIMITS = { ...shippedPolicy.limits.default, wallMs: 1_000, cpuMs: 2_000, memoryBytes: 64 * 1024 * 1024 };
const usage = (oomKills: number | null): Usage => ({ cpuMs: 1, memoryPeakBytes: 1, pidsPeak: 1, oomKills });

/** What the driver saw, how often the kernel killed for memory, and what a shell and a person are told. */
const ENDINGS: readonly (readonly [end: ExecEnd, oomKills: number | null, exit: number, reason: RegExp])[] = [
  [{ kind: 'exited', code: 0 }, 0, 0, /exited with 0/],
  [{ kind: 'exited', code: 7 }, 0, 7, /exited with 7/],
  [{ kind: 'exited', code: 137 }, 0, 137, /exited with 137/],
  [{ kind: 'exited', code: 137 }, 1, 137, /more than its 64 MiB of memory/],
  [{ kind: 'exited', code: 0 }, 3, 0, /exited with 0/],
  [{ kind: 'exited', code: 1 }, 1, 1, /exited with 1/],
  [{ kind: 'signaled', signal: 9 }, 1, 137, /more than its 64 MiB of memory/],
  [{ kind: 'signaled', signal: 9 }, 0, 137, /killed by signal 9/],
  [{ kind: 'signaled', signal: 9 }, null, 137, /killed by signal 9/],
  [{ kind: 'signaled', signal: 15 }, 1, 143, /killed by signal 15/],
  [{ kind: 'timed-out', limit: 'wall' }, 0, 124, /wall time of 1000 ms/],
  [{ kind: 'timed-out', limit: 'cpu' }, 0, 124, /CPU time of 2000 ms/],
  [{ kind: 'lost', detail: 'gone' }, 0, 123, /unknown: gone/],
  [{ kind: 'lost', detail: 'gone' }, null, 123, /unknown: gone/],
  [{ kind: 'lost', detail: 'gone' }, 1, 137, /more than its 64 MiB of memory/],
  [{ kind: 'not-started', stage: 'exec', errno: 2 }, 0, 127, /^prog: no such program/],
  [{ kind: 'not-started', stage: 'exec', errno: 20 }, 0, 127, /^prog: no such program/],
  [{ kind: 'not-started', stage: 'exec', errno: 13 }, 0, 126, /^prog: cannot be run \(EACCES\)/],
  [{ kind: 'not-started', stage: 'exec', errno: 7 }, 0, 126, /^prog: cannot be run \(E2BIG\)/],
  [{ kind: 'not-started', stage: 'exec', errno: 8 }, 0, 126, /^prog: cannot be run \(ENOEXEC\)/],
  [{ kind: 'not-started', stage: 'cwd', errno: 2 }, 0, 126, /directory \/nope cannot be entered \(ENOENT\)/],
  [{ kind: 'not-started', stage: 'setup', errno: 11 }, 0, 125, /could not be started: no more than 50 processes/],
];

for (const [end, oomKills, exit, reason] of ENDINGS) {
  test(`${JSON.stringify(end)} with ${oomKills ?? 'unknown'} kills for memory is exit ${exit} and says ${reason.source}`, () => {
    const ending = endingOf(end, usage(oomKills), LIMITS, { argv: ['prog'], cwd: '/nope' });
    assert.equal(exitStatus(ending), exit);
    assert.match(reasonFor(ending), reason);
  });
}

test('an errno that the kernel may not know yet still makes a sentence', () => {
  const ending = endingOf({ kind: 'not-started', stage: 'exec', errno: 4095 }, usage(0), LIMITS, { argv: ['prog'] });
  assert.match(reasonFor(ending), /^prog: cannot be run \(.+\)$/);
});
