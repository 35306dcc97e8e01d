import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError } from '@caisson/contract';
import { ASKING, readAll, stage } from './stay-given.ts';

const HELLO = { print: [{ stream: 'stdout', text: 'hello ' }, { stream: 'stderr', text: 'you' }] } as const;

test('a sandbox runs commands one after the other, and its outcome follows those of its execs', async () => {
  await using on = await stage(HELLO);
  const box = await on.sandboxes.create({}, ASKING);
  assert.equal(box.state, 'running');
  for (let i = 0; i < 3; i++) {
    const exec = await on.sandboxes.exec(box.id, { argv: ['true'] }, ASKING);
    const read = await readAll(on.sandboxes, box.id, exec.id);
    assert.deepEqual([read.text, read.ended], ['hello you', true]);
    const info = on.sandboxes.execInfo(box.id, exec.id);
    assert.deepEqual([info.exit, info.output?.stdout.returned, info.output?.stderr.returned], [0, 6, 3]);
  }
  const closed = await on.sandboxes.close(box.id, ASKING);
  assert.equal(closed.state, 'closed');
  assert.deepEqual(on.log.entries.map(({ kind }) => kind), ['intent', 'intent', 'outcome', 'intent', 'outcome', 'intent', 'outcome', 'outcome']);
  assert.deepEqual([...on.driver.live], []);
  assert.equal(on.workspaces.there.size, 0);
});

test('output can be read again from any place while it is kept', async () => {
  await using on = await stage(HELLO);
  const box = await on.sandboxes.create({}, ASKING);
  const exec = await on.sandboxes.exec(box.id, { argv: ['true'] }, ASKING);
  for (let from = 0; from <= 9; from++) assert.equal((await readAll(on.sandboxes, box.id, exec.id, from)).text, 'hello you'.slice(from));
});

test('OUTPUT_GONE: no end is told after output that could not be read to its last byte', async () => {
  await using on = await stage({ print: [{ stream: 'stdout', text: 'x'.repeat(40_000) }] });
  const box = await on.sandboxes.create({}, ASKING);
  const exec = await on.sandboxes.exec(box.id, { argv: ['true'] }, ASKING);
  assert.equal((await readAll(on.sandboxes, box.id, exec.id)).text.length, 40_000);
  await on.sandboxes.close(box.id, ASKING);
  await on.keeper.forget(box.id);
  await assert.rejects(readAll(on.sandboxes, box.id, exec.id), { code: 'OUTPUT_GONE' });
});

test('the same key and request is the same sandbox and the same exec, and never a second command', async () => {
  let spawned = 0;
  await using on = await stage((command) => {
    if (command.argv.length > 0) spawned += 1;
    return {};
  });
  const [one, two] = await Promise.all([on.sandboxes.create({}, { ...ASKING, key: 'a' }), on.sandboxes.create({}, { ...ASKING, key: 'a' })]);
  assert.equal(one.id, two.id);
  const first = await on.sandboxes.exec(one.id, { argv: ['true'] }, { ...ASKING, key: 'x' });
  const again = await on.sandboxes.exec(one.id, { argv: ['true'] }, { ...ASKING, key: 'x' });
  assert.equal(first.id, again.id);
  assert.equal(spawned, 1);
});

test('IDEMPOTENCY_MISMATCH: a key is for one request', async () => {
  await using on = await stage();
  const box = await on.sandboxes.create({}, { ...ASKING, key: 'a' });
  assert.throws(() => on.sandboxes.get('nothing'), { code: 'SANDBOX_NOT_FOUND' });
  await assert.rejects(on.sandboxes.create({ keepAlive: true }, { ...ASKING, key: 'a' }), { code: 'IDEMPOTENCY_MISMATCH' });
  await on.sandboxes.exec(box.id, { argv: ['true'] }, { ...ASKING, key: 'x' });
  await assert.rejects(on.sandboxes.exec(box.id, { argv: ['false'] }, { ...ASKING, key: 'x' }), { code: 'IDEMPOTENCY_MISMATCH' });
});

test('SANDBOX_STATE: what a paused or closed sandbox cannot do is refused', async () => {
  await using on = await stage({ hang: true });
  const { id } = await on.sandboxes.create({}, ASKING);
  assert.equal((await on.sandboxes.pause(id, ASKING)).state, 'paused');
  await assert.rejects(on.sandboxes.exec(id, { argv: ['true'] }, ASKING), { code: 'SANDBOX_STATE' });
  await assert.rejects(on.sandboxes.pause(id, ASKING), { code: 'SANDBOX_STATE' });
  assert.equal((await on.sandboxes.resume(id, ASKING)).state, 'running');
  await assert.rejects(on.sandboxes.resume(id, ASKING), { code: 'SANDBOX_STATE' });
  await on.sandboxes.close(id, ASKING);
  await assert.rejects(on.sandboxes.exec(id, { argv: ['true'] }, ASKING), { code: 'SANDBOX_STATE' });
  assert.equal((await on.sandboxes.close(id, ASKING)).state, 'closed');
});

test('SANDBOX_NAME_TAKEN: a live sandbox alone has its name, and gives it back', async () => {
  await using on = await stage();
  const first = await on.sandboxes.create({ name: 'mine' }, ASKING);
  await assert.rejects(on.sandboxes.create({ name: 'mine' }, ASKING), { code: 'SANDBOX_NAME_TAKEN' });
  await on.sandboxes.close('mine', ASKING);
  const second = await on.sandboxes.create({ name: 'mine' }, ASKING);
  assert.notEqual(second.id, first.id);
});

test('EXEC_NOT_FOUND: an exec of another sandbox is not there', async () => {
  await using on = await stage();
  const one = await on.sandboxes.create({}, ASKING);
  const two = await on.sandboxes.create({}, ASKING);
  const exec = await on.sandboxes.exec(one.id, { argv: ['true'] }, ASKING);
  assert.throws(() => on.sandboxes.execInfo(two.id, exec.id), { code: 'EXEC_NOT_FOUND' });
});

test('LIMIT_EXCEEDS_SANDBOX: a command has no more than its sandbox, and the refusal is on record', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ limits: { wallMs: 60_000 } }, ASKING);
  await assert.rejects(on.sandboxes.exec(id, { argv: ['true'], timeoutMs: 90_000 }, ASKING), { code: 'LIMIT_EXCEEDS_SANDBOX' });
  const outcome = on.log.entries.at(-1);
  assert.partialDeepStrictEqual(outcome?.body, { ending: { kind: 'refused' } });
});

test('a sandbox is closed when its time is over, and when it is idle for too long', async () => {
  await using on = await stage();
  const old = await on.sandboxes.create({ ttlMs: 60 }, ASKING);
  const idle = await on.sandboxes.create({ idleMs: 60 }, ASKING);
  const kept = await on.sandboxes.create({ idleMs: 60, keepAlive: true }, ASKING);
  const until = Date.now() + 5_000;
  while (Date.now() < until && on.sandboxes.list().filter(({ state }) => state === 'closed').length < 2) await delay(10);
  assert.match(on.sandboxes.get(old.id).reason, /time to live/);
  assert.match(on.sandboxes.get(idle.id).reason, /idle for 60 ms/);
  assert.equal(on.sandboxes.get(kept.id).state, 'running');
});

test('a sandbox that is asked for something is not idle while that is put on record', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ idleMs: 60 }, ASKING);
  const append = on.log.append.bind(on.log);
  on.log.append = async (draft) => {
    await delay(300); // a slow disk
    return append(draft);
  };
  const { exit } = await on.sandboxes.wait(id, (await on.sandboxes.exec(id, { argv: ['true'] }, ASKING)).id, { signal: AbortSignal.timeout(10_000) });
  assert.equal(exit, 0);
  await assert.rejects(on.sandboxes.dial(id, 80, ASKING), { code: 'PORT_REFUSED' }, 'it was asked');
  assert.equal(on.sandboxes.get(id).state, 'running');
});

test('a command that goes on while control is replaced is found, read from its first byte and put on record once', async () => {
  await using on = await stage({ ...HELLO, exitAfterMs: 300 });
  const box = await on.sandboxes.create({ name: 'mine' }, { ...ASKING, key: 'k' });
  const exec = await on.sandboxes.exec(box.id, { argv: ['true'] }, { ...ASKING, key: 'x' });
  const second = await on.restarted();
  assert.equal(second.get('mine').id, box.id);
  assert.equal((await second.create({ name: 'mine' }, { ...ASKING, key: 'k' })).id, box.id);
  assert.equal((await second.exec(box.id, { argv: ['true'] }, { ...ASKING, key: 'x' })).id, exec.id);
  const read = await readAll(second, box.id, exec.id);
  assert.deepEqual([read.text, read.ended], ['hello you', true]);
  assert.equal(second.execInfo(box.id, exec.id).exit, 0);
  await second.close(box.id, ASKING);
});

test('a snapshot that is asked for again with its key, because control died before it answered, is the same one', async () => {
  await using on = await stage({});
  const box = await on.sandboxes.create({}, ASKING);
  const asking = { ...ASKING, key: 's' };
  const { id } = await on.sandboxes.snapshot(box.id, { label: 'l' }, asking);
  const second = await on.restarted();
  assert.equal((await second.snapshot(box.id, { label: 'l' }, asking)).id, id);
  assert.deepEqual([...on.workspaces.layers], [id]);
  const others = await Promise.all([{ ...asking, key: 't' }, ASKING, ASKING].map((one) => second.snapshot(box.id, { label: 'l' }, one)));
  assert.equal(new Set([id, ...others.map((one) => one.id)]).size, 4);
});

test('a sandbox whose close control did not live to see is closed, for the reason it was asked for, not lost', async () => {
  await using on = await stage({ hang: true });
  const ended = await on.sandboxes.create({}, ASKING);
  const ending = await on.sandboxes.create({}, ASKING);
  await on.keeper.close(ended.id, 'its user asked for it');
  void on.keeper.close(ending.id, 'it was idle for too long');
  const second = await on.restarted();
  assert.deepEqual([ended, ending].map(({ id }) => [second.get(id).state, second.get(id).reason]), [['closed', 'its user asked for it'], ['closed', 'it was idle for too long']]);
});

test('a sandbox whose processes end is lost, its commands are unknown, and both are on record', async () => {
  await using on = await stage({ hang: true });
  const box = await on.sandboxes.create({}, ASKING);
  const exec = await on.sandboxes.exec(box.id, { argv: ['true'] }, ASKING);
  await on.keeper.get(box.id).close();
  const ended = await on.sandboxes.wait(box.id, exec.id, { signal: AbortSignal.timeout(5_000) });
  assert.equal(ended.exit, 'unknown');
  while (on.sandboxes.get(box.id).state !== 'lost') await delay(5);
  while (on.log.entries.filter(({ kind }) => kind === 'outcome').length < 2) await delay(5);
});

test('no evidence, no sandbox: nothing is started that could not be put on record', async () => {
  await using on = await stage({}, { refuse: 'intent' });
  await assert.rejects(on.sandboxes.create({}, ASKING), { code: 'EVIDENCE_UNAVAILABLE' });
  assert.deepEqual([...on.driver.live], []);
});

test('a prepared sandbox is claimed once, and only by who asks for just that', async () => {
  await using on = await stage({}, { warm: 2 });
  while (on.pool.ready < 2) await delay(5);
  const other = await on.sandboxes.create({ limits: { pids: 7 } }, ASKING);
  assert.equal(other.warm, false);
  const boxes = await Promise.all([1, 2, 3].map(() => on.sandboxes.create({}, ASKING)));
  assert.equal(boxes.filter(({ warm }) => warm).length, 2);
  assert.equal(new Set(boxes.map(({ id }) => id)).size, 3);
  assert.equal(new Set(boxes.map(({ workspace }) => workspace.id)).size, 3);
});

test('a workspace that is there, and what is made from it, is decided and told of by the size that it has', async () => {
  await using on = await stage(HELLO);
  const limits = { workspaceBytes: 2 ** 26, inodes: 2_000 };
  const first = await on.sandboxes.create({ workspace: 'notes', limits }, ASKING);
  const { id: fork } = await on.sandboxes.fork(first.id, {}, ASKING);
  await on.sandboxes.close(first.id, ASKING);
  const again = await on.sandboxes.create({ workspace: 'notes' }, ASKING);
  const intent = on.log.entries.findLast(({ kind, subject }) => kind === 'intent' && subject === again.id)?.body as { limits: unknown };
  for (const told of [again.limits, on.sandboxes.get(fork).limits, intent.limits]) {
    const { workspaceBytes, inodes } = told as typeof limits;
    assert.deepEqual({ workspaceBytes, inodes }, limits);
  }
  await on.sandboxes.close(again.id, ASKING);
  Object.assign(on.workspaces.there.get(again.workspace.id) ?? {}, { sizeBytes: 2 ** 45 });
  await assert.rejects(on.sandboxes.create({ workspace: 'notes' }, ASKING), { code: 'LIMIT_EXCEEDS_POLICY' }, 'the policy allows less than it has by now');
});

test('a workspace that is let go of late is free then, and its sandbox is closed with what it used', async () => {
  let tries = 0;
  await using on = await stage(HELLO, {
    async detaching() {
      tries += 1;
      if (tries <= 2) throw new CaissonError('WORKSPACE_ATTACHED', { workspace: 'wsp-0', sandbox: 'sbx-0' });
    },
  });
  const { id } = await on.sandboxes.create({}, ASKING);
  assert.equal((await on.sandboxes.close(id, ASKING)).state, 'closed');
  assert.equal(tries, 3);
  const outcome = on.log.entries.findLast(({ kind }) => kind === 'outcome')?.body as { ending: { kind: string }; usage: unknown };
  assert.equal(outcome.ending.kind, 'closed');
  assert.notEqual(outcome.usage, null);
  assert.equal(on.workspaces.there.size, 0);
});

test('restore ends every process and starts anew under the same id', async () => {
  await using on = await stage({ hang: true });
  const box = await on.sandboxes.create({}, ASKING);
  const { id: snapshot } = await on.sandboxes.snapshot(box.id, { label: 'before' }, ASKING);
  const exec = await on.sandboxes.exec(box.id, { argv: ['sleep'] }, ASKING);
  assert.equal((await on.sandboxes.restore(box.id, snapshot, ASKING)).state, 'running');
  assert.equal(on.sandboxes.execInfo(box.id, exec.id).ending?.kind, 'cancelled');
  assert.equal(on.driver.live.size, 1);
  await assert.rejects(on.sandboxes.restore(box.id, 'lay-0000000000000000', ASKING), { code: 'SNAPSHOT_NOT_FOUND' });
  assert.equal(on.sandboxes.get(box.id).state, 'running');
});

test('SANDBOXES_EXCEED_POLICY: no more sandboxes are live than the policy allows, and one that ends makes room', async () => {
  await using on = await stage({}, { maximum: 2 });
  const first = await on.sandboxes.create({}, ASKING);
  await on.sandboxes.create({}, ASKING);
  await assert.rejects(on.sandboxes.create({}, ASKING), { code: 'SANDBOXES_EXCEED_POLICY' });
  await on.sandboxes.close(first.id, ASKING);
  assert.equal((await on.sandboxes.create({}, ASKING)).state, 'running');
});

test('CHECKPOINT_FAILED: memory is not saved where it could fill the disk that the record is on', async () => {
  await using on = await stage(HELLO, { freeBytes: 1200 * 1024 ** 2 });
  const box = await on.sandboxes.create({}, ASKING);
  await assert.rejects(on.sandboxes.snapshot(box.id, { memory: true }, ASKING), { code: 'CHECKPOINT_FAILED', message: /1200 MiB of disk are free/ });
  await using roomy = await stage(HELLO, { freeBytes: 1024 ** 4 });
  const other = await roomy.sandboxes.create({}, ASKING);
  await assert.rejects(roomy.sandboxes.snapshot(other.id, { memory: true }, ASKING), { code: 'CHECKPOINT_UNAVAILABLE' });
});

test('OUTPUT_GONE: of what ended sandboxes have written only so much is kept, the latest', async () => {
  await using on = await stage({ print: [{ stream: 'stdout', text: 'x'.repeat(30_000) }] }, { retainBytes: 100_000 });
  const made: { readonly box: string; readonly exec: string }[] = [];
  for (let n = 0; n < 6; n++) {
    const { id: box } = await on.sandboxes.create({}, ASKING);
    const { id: exec } = await on.sandboxes.exec(box, { argv: ['true'] }, ASKING);
    await readAll(on.sandboxes, box, exec);
    await on.sandboxes.close(box, ASKING);
    made.push({ box, exec });
  }
  const isKept = async ({ box, exec }: { readonly box: string; readonly exec: string }): Promise<boolean> => readAll(on.sandboxes, box, exec).then(({ text }) => text.length === 30_000, () => false);
  const kept: boolean[] = [];
  for (const one of made) kept.push(await isKept(one));
  assert.deepEqual(kept, [false, false, false, true, true, true]);
});

test('output that comes byte by byte counts as what it takes on the disk', async () => {
  const times = 3_000;
  await using on = await stage({ print: Array.from({ length: times }, () => ({ stream: 'stdout', text: 'x' }) as const) }, { retainBytes: 100_000 });
  const kept: string[] = [];
  for (let n = 0; n < 5; n++) {
    const { id: box } = await on.sandboxes.create({}, ASKING);
    const { id: exec } = await on.sandboxes.exec(box, { argv: ['true'] }, ASKING);
    assert.equal((await readAll(on.sandboxes, box, exec)).text.length, times);
    let bytes = 0;
    for await (const part of on.keeper.get(box).recording(exec) ?? []) bytes += part.length;
    assert.ok(bytes > 12 * times, `a recording of ${bytes} bytes`);
    await on.sandboxes.close(box, ASKING);
    kept.push(box);
  }
  const there = await on.keeper.settledList();
  assert.deepEqual(kept.map((box) => there.includes(box)), [false, false, false, true, true], 'three of them take more than 100,000 bytes');
});

test('of many sandboxes that are asked for together only some start at once, and all of them run', async () => {
  let [now, most] = [0, 0];
  await using on = await stage(HELLO, {
    async attaching() {
      most = Math.max(most, (now += 1));
      await delay(5);
      now -= 1;
    },
  });
  const made = await Promise.all(Array.from({ length: 100 }, () => on.sandboxes.create({}, ASKING)));
  assert.ok(made.every(({ state }) => state === 'running'));
  assert.equal(most, Math.min(100, 4 * availableParallelism()));
});
