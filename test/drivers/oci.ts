import assert from 'node:assert/strict';
import { fork, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import type { HostFacts, SomeLimits } from '@caisson/contract';
import type { Machine } from '@caisson/runtime';
import { leastOf } from '../least.ts';
import { childProgram, devNull, foldersOf, leftOf, openGround, pidsOf, read, specFor, type Ground, type GroundOptions } from './given.ts';
import { runIn } from './suite.ts';

const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });
const SH = (script: string): string[] => ['sh', '-c', script];
const UID_BASE = 1_999_000_000;

/** One way in which a launch cannot succeed, and the words that say so. */
export type Broken = readonly [what: string, options: GroundOptions, words: RegExp];

export interface Host {
  /** Uids of the host that sandboxes may have. */
  readonly uids?: readonly [from: number, below: number];
  readonly broken?: readonly Broken[];
  /** What else may be left of a ground's sandboxes. */
  readonly more?: () => readonly string[];
}

const at = (path: string) => (host: HostFacts): HostFacts => ({ ...host, runtimes: host.runtimes.map((runtime) => ({ ...runtime, path })) });

const BROKEN: readonly Broken[] = [
  ['a runtime that is not there', { facts: at('/no/such/runtime') }, /ENOENT/],
  ['a runtime that fails', { facts: at('/bin/false') }, /the runtime ended with 1/],
  ['a runtime that does nothing', { facts: at('/bin/true') }, /pid 1 ended before it spoke/],
  ['an init that is no program', { init: { text: 'no program', mode: 0o755 } }, /the runtime ended with \d+: .*(exec|format)|pid 1 ended before it spoke/is],
  ['an init that may not be run', { init: { text: 'x', mode: 0o644 } }, /the runtime ended with \d+: .*(permission|denied)/is],
  ['an init that ends at once', { init: { text: '#!/bin/sh\nexit 0\n', mode: 0o755 } }, /pid 1 ended before it spoke/],
  ['a root that is not there', { rootfs: '/no/such/root' }, /the runtime ended with \d+: \S/],
];

export const DOCKER_BROKEN: readonly Broken[] = [
  ['a daemon that is not there', { facts: at('/no/such/socket') }, /ENOENT/],
  ['a socket that nobody listens on', { facts: at('/bin/false') }, /ECONNREFUSED|ENOTSOCK/],
  ['an init that is no program', { init: { text: 'no program', mode: 0o755 } }, /answered \d+: .*(exec|format)|pid 1 ended before it spoke/is],
  ['an init that may not be run', { init: { text: 'x', mode: 0o644 } }, /answered \d+: .*(permission|denied)/is],
  ['an init that ends at once', { init: { text: '#!/bin/sh\nexit 0\n', mode: 0o755 } }, /pid 1 ended before it spoke/],
  ['a root that is not there', { rootfs: '/no/such/root' }, /no\/such\/root/],
];

/** What a driver promises beyond the suite when there is a kernel behind it. */
export function ociSuite(name: string, skip: string | false, { uids: range = [UID_BASE + 1, UID_BASE + 131_072], broken: ways = BROKEN, more = () => [] }: Host = {}): void {
  suite(`driver ${name} and the host`, { skip }, () => {
    let ground: Ground;
    let devNullBefore = '';
    before(async () => {
      devNullBefore = devNull();
      ground = await openGround(name);
    });
    after(() => ground[Symbol.asyncDispose]());

    async function withMachine(use: (machine: Machine) => Promise<void>, limits: SomeLimits = {}): Promise<void> {
      const machine = await ground.driver.launch(specFor(ground.host, limits), never());
      try {
        await use(machine);
      } finally {
        await machine.close();
        await ground.driver.settled();
      }
      assert.deepEqual([...leftOf(ground), ...more()], []);
      assert.equal(devNull(), devNullBefore, '/dev/null stays everybody\'s');
    }

    test(`${name}: every sandbox has uids of the host that no other has, and none is root's`, async () => {
      const specs = [specFor(ground.host), specFor(ground.host), specFor(ground.host)];
      const machines = await Promise.all(specs.map((spec) => ground.driver.launch(spec, never())));
      const uids = specs.map(({ id }) => new Set(pidsOf(ground, id).map((pid) => Number(/^Uid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1]))));
      for (const own of uids) for (const uid of own) assert.ok(uid >= range[0] && uid < range[1], `uid ${uid}`);
      assert.equal(new Set(uids.flatMap((own) => [...own])).size, uids.reduce((sum, own) => sum + own.size, 0));
      assert.ok(uids.every((own) => own.size > 0));
      for (const machine of machines) await machine.close();
      await ground.driver.settled();
    });

    test(`${name}: a sandbox that has all the inotify instances it can get leaves its neighbours theirs, and the host its own`, async () => {
      const [first, second] = await Promise.all([1, 2].map(() => ground.driver.launch(specFor(ground.host), never())));
      assert.ok(first !== undefined && second !== undefined);
      const all = 'import ctypes, os\nlibc, got = ctypes.CDLL(None), 0\nwhile got < 300 and libc.inotify_init1(0) >= 0: got += 1\nprint(got, flush=True)\n';
      const taken = Promise.withResolvers<string>();
      const taking = first.spawn({ argv: ['python3', '-c', `${all}os.read(0, 1)`], env: [], cwd: '/', stdin: true, outputBytes: 1_000 }, { onOutput: async (_stream, bytes) => taken.resolve(bytes.toString()) });
      try {
        const one = await Promise.race([taken.promise, taking.done.then(() => 'ended')]);
        const other = (await runIn(second, ['python3', '-c', all])).stdout.toString();
        assert.match(one, /^[1-9]\d+\n$/);
        assert.equal(other, one);
        assert.equal(spawnSync('python3', ['-c', 'import ctypes, sys\nsys.exit(ctypes.CDLL(None).inotify_init1(0) < 0)']).status, 0);
      } finally {
        await Promise.all([first.close(), second.close()]);
        await ground.driver.settled();
      }
    });

    test(`${name}: what a command leaves behind is reaped when it ends, so that no zombie stays`, () => withMachine(async (machine) => {
      await runIn(machine, SH('for i in 1 2 3 4 5; do (sleep 0.1 &); done; setsid sleep 0.2 & exit 0'));
      for (const untilMs = performance.now() + 10_000; ; await delay(100)) {
        const states = (await runIn(machine, SH('cat /proc/[0-9]*/stat'))).stdout.toString();
        if (!/\) Z /.test(states) && states.split('\n').length < 6) break;
        assert.ok(performance.now() < untilMs, states);
      }
    }));

    test(`${name}: CPU time beyond its limit has timed out`, async () => {
      const usedMs = await leastOf(2_000, async () => {
        let used: number | null = null;
        await withMachine(async (machine) => {
          assert.deepEqual((await runIn(machine, SH('while :; do :; done'))).end, { kind: 'timed-out', limit: 'cpu' });
          ({ cpuMs: used } = await machine.close());
          assert.ok(used !== null && used >= 300, `${used} ms`);
        }, { cpuMs: 300 });
        return used ?? Infinity;
      });
      assert.ok(usedMs < 2_000, `${usedMs} ms`);
    });

    test(`${name}: an exec that ends because another ran into its wall time is lost, not timed out`, () => withMachine(async (machine) => {
      const first = runIn(machine, SH('sleep 9'));
      const second = runIn(machine, SH('sleep 9'), { ownLimits: { wallMs: 60_000, cpuMs: 60_000 } });
      assert.deepEqual((await first).end, { kind: 'timed-out', limit: 'wall' });
      assert.equal((await second).end.kind, 'lost');
    }, { wallMs: 600 }));

    test(`${name}: programs that are paused at any moment, again and again, go on unharmed`, async () => {
      const machine = await ground.driver.launch(specFor(ground.host, { pids: 100 }), never());
      try {
        const busy = 'import mmap, os\nfor round in range(3000):\n  m = mmap.mmap(-1, 1 << 20); m[0:8] = b"12345678"; m.close()\n  if round % 100 == 0: os.waitpid(os.spawnv(os.P_NOWAIT, "/usr/bin/true", ["true"]), 0)\nprint("whole")';
        const runs = [1, 2, 3].map(() => runIn(machine, ['python3', '-c', busy]));
        let over = false;
        const all = Promise.all(runs).finally(() => (over = true));
        for (let round = 0; !over && round < 60; round++) {
          await machine.pause();
          await machine.resume();
          await delay(round % 20);
        }
        for (const { end, stdout } of await all) assert.deepEqual([end, stdout.toString()], [{ kind: 'exited', code: 0 }, 'whole\n']);
        assert.deepEqual((await runIn(machine, SH('echo after'))).stdout.toString(), 'after\n');
      } finally {
        await machine.close();
        await ground.driver.settled();
      }
    });

    test(`${name}: closing does not wait for a reader that takes nothing`, async () => {
      const tookMs = await leastOf(1_000, async () => {
        let closeMs = Infinity;
        await withMachine(async (machine) => {
          const exec = machine.spawn({ argv: ['cat', '/dev/zero'], env: ['PATH=/usr/bin'], cwd: '/', stdin: false, outputBytes: 2 ** 30 }, { onOutput: () => new Promise(() => undefined) });
          await delay(100);
          const start = performance.now();
          await machine.close();
          closeMs = performance.now() - start;
          assert.equal((await exec.done).end.kind, 'lost');
        });
        return closeMs;
      });
      assert.ok(tookMs < 1_000, `${tookMs} ms`);
    });

    test(`${name}: memory of the launcher stays flat while a command writes without end`, () => withMachine(async (machine) => {
      const atFirst = process.memoryUsage().rss;
      let most = 0;
      const bytes = 200 * 2 ** 20;
      const { done } = machine.spawn({ argv: ['head', '-c', `${bytes}`, '/dev/zero'], env: ['PATH=/usr/bin'], cwd: '/', stdin: false, outputBytes: bytes }, {
        onOutput: async () => {
          most = Math.max(most, process.memoryUsage().rss);
          await delay(0);
        },
      });
      assert.deepEqual(await done, { end: { kind: 'exited', code: 0 }, written: { stdout: bytes, stderr: 0 } });
      assert.ok(most - atFirst < 100 * 2 ** 20, `${(most - atFirst) / 2 ** 20} MiB more`);
    }));

    test(`${name}: a second launch under the same id is LAUNCH_FAILED, and the first goes on`, async () => {
      const spec = specFor(ground.host);
      const machine = await ground.driver.launch(spec, never());
      try {
        await assert.rejects(ground.driver.launch(spec, never()), { code: 'LAUNCH_FAILED' });
        assert.deepEqual((await runIn(machine, SH('exit 6'))).end, { kind: 'exited', code: 6 });
      } finally {
        await machine.close();
        await ground.driver.settled();
      }
      assert.deepEqual([...leftOf(ground), ...more()], []);
    });

    for (const [what, options, words] of ways) {
      test(`${name}: with ${what} a launch is LAUNCH_FAILED in the runtime's own words and leaves nothing`, async () => {
        const tookMs = await leastOf(3_000, async () => {
          const base = mkdtempSync('/run/caisson-drivers-');
          const broken = await openGround(name, { base, ...options });
          const start = performance.now();
          await assert.rejects(broken.driver.launch(specFor(broken.host), never()), (error: Error & { code: string }) => {
            assert.equal(error.code, 'LAUNCH_FAILED');
            assert.match(error.message, words);
            return true;
          });
          const each = performance.now() - start;
          assert.deepEqual([...leftOf(broken), ...more()], []);
          await broken[Symbol.asyncDispose]();
          assert.deepEqual(foldersOf(broken), []);
          rmSync(base, { recursive: true, force: true });
          return each;
        });
        assert.ok(tookMs < 3_000, `${tookMs} ms`);
      });
    }

    test(`${name}: what a killed launcher left is swept away by the next, and only that`, async () => {
      const base = mkdtempSync('/run/caisson-drivers-');
      const child = fork(childProgram, [name, base], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      const ids = await new Promise<string[]>((done, reject) => {
        child.once('message', (message) => done(message as string[]));
        child.once('exit', (code) => reject(new Error(`the launcher ended with ${code}`)));
      });
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
      const next = await openGround(name, { base });
      mkdirSync(`${base}/sandboxes/sbx-ofanotherruntime`);
      writeFileSync(`${base}/sandboxes/sbx-ofanotherruntime/runtime`, 'another');
      mkdirSync(`${base}/sandboxes/sbx-thatneverstarted`);
      assert.notDeepEqual(leftOf(next), []);
      assert.deepEqual((await next.driver.sweep()).toSorted(), [...ids, 'sbx-thatneverstarted'].toSorted());
      assert.deepEqual([...leftOf(next), ...more()], [`${base}/sandboxes/sbx-ofanotherruntime`]);
      assert.deepEqual(await next.driver.sweep(), []);
      await next[Symbol.asyncDispose]();
      rmSync(base, { recursive: true, force: true });
    });

    test(`${name}: when a launcher stops, no folder of it is left in any cgroup hierarchy`, async () => {
      const stopping = await openGround(name);
      assert.notDeepEqual(foldersOf(stopping), [], 'they are there while it is open');
      await (await stopping.driver.launch(specFor(stopping.host), never())).close();
      await stopping[Symbol.asyncDispose]();
      assert.deepEqual(foldersOf(stopping), []);
      assert.equal(existsSync(stopping.base), false);
    });
  });
}
