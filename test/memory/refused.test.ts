import assert from 'node:assert/strict';
import { execFileSync, fork } from 'node:child_process';
import { appendFileSync, chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { after, before, suite, test } from 'node:test';
import type { IsolationSpec } from '@caisson/contract';
import { hideUnifiedCgroup, removePartialCheckpoints, restoreOn, type LauncherRoom, type LiveMachine } from '@caisson/runtime';
import { againInOwnMounts, leftOf, needsOwnMounts, openGround, specFor } from '../drivers/given.ts';
import { checkpoint, forkOf, lacks, launch, openMemoryGround, restore, start, type MemoryGround } from './given.ts';

const flip = (path: string, at: (size: number) => number): void => {
  const bytes = readFileSync(path);
  const index = at(bytes.length);
  bytes[index] = (bytes[index] ?? 0) ^ 1;
  writeFileSync(path, bytes);
};

/** What may happen to a checkpoint that lies on a disk, or be done to it. */
const DAMAGE: readonly (readonly [what: string, damage: (folder: string) => void, words: RegExp])[] = [
  ...['checkpoint.img', 'pages.img', 'pages_meta.img', 'manifest'].flatMap((name): (typeof DAMAGE)[number][] => [
    [`${name} lacks its last byte`, (folder) => truncateSync(`${folder}/${name}`, readFileSync(`${folder}/${name}`).length - 1), /is not what was written/],
    [`${name} is empty`, (folder) => truncateSync(`${folder}/${name}`, 0), /is not what was written/],
    [`${name} has a byte more`, (folder) => appendFileSync(`${folder}/${name}`, 'x'), /is not what was written/],
    [`a bit in the middle of ${name} is another`, (folder) => flip(`${folder}/${name}`, (size) => size >> 1), /is not what was written/],
    [`the first bit of ${name} is another`, (folder) => flip(`${folder}/${name}`, () => 0), /is not what was written/],
    [`${name} is missing`, (folder) => unlinkSync(`${folder}/${name}`), /cannot be read|its files are/],
    [`${name} is a link to what it was`, (folder) => {
      cpSync(`${folder}/${name}`, `${folder}.moved`);
      unlinkSync(`${folder}/${name}`);
      symlinkSync(`${folder}.moved`, `${folder}/${name}`);
    }, /cannot be read/],
    [`${name} may be read by others`, (folder) => chmodSync(`${folder}/${name}`, 0o644), /the launcher's alone/],
  ]),
  ['there is another file', (folder) => writeFileSync(`${folder}/private.img`, ''), /its files are/],
  ['there is nothing', (folder) => rmSync(folder, { recursive: true }), /cannot be read/],
  ['its pages are a pipe', (folder) => {
    unlinkSync(`${folder}/pages.img`);
    execFileSync('/usr/bin/mkfifo', ['-m', '600', `${folder}/pages.img`]);
  }, /the launcher's alone/],
];

/** Specs that are not the saved one. The first would be wider, all are refused. */
const OTHER_SPECS: readonly (readonly [what: string, change: (spec: IsolationSpec) => IsolationSpec])[] = [
  ['more memory', (spec) => ({ ...spec, limits: { ...spec.limits, memoryBytes: spec.limits.memoryBytes * 2 } })],
  ['another uid', (spec) => ({ ...spec, user: { uid: 1001, gid: 1001 } })],
  ['a capability', (spec) => ({ ...spec, capabilities: ['CAP_NET_RAW'] })],
  ['another filter', (spec) => ({ ...spec, seccomp: { ...spec.seccomp, rules: spec.seccomp.rules.slice(1) } })],
  ['another mount', (spec) => ({ ...spec, mounts: spec.mounts.slice(1) })],
  ['another size of /tmp', (spec) => ({ ...spec, mounts: spec.mounts.map((mount) => (mount.kind === 'tmpfs' && mount.at === '/tmp' ? { ...mount, bytes: 1 } : mount)) })],
  ['another rlimit', (spec) => ({ ...spec, rlimits: spec.rlimits.map((rlimit) => ({ ...rlimit, value: rlimit.value + 1 })) })],
  ['a narrower rlimit, which the saved processes would not have', (spec) => ({ ...spec, rlimits: spec.rlimits.map((rlimit) => (rlimit.name === 'nofile' ? { ...rlimit, value: 16 } : rlimit)) })],
  ['a writable root', (spec) => ({ ...spec, readOnlyRoot: false })],
  ['another image', (spec) => ({ ...spec, image: `sha256:${'0'.repeat(64)}` })],
];

function refusals(skip: string | false): void {
  suite('checkpoints that are refused', { skip }, () => {
    let memory: MemoryGround;
    let spec: IsolationSpec;
    let saved = '';
    let original: LiveMachine;
    before(async () => {
      if (skip !== false) return;
      memory = await openMemoryGround();
      spec = specFor(memory.ground.host);
      original = await launch(memory.ground, spec);
      start(original, 'sleeper', ['sleep', '600']);
      await delay(300);
      saved = memory.place();
      await checkpoint(original, saved);
    });
    after(async () => {
      await original?.close();
      await memory?.[Symbol.asyncDispose]();
    });

    const refuses = async (folder: string, asked: IsolationSpec, words: RegExp): Promise<void> => {
      const { ground } = memory;
      const left = leftOf(ground).length;
      const takeOver = (): never => assert.fail('an exec of it was taken over');
      await assert.rejects(restore(ground, asked, folder, { adopt: takeOver }), (error: Error & { code: string }) => {
        assert.equal(error.code, 'CHECKPOINT_INVALID');
        assert.match(error.message, words);
        return true;
      });
      assert.equal(leftOf(ground).length, left, 'nothing was begun');
    };

    for (const [what, damage, words] of DAMAGE) {
      test(`CHECKPOINT_INVALID when ${what}`, async () => {
        const folder = memory.place();
        cpSync(saved, folder, { recursive: true });
        damage(folder);
        await refuses(folder, forkOf(spec, memory.ground), words);
      });
    }

    for (const [what, change] of OTHER_SPECS) {
      test(`CHECKPOINT_INVALID for a spec with ${what}`, () => refuses(saved, change(forkOf(spec, memory.ground)), /another spec: \w+/));
    }

    test('FLOOR_VIOLATED for a spec below the floor, before anything of the checkpoint is looked at, and a good one is restored', async () => {
      const { ground } = memory;
      const room: LauncherRoom = { facts: async () => ground.host, expect: () => undefined, driver: () => ground.driver };
      const options = { signal: new AbortController().signal, adopt: () => ({ onOutput: async () => undefined }) };
      const weak = { ...forkOf(spec, ground), noNewPrivileges: false };
      await assert.rejects(restoreOn(room, weak, '/nowhere', options), { code: 'FLOOR_VIOLATED' });
      const { machine, execs } = await restoreOn(room, forkOf(spec, ground), saved, options);
      assert.equal(execs.length, 1);
      await machine.close();
    });

    test('CHECKPOINT_INVALID where pid 1 is another program than the one that was saved', async () => {
      const other = await openGround('runsc', { init: { text: 'another', mode: 0o755 } });
      try {
        await assert.rejects(restore(other, forkOf(spec, other), saved), { code: 'CHECKPOINT_INVALID' });
        assert.deepEqual(leftOf(other), []);
      } finally {
        await other[Symbol.asyncDispose]();
      }
    });

    test('CHECKPOINT_INVALID where gVisor is of another version', async () => {
      const other = await openGround('runsc', { facts: (host) => ({ ...host, runtimes: host.runtimes.map((runtime) => ({ ...runtime, version: 'release-20250101.0' })) }) });
      try {
        await assert.rejects(restore(other, forkOf(spec, other), saved), { code: 'CHECKPOINT_INVALID' });
      } finally {
        await other[Symbol.asyncDispose]();
      }
    });

    test('CHECKPOINT_FAILED under a name that is taken, and what has it stays', async () => {
      await assert.rejects(checkpoint(original, saved), { code: 'CHECKPOINT_FAILED' });
      const restored = await restore(memory.ground, forkOf(spec, memory.ground), saved);
      await restored.machine.close();
    });

    test('CHECKPOINT_FAILED for the second of two at once, and the first is good', async () => {
      const [first, second] = [memory.place(), memory.place()];
      const saving = checkpoint(original, first);
      await assert.rejects(checkpoint(original, second), { code: 'CHECKPOINT_FAILED' });
      await saving;
      await (await restore(memory.ground, forkOf(spec, memory.ground), first)).machine.close();
      assert.throws(() => readdirSync(second), { code: 'ENOENT' });
    });

    test('CHECKPOINT_FAILED on a full disk, nothing is left there, and the sandbox goes on', async () => {
      const small = mkdtempSync('/run/caisson-small-');
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', small]);
      const free = statfsSync(small).bfree;
      try {
        const counter = start(original, 'counter', ['python3', '-uc', 'import time\nn = 0\nwhile True:\n    n += 1; print(n); time.sleep(0.02)']);
        await counter.output.reach(3);
        await assert.rejects(checkpoint(original, `${small}/full`), { code: 'CHECKPOINT_FAILED' });
        assert.deepEqual(readdirSync(small), []);
        assert.equal(statfsSync(small).bfree, free, 'nothing that is deleted takes room');
        const seen = counter.output.lines.length;
        const lines = await counter.output.reach(seen + 20);
        assert.deepEqual(lines, lines.map((_, index) => `${index + 1}`));
        counter.exec.kill();
        await counter.exec.done;
      } finally {
        execFileSync('umount', ['--lazy', small]); // gVisor keeps what it could not write open
        rmSync(small, { recursive: true });
      }
    });

    test('CHECKPOINT_FAILED of a sandbox that ends meanwhile, and nothing is left', async () => {
      const folder = memory.place();
      const { ground } = memory;
      const machine = await launch(ground, { ...spec, id: specFor(ground.host).id });
      const saving = checkpoint(machine, folder);
      const refused = assert.rejects(saving, { code: 'CHECKPOINT_FAILED' });
      await delay(20);
      await machine.close();
      await refused;
      await assert.rejects(checkpoint(machine, folder), { code: 'CHECKPOINT_FAILED' });
      assert.deepEqual(readdirSync(dirname(folder)).filter((name) => name.endsWith('.partial')), []);
    });

    test('a launcher that is killed at any moment of saving leaves whole checkpoints, begun ones that say so, and no process', async () => {
      const base = mkdtempSync('/run/caisson-drivers-');
      const folder = mkdtempSync('/run/caisson-memory-');
      const program = fileURLToPath(import.meta.resolve('./killed.ts'));
      try {
        for (const afterMs of [0, 40, 110, 200, 330]) {
          const child = fork(program, [base, folder], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
          const ended = new Promise((done) => child.once('exit', done));
          await new Promise((done) => child.once('message', done));
          await delay(afterMs);
          child.kill('SIGKILL');
          await ended;
          const next = await openGround('runsc', { base });
          assert.equal((await next.driver.sweep()).length, 1);
          assert.deepEqual(leftOf(next), []);
          await removePartialCheckpoints(folder);
          for (const name of readdirSync(folder)) {
            assert.match(name, /^\d+$/);
            await (await restore(next, forkOf(specFor(next.host), next), `${folder}/${name}`)).machine.close();
            rmSync(`${folder}/${name}`, { recursive: true });
          }
          await next[Symbol.asyncDispose]();
        }
      } finally {
        for (const path of [base, folder]) rmSync(path, { recursive: true, force: true });
      }
    });
  });
}

function unavailable(skip: string | false): void {
  test('CHECKPOINT_UNAVAILABLE at level container, where it says what to use, and the sandbox goes on', { skip }, async () => {
    const memory = await openMemoryGround('crun');
    const { ground } = memory;
    try {
      const spec = specFor(ground.host);
      const machine = await launch(ground, spec);
      const said = (error: Error & { code: string; hint: string }): boolean => error.code === 'CHECKPOINT_UNAVAILABLE' && /snapshot of the workspace/.test(error.hint);
      await assert.rejects(checkpoint(machine, memory.place()), said);
      await assert.rejects(restore(ground, forkOf(spec, ground), memory.place()), said);
      assert.equal((await start(machine, 'after', ['true']).exec.done).end.kind, 'exited');
      await machine.close();
    } finally {
      await memory[Symbol.asyncDispose]();
    }
  });
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else {
  const skip = await lacks('runsc');
  await (process.getuid?.() === 0 ? hideUnifiedCgroup() : undefined);
  refusals(skip);
  unavailable(await lacks('crun'));
}
