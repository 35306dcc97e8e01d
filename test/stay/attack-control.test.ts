import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readEntries } from '@caisson/evidence';
import { Sandbox, Snapshots } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

const AS_ROOT = { skip: IS_ROOT ? false : NEEDS_ROOT };

/** Kills control and resolves when another answers. */
async function replaceControl(caisson: Caisson, sandbox: string): Promise<void> {
  const before = (await caisson.status()).processes.find(({ name }) => name === 'control');
  assert.ok(before?.pid);
  process.kill(before.pid, 'SIGKILL');
  for (let waitedMs = 0; ; waitedMs += 50) {
    const now = (await caisson.status()).processes.find(({ name }) => name === 'control');
    if (now?.pid && now.pid !== before.pid && await Sandbox.connect(sandbox, { connection: { socket: caisson.paths.apiSocket } }).then(() => true, () => false)) return;
    assert.ok(waitedMs < 15_000, 'control is back');
    await delay(50);
  }
}

test('a sandbox that went on from memory and was restored since is found again by the next control', { ...AS_ROOT, timeout: 120_000 }, async (t) => {
  await using caisson = await startCaisson();
  if (!(await caisson.levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  const connection = { socket: caisson.paths.apiSocket };
  const first = await Sandbox.create({ level: 'gvisor' }, { connection });
  const saved = await first.snapshot({ memory: true });
  const second = await Sandbox.create({ level: 'gvisor', from: saved.id, memory: true }, { connection });
  await second.restore(saved.id);
  await replaceControl(caisson, second.id);
  assert.equal((await second.info()).state, 'running');
  assert.equal((await second.sh('echo works')).stdout, 'works\n');
});

test('what is noted of all sandboxes is more than one frame can hold, and control that was killed still finds them all', AS_ROOT, async () => {
  await using caisson = await startCaisson();
  const connection = { socket: caisson.paths.apiSocket };
  const env = Object.fromEntries(Array.from({ length: 7 }, (_, n) => [`LONG_${n}`, 'x'.repeat(130_000)]));
  const boxes = await Promise.all(Array.from({ length: 6 }, () => Sandbox.create({ env }, { connection })));
  await replaceControl(caisson, boxes[0]?.id ?? '');
  for (const { id } of boxes) {
    const box = await Sandbox.connect(id, { connection });
    assert.equal((await box.info()).state, 'running');
    await box.close();
  }
});

/** Asks for a fork with its memory and kills control while the launcher makes it; gives what the next control has of it. */
async function forkCutOff(caisson: Caisson, original: Sandbox): Promise<Sandbox> {
  const connection = { socket: caisson.paths.apiSocket };
  const leaving = new AbortController(); // whoever asked is gone as well: nobody asks again
  const asked = original.fork({ memory: true }, { signal: leaving.signal }).catch(() => null);
  await until(() => readdirSync(caisson.paths.checkpoints).some((name) => !name.endsWith('.partial')));
  const before = new Set(readdirSync(caisson.paths.journals));
  await until(() => readdirSync(caisson.paths.journals).some((name) => !before.has(name)));
  leaving.abort();
  await Promise.all([asked, replaceControl(caisson, original.id)]);
  const [fork] = (await Array.fromAsync(Sandbox.list({}, { connection }))).filter(({ id }) => id !== original.id);
  assert.ok(fork !== undefined, 'control: it was made, and is found');
  return Sandbox.connect(fork.id, { connection });
}

async function until(what: () => boolean): Promise<void> {
  for (const untilMs = Date.now() + 60_000; !what(); await delay(2)) assert.ok(Date.now() < untilMs, what.toString());
}

const namesOf = async (caisson: Caisson): Promise<readonly string[]> => {
  const snapshots = await Snapshots.list({ connection: { socket: caisson.paths.apiSocket } });
  return [...snapshots.map(({ id }) => id), ...readdirSync(caisson.paths.checkpoints)];
};

test('a snapshot with memory, or a fork, that control did not live to finish leaves no memory that no snapshot has', { ...AS_ROOT, timeout: 240_000 }, async (t) => {
  await using caisson = await startCaisson();
  if (!(await caisson.levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  const connection = { socket: caisson.paths.apiSocket };
  await using box = await Sandbox.create({ level: 'gvisor' }, { connection });
  const leaving = new AbortController();
  const asked = box.snapshot({ memory: true, signal: leaving.signal }).catch(() => null);
  await until(() => readdirSync(caisson.paths.checkpoints).length > 0);
  leaving.abort();
  await Promise.all([asked, replaceControl(caisson, box.id)]);
  const listed = (await Snapshots.list({ connection })).map(({ id }) => id);
  assert.deepEqual(readdirSync(caisson.paths.checkpoints), listed, 'control may have lived to finish it');
  await Promise.all(listed.map((id) => Snapshots.remove(id, { connection })));
  await using fork = await forkCutOff(caisson, box);
  assert.equal((await fork.info()).state, 'running');
  assert.deepEqual(await namesOf(caisson), [], 'what a fork alone was made from goes with it');
});

const WAITS = ['sh', '-c', 'until read code 2>/dev/null <go; do sleep 0.05; done; echo $code; exit $code'];

test('a fork of running processes that control did not live to finish has commands of its own, and the outcome of the original is its own', { ...AS_ROOT, timeout: 240_000 }, async (t) => {
  await using caisson = await startCaisson();
  if (!(await caisson.levels()).includes('gvisor')) return t.skip('level gvisor is not delivered here');
  const connection = { socket: caisson.paths.apiSocket };
  await using original = await Sandbox.create({ level: 'gvisor' }, { connection });
  const saved = await original.spawn(WAITS, { idempotencyKey: 'k' });
  await using fork = await forkCutOff(caisson, original);
  const [gone, ...more] = await fork.execs();
  assert.deepEqual(more, []);
  assert.notEqual(gone?.id, saved.id, 'it is another command');
  await fork.files.write('go', '3\n');
  assert.equal((await (await fork.attach(gone?.id ?? '')).wait()).exit, 3);
  assert.equal((await saved.info()).state, 'running', 'control: the original waits');
  await original.files.write('go', '7\n');
  assert.equal((await saved.wait()).exit, 7);
  assert.equal((await original.spawn(WAITS, { idempotencyKey: 'k' })).id, saved.id);
  assert.notEqual((await fork.spawn(WAITS, { idempotencyKey: 'k' })).id, gone?.id, 'nobody has asked the fork with that key');
  const entries = (await Array.fromAsync(readEntries(caisson.paths.evidence))).map(({ entry }) => entry);
  const outcomes = entries.filter(({ kind, subject }) => kind === 'outcome' && [saved.id, gone?.id].includes(subject));
  assert.deepEqual(outcomes.map(({ subject, body }) => [subject, (body as { exit: unknown }).exit]), [[gone?.id, 3], [saved.id, 7]]);
});
