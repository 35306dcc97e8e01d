import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { hideUnifiedCgroup, type Machine } from '@caisson/runtime';
import { againInOwnMounts, IS_ROOT, needsOwnMounts, openGround, readHost, specFor, type Ground } from '../drivers/given.ts';
import { runIn } from '../drivers/suite.ts';
import { buildDir, compile } from './given.ts';

const { EACCES, EPERM } = constants.errno;
/** What every attempt of steal.c to get hold of pid 1 meets. */
const REFUSED: Readonly<Record<string, number>> = {
  'list-descriptors': EACCES, 'link-of-control': EACCES, 'link-of-data': EACCES, 'open-control': EACCES, 'open-data': EACCES,
  'open-task-control': EACCES, 'open-memory': EACCES, 'open-maps': EACCES, 'open-root': EACCES, 'oom-score': EACCES,
  'ptrace-attach': EPERM, 'ptrace-seize': EPERM, 'pidfd-getfd': EPERM, 'vm-read': EPERM, 'vm-write': EPERM, kcmp: EPERM, limits: EPERM,
};

/** How often the same attack, run outside, gets a socket of a process without the protections of pid 1. */
function stolenOutside(steal: string): number {
  const victim = spawn('sleep', ['10'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] }); // a socket as its descriptor 3
  try {
    return Number(/got (\d+)/.exec(execFileSync(steal, ['race', '300']).toString())?.[1]);
  } finally {
    victim.kill('SIGKILL');
  }
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) suite('the lanes of pid 1', () => test('cannot be taken from inside', (t) => t.skip('needs root: no sandbox starts without it')));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const { name, guestKernel } of runtimes) {
    suite(`the lanes of pid 1 under ${name}`, () => {
      const build = buildDir();
      let ground: Ground;
      let steal = Buffer.alloc(0);
      before(async () => {
        steal = readFileSync(await compile(`${build.path}/steal`, [`${import.meta.dirname}/steal.c`], ['-O2', '-static']));
        ground = await openGround(name);
      });
      after(async () => {
        await ground[Symbol.asyncDispose]();
        build[Symbol.dispose]();
      });

      async function withThief(use: (machine: Machine) => Promise<void>): Promise<void> {
        const machine = await ground.driver.launch(specFor(ground.host), { signal: new AbortController().signal });
        try {
          const installed = await runIn(machine, ['sh', '-c', 'cat >/tmp/steal && chmod +x /tmp/steal'], { stdin: true }, async (exec) => {
            await exec.writeStdin(steal);
            await exec.endStdin();
          });
          assert.deepEqual(installed.end, { kind: 'exited', code: 0 });
          await use(machine);
        } finally {
          await machine.close();
          await ground.driver.settled();
        }
      }

      test(`${name}: a command can neither see, open, copy, read nor limit pid 1 or its descriptors`, () => withThief(async (machine) => {
        const { stdout } = await runIn(machine, ['/tmp/steal', 'once']);
        const lines = Object.fromEntries(stdout.toString().trim().split('\n').map((line) => line.split(' ') as [string, string]));
        assert.equal(lines['inherited-descriptors'], '0');
        const expected = Object.fromEntries(Object.entries(REFUSED).map(([attempt, errno]) => [attempt, `${errno}`]));
        // gVisor shows which numbers are in use, and nothing that stands behind them.
        if (guestKernel === 'own') expected['list-descriptors'] = 'got';
        assert.deepEqual(lines, { 'inherited-descriptors': '0', ...expected });
      }));

      test(`${name}: the moment between fork and exec gives nothing away`, () => withThief(async (machine) => {
        for (let turn = 1; ; turn++) {
          const thief = runIn(machine, ['/tmp/steal', 'race', '3000']);
          let execs = 0;
          for (const until = performance.now() + 2_800; performance.now() < until; execs++) await runIn(machine, ['true']);
          const [, rounds, most, got] = /^rounds (\d+) most (\d+) got (\d+)/.exec((await thief).stdout.toString()) ?? [];
          assert.equal(got, '0');
          if (execs > 10 && Number(rounds) > 20 && Number(most) >= 2) break;
          assert.ok(turn < 3, `${execs} execs, ${rounds} rounds, ${most} processes at most`);
        }
      }));

      for (const how of ['kill', 'all', 'tkill', 'tgkill', 'queue', 'pidfd']) {
        test(`${name}: SIGKILL to pid 1 by ${how} ends neither it nor another sandbox`, () => withThief(async (machine) => {
          const neighbour = await ground.driver.launch(specFor(ground.host), { signal: new AbortController().signal });
          try {
            const { end } = await runIn(machine, ['/tmp/steal', 'kill', how]);
            assert.equal(end.kind, 'exited', `the sandbox ended: ${JSON.stringify(end)}`);
            assert.deepEqual((await runIn(machine, ['sh', '-c', 'exit 4'])).end, { kind: 'exited', code: 4 });
            assert.deepEqual((await runIn(neighbour, ['sh', '-c', 'exit 5'])).end, { kind: 'exited', code: 5 });
          } finally {
            await neighbour.close();
          }
        }));
      }

      test(`${name}: no other signal from inside ends pid 1 or stops it`, () => withThief(async (machine) => {
        for (const signal of ['TERM', 'STOP', 'SEGV', 'ABRT', 'CHLD', 'PIPE', 'HUP']) {
          const { end } = await runIn(machine, ['sh', '-c', `kill -${signal} 1; exit 3`]);
          assert.deepEqual(end, { kind: 'exited', code: 3 }, signal);
        }
      }));

      test(`${name}: a flood of signals to pid 1 does not stop it from serving`, () => withThief(async (machine) => {
        const flood = runIn(machine, ['sh', '-c', 'i=0; while [ $i -lt 20000 ]; do kill -CHLD 1; i=$((i+1)); done; exit 2']);
        await delay(20);
        assert.deepEqual((await runIn(machine, ['sh', '-c', 'exit 8'])).end, { kind: 'exited', code: 8 });
        assert.deepEqual((await flood).end, { kind: 'exited', code: 2 });
      }));
    });
  }

  test('the same attack takes a socket of a process that is not protected', async (t) => {
    const build = buildDir();
    t.after(() => build[Symbol.dispose]());
    const steal = await compile(`${build.path}/steal`, [`${import.meta.dirname}/steal.c`], ['-O2', '-static']);
    let stolen = 0;
    for (let turn = 0; turn < 3 && stolen === 0; turn++) stolen = stolenOutside(steal);
    assert.ok(stolen > 0);
  });
}
