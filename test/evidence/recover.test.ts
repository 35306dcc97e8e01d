import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openFileLog, readEntries, verifyLog } from '@caisson/evidence';
import { EMPTY_EDGE, grow, rootOf } from '@caisson/tlog';
import { draft, logPath, problem, tempDir, ticking, unpublish, writeCalls } from './given.ts';

const WRITER = fileURLToPath(import.meta.resolve('./writer.ts'));

const tornFiles = (dir: string): string[] => readdirSync(dir).filter((name) => name.startsWith('torn-'));

test('after kill -9 of a writer, again and again, every acknowledged entry is in the log', async (t) => {
  const dir = tempDir(t);
  const acknowledged = new Map<number, string>();
  for (let round = 0; round < 4; round++) {
    const before = acknowledged.size;
    const writer = spawn(process.execPath, [WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(writer, 'exit');
    for await (const line of createInterface(writer.stdout)) {
      const [index, hash] = line.split(' ');
      acknowledged.set(Number(index), hash as string);
      if (acknowledged.size - before === 200 + 37 * round) writer.kill('SIGKILL');
    }
    assert.deepEqual(await exited, [null, 'SIGKILL']);
  }
  {
    await using log = await openFileLog({ dir, now: Date.now });
    assert.ok((await log.openIntents()).length <= 4 * 8);
  }
  let edge = EMPTY_EDGE;
  const roots = new Map<number, string>();
  for await (const { entry, hash } of readEntries(dir)) {
    edge = grow(edge, Buffer.from(hash, 'hex'));
    roots.set(entry.index, rootOf(edge).toString('hex'));
  }
  for (const [index, hash] of acknowledged) assert.equal(roots.get(index), hash, `entry ${index}`);
  assert.ok(acknowledged.size >= 800);
  assert.equal((await verifyLog(dir)).bad, null);
});

test('wherever the last append was torn off, the log opens with all before it and keeps the torn bytes', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 2);
  const whole = readFileSync(logPath(dir));
  const start = whole.indexOf(0x0a, whole.indexOf('"index":2')) + 1 + Buffer.byteLength(whole.toString('utf8').split('\n')[5] as string) + 1;
  const last = whole.subarray(start);
  for (let kept = 0; kept < last.length; kept++) {
    unpublish(dir);
    writeFileSync(logPath(dir), whole.subarray(0, start + kept));
    const verified = await verifyLog(dir);
    assert.deepEqual([verified.bad, verified.entries, verified.unfinishedBytes], [null, 3, kept]);
    await using log = await openFileLog({ dir, now: () => 1000 + kept });
    assert.equal((await log.head())?.index, 2);
    assert.deepEqual(await log.openIntents(), ['sbx-1']);
    assert.equal(statSync(logPath(dir)).size, start);
    if (kept > 0) assert.deepEqual(readFileSync(join(dir, `torn-${1000 + kept}.bin`)), last.subarray(0, kept));
    if (kept % 50 === 0) assert.equal((await log.append(draft('outcome', 'sbx-1', { again: kept }))).index, 3);
  }
  assert.equal(tornFiles(dir).length, last.length - 1);
});

test('two torn appends in the same millisecond keep both their bytes', async (t) => {
  const dir = tempDir(t);
  for (const bytes of ['first', 'second']) {
    await writeCalls(dir, 0);
    appendFileSync(logPath(dir), bytes);
    await (await openFileLog({ dir, now: () => 5 }))[Symbol.asyncDispose]();
  }
  assert.deepEqual(tornFiles(dir).sort().map((name) => [name, readFileSync(join(dir, name), 'utf8')]), [['torn-5.bin', 'first'], ['torn-6.bin', 'second']]);
});

test('a log opened again goes on where it was', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 1);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    assert.equal((await log.append(draft('intent', 'sbx-9'))).index, 2);
  }
  await using log = await openFileLog({ dir, now: ticking() });
  assert.deepEqual(await log.openIntents(), ['sbx-9']);
  assert.equal((await log.append(draft('outcome', 'sbx-9'))).index, 3);
  assert.deepEqual(await log.openIntents(), []);
});

test('a second writer is refused, of this process and of another, until the first is gone', async (t) => {
  const dir = tempDir(t);
  const refusal = problem('EVIDENCE_UNAVAILABLE', /another scribe writes in/);
  const writer = spawn(process.execPath, [WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => writer.kill('SIGKILL'));
  await once(writer.stdout, 'data');
  await assert.rejects(openFileLog({ dir, now: ticking() }), refusal);
  const exited = once(writer, 'exit');
  writer.kill('SIGKILL');
  await exited;
  await using log = await openFileLog({ dir, now: ticking() });
  await assert.rejects(openFileLog({ dir, now: ticking() }), refusal);
  await log.append(draft('intent', 'sbx-last'));
});

test('of twenty writers that start at once exactly one gets the log', async (t) => {
  const dir = tempDir(t);
  const logs = await Promise.allSettled(Array.from({ length: 20 }, () => openFileLog({ dir, now: ticking() })));
  const opened = logs.filter((log) => log.status === 'fulfilled');
  assert.equal(opened.length, 1);
  for (const { value } of opened) await value[Symbol.asyncDispose]();
});

test('only the writer may enter the directory and the log, even when they were open to others before', async (t) => {
  const dir = join(tempDir(t), 'deep', 'evidence');
  const modes = (): number[] => [dir, logPath(dir)].map((path) => statSync(path).mode & 0o777);
  await writeCalls(dir, 1);
  assert.deepEqual(modes(), [0o700, 0o600]);
  chmodSync(dir, 0o755);
  chmodSync(logPath(dir), 0o644);
  await writeCalls(dir, 1);
  assert.deepEqual(modes(), [0o700, 0o600]);
});

test('a directory that is a file, a log that is a link, and a log that is a directory are refused', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'file'), '');
  mkdirSync(join(dir, 'link'));
  symlinkSync('/etc/passwd', logPath(join(dir, 'link')));
  mkdirSync(logPath(join(dir, 'dir')), { recursive: true });
  for (const name of ['file', 'link', 'dir']) {
    await assert.rejects(openFileLog({ dir: join(dir, name), now: ticking() }), problem('EVIDENCE_UNAVAILABLE'), name);
  }
});

test('a log that was opened and closed a hundred times leaves no descriptor open', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 1);
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let time = 0; time < 100; time++) await (await openFileLog({ dir, now: ticking() }))[Symbol.asyncDispose]();
  unpublish(dir);
  truncateSync(logPath(dir), 10);
  appendFileSync(logPath(dir), '\n"no checkpoint"\n');
  for (let time = 0; time < 20; time++) await assert.rejects(openFileLog({ dir, now: ticking() }));
  assert.ok(descriptors() <= before, `${before} before, ${descriptors()} after`);
});
