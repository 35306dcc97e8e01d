import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readEntries, verifyLog } from '@caisson/evidence';
import type { Entry, Level } from '@caisson/contract';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { settledLeftovers } from './leftovers.ts';
import { until } from './small-disk.ts';

/** From before the intent to after the outcome: a container call takes about 30 ms, a gVisor call about 120 ms. */
const DELAYS_MS: Readonly<Record<string, readonly number[]>> = {
  container: [0, 3, 8, 15, 25, 40],
  gvisor: [15, 50, 80, 120],
};

async function kill(caisson: Caisson, role: string): Promise<void> {
  const { processes, pid } = await caisson.status();
  process.kill(role === 'supervisor' ? pid : (processes.find(({ name }) => name === role)?.pid ?? Number.NaN), 'SIGKILL');
}

async function answersAgain(caisson: Caisson): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const ran = await caisson.run({ argv: ['true'] }).catch(() => null);
    if (ran?.result.exit === 0) return;
    assert.ok(attempt < 200, 'the instance did not recover within 10 s');
    await delay(50);
  }
}

async function everyIntentHasAnOutcome(caisson: Caisson): Promise<void> {
  const verified = await verifyLog(caisson.paths.evidence, {});
  assert.equal(verified.bad, null);
  assert.deepEqual(verified.findings, [], 'no entry is missed');
  assert.deepEqual(verified.openIntents, []);
}

for (const role of ['scribe', 'launcher', 'control']) {
  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`kill -9 of ${role} at any step of a ${level} call leaves nothing behind and no intent without an outcome`, async (t) => {
      if (!IS_ROOT) return t.skip(NEEDS_ROOT);
      await using caisson = await startCaisson();
      if (!(await caisson.levels()).includes(level)) return t.skip(`level ${level} is not available here`);
      for (const delayMs of DELAYS_MS[level] ?? []) {
        const call = caisson.run({ argv: ['sh', '-c', 'sleep 0.01; echo done'], level }).catch((error: Error) => error);
        await delay(delayMs);
        await kill(caisson, role);
        await call;
        await answersAgain(caisson);
        assert.deepEqual(await settledLeftovers(caisson.paths), [], `left after ${delayMs} ms`);
        await everyIntentHasAnOutcome(caisson);
      }
    });
  }
}

test('kill -9 of the supervisor ends every process, and the next start finds nothing left and closes every intent', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  try {
    for (const delayMs of [0, 10, 20, 35]) {
      const caisson = await startCaisson({ dir });
      const { processes } = await caisson.status();
      const call = caisson.run({ argv: ['sleep', '5'] }).catch((error: Error) => error);
      await delay(delayMs);
      await kill(caisson, 'supervisor');
      await call;
      for (const { pid, name } of processes) await gone(pid, name);
    }
    await using caisson = await startCaisson({ dir });
    await answersAgain(caisson);
    assert.deepEqual(await settledLeftovers(caisson.paths), []);
    await everyIntentHasAnOutcome(caisson);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('kill -9 of all processes at once leaves nothing that the next start does not remove', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  try {
    for (const level of ['container', 'gvisor'] as const) {
      const caisson = await startCaisson({ dir });
      if (!(await caisson.levels()).includes(level)) {
        await caisson[Symbol.asyncDispose]();
        continue;
      }
      const { processes, pid } = await caisson.status();
      const call = caisson.run({ argv: ['sleep', '5'], level }).catch((error: Error) => error);
      await delay(200);
      for (const each of [pid, ...processes.map((one) => one.pid)]) process.kill(each, 'SIGKILL');
      await call;
      for (const each of processes) await gone(each.pid, each.name);
    }
    await using caisson = await startCaisson({ dir });
    assert.deepEqual(await settledLeftovers(caisson.paths), []);
    await everyIntentHasAnOutcome(caisson);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('kill -9 of pid 1 of a sandbox, from outside, ends the call as unknown and never as success', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  await using caisson = await startCaisson();
  const call = caisson.run({ argv: ['sleep', '60'] });
  const pid = await pidOneOf(caisson);
  process.kill(pid, 'SIGKILL');
  const { result } = await call;
  assert.equal(result.exit, 'unknown');
  assert.equal(result.ending.kind, 'unknown');
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});

test('down while calls run cancels them, records it and leaves nothing', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  try {
    const caisson = await startCaisson({ dir });
    const calls = [1, 2, 3].map(() => caisson.run({ argv: ['sleep', '30'] }).catch((error: Error) => error));
    await until('the calls are under way', async () => (await verifyLog(caisson.paths.evidence, {})).openIntents.length === 3);
    await delay(200);
    await caisson[Symbol.asyncDispose]();
    await Promise.all(calls);
    assert.deepEqual(await settledLeftovers(caisson.paths), []);
    const verified = await verifyLog(caisson.paths.evidence, {});
    assert.deepEqual(verified.openIntents, []);
    assert.equal(readdirSync(caisson.paths.dir).includes('evidence'), true);
    assert.match((await Array.fromAsync(readEntries(caisson.paths.evidence))).map(({ text }) => text).join('\n'), /"kind":"cancelled"/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('kill -9 of control between an intent and its outcome raises an alert that the log, status and doctor show', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  await using caisson = await startCaisson();
  const call = caisson.run({ argv: ['sleep', '60'] }).catch((error: Error) => error);
  await pidOneOf(caisson);
  await kill(caisson, 'control');
  await call;
  await answersAgain(caisson);
  const entries = (await Array.fromAsync(readEntries(caisson.paths.evidence))).map(({ entry }) => entry);
  const subject = entries.find(({ kind }) => kind === 'intent')?.subject ?? '';
  const at = entries.findIndex(({ kind }) => kind === 'alert');
  const { alert, severity, about } = (entries[at] as Entry).body as { alert: string; severity: string; about: string[] };
  assert.deepEqual([alert, severity, about], ['orphan-intents', 'warning', [subject]]);
  const outcome = entries.find(({ kind, subject: of }) => kind === 'outcome' && of === subject);
  assert.deepEqual(((outcome as Entry).body as { ending: { kind: string } }).ending.kind, 'unknown');
  assert.ok(at < (outcome as Entry).index, 'the alert is there before the outcome');
  assert.deepEqual((await caisson.control()).alerts.map(({ alert: name, about: of }) => [name, of]), [['orphan-intents', [subject]]]);
  const { stdout } = spawnSync(`${HOME}/caisson`, ['status'], { env: caisson.env, encoding: 'utf8' });
  assert.match(stdout, /^alert {2}\S+ {2}warning {2}orphan-intents: Caisson stopped before the call was over: what became of one intent is unknown$/m);
  await everyIntentHasAnOutcome(caisson);
});

async function gone(pid: number, name: string): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await delay(25);
  }
  assert.fail(`${name} (pid ${pid}) is still there`);
}

async function pidOneOf(caisson: Caisson): Promise<number> {
  const text = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return ''; // it has ended, or its folder is not filled yet
    }
  };
  for (const untilMs = Date.now() + 20_000; Date.now() < untilMs; await delay(10)) {
    const lists = globSync(`/sys/fs/cgroup/pids/caisson/${caisson.paths.run.split('/').at(-1)}/sbx-*/cgroup.procs`);
    const pids = lists.flatMap((path) => text(path).trim().split('\n'));
    const first = pids.find((pid) => text(`/proc/${pid}/cmdline`).startsWith('/.caisson/init'));
    if (first !== undefined && pids.length > 1) return Number(first);
  }
  return assert.fail('no sandbox appeared');
}

test('a scribe that is stopped, not dead, makes calls end refused, and their outcomes are recorded when it goes on', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  await using caisson = await startCaisson();
  const scribe = (await caisson.status()).processes.find(({ name }) => name === 'scribe')?.pid ?? 0;
  process.kill(scribe, 'SIGSTOP');
  try {
    const { result } = await caisson.run({ argv: ['true'] });
    assert.equal(result.exit, 125);
    assert.deepEqual([result.ending.kind, 'code' in result.ending && result.ending.code], ['refused', 'EVIDENCE_UNAVAILABLE']);
    assert.equal(result.evidence.intent, null);
  } finally {
    process.kill(scribe, 'SIGCONT');
  }
  await until('the outcome comes', async () => {
    const { openIntents, entries } = await verifyLog(caisson.paths.evidence, {});
    return entries >= 2 && openIntents.length === 0;
  }, 30_000);
});

test('down at any step of a call leaves nothing, a launch under way included', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  try {
    for (const [level, delayMs] of [['container', 1], ['container', 4], ['container', 8], ['container', 14], ['gvisor', 15], ['gvisor', 40]] as const) {
      const caisson = await startCaisson({ dir });
      const call = caisson.run({ argv: ['sleep', '5'], level }).catch((error: Error) => error);
      await delay(delayMs);
      await caisson[Symbol.asyncDispose]();
      await call;
      assert.deepEqual(await settledLeftovers(caisson.paths), [], `left after ${delayMs} ms at level ${level}`);
      assert.equal(existsSync(caisson.paths.run), false);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
