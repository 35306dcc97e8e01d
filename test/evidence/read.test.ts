import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFileLog, readEntries, verifyLog, type ReadOptions } from '@caisson/evidence';
import { draft, logLines, logPath, problem, putLines, tempDir, ticking, writeCalls } from './given.ts';

async function indexes(dir: string, options?: ReadOptions): Promise<number[]> {
  const found: number[] = [];
  for await (const { entry } of readEntries(dir, options)) found.push(entry.index);
  return found;
}

test('reading gives all entries, those from an index on, or the last so many', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 3);
  assert.deepEqual(await indexes(dir), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(await indexes(dir, { from: 4 }), [4, 5]);
  assert.deepEqual(await indexes(dir, { from: 9 }), []);
  assert.deepEqual(await indexes(dir, { last: 2 }), [4, 5]);
  assert.deepEqual(await indexes(dir, { last: 0 }), []);
  assert.deepEqual(await indexes(dir, { last: 6 }), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(await indexes(dir, { last: 99 }), [0, 1, 2, 3, 4, 5]);
  appendFileSync(logPath(dir), '{"entry":');
  assert.deepEqual(await indexes(dir, { last: 1 }), [5]);
});

test('the last entries are found across the pieces in which a long log is read', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    await Promise.all(Array.from({ length: 40 }, (_, call) => log.append(draft('lifecycle', 'control', 'x'.repeat(call * 2500)))));
  }
  for (const last of [1, 2, 7, 25, 39, 40]) assert.equal((await indexes(dir, { last })).length, last);
  assert.deepEqual(await indexes(dir, { last: 7 }), [33, 34, 35, 36, 37, 38, 39]);
  assert.equal((await verifyLog(dir)).entries, 40);
});

test('a follower sees entries as they are appended, waits while one is half written, and ends with its signal', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 1);
  const lines = logLines(dir);
  putLines(dir, lines.slice(0, 1));
  appendFileSync(logPath(dir), (lines[1] as string).slice(0, 50));
  const stop = new AbortController();
  const found: number[] = [];
  setTimeout(() => appendFileSync(logPath(dir), `${(lines[1] as string).slice(50)}\n`), 150);
  for await (const { entry } of readEntries(dir, { follow: true, signal: stop.signal })) {
    found.push(entry.index);
    if (entry.index === 1) setTimeout(() => stop.abort(), 20);
  }
  assert.deepEqual(found, [0, 1]);
});

test('reading stops with EVIDENCE_DAMAGED at an entry that is bad, is out of place, or went away', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 3);
  const lines = logLines(dir);
  putLines(dir, lines.with(4, (lines[4] as string).replace('true', 'false')));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 4: its hash/));
  await assert.rejects(indexes(dir, { last: 2 }), problem('EVIDENCE_DAMAGED', /its hash/));
  putLines(dir, lines.toSpliced(4, 1));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 4: says that it is entry 5/));
  putLines(dir, lines.slice(1));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 0: says that it is entry 1/));
  putLines(dir, lines);
  await assert.rejects(async () => {
    for await (const { entry } of readEntries(dir, { follow: true })) if (entry.index === 5) truncateSync(logPath(dir), 10);
  }, problem('EVIDENCE_DAMAGED', /entry 6: it became shorter/));
});

test('where there is no log, reading and verifying say so', async (t) => {
  const dir = tempDir(t);
  await assert.rejects(indexes(dir), problem('STATE_DIR_INVALID', /holds no evidence log/));
  await assert.rejects(verifyLog(join(dir, 'none')), problem('STATE_DIR_INVALID', /holds no evidence log/));
});

test('a user who may not read the evidence is told who may', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('becoming another user needs root');
  const dir = tempDir(t);
  await writeCalls(dir, 1);
  const program = `const { verifyLog } = await import('@caisson/evidence'); process.setuid(65534); await verifyLog(${JSON.stringify(dir)}).catch((e) => console.log(e.code, e.message))`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd: import.meta.dirname, encoding: 'utf8' });
  assert.match(stdout, /^STATE_DIR_INVALID .*only the user of the scribe and root may read the evidence/);
});

test('verifying a long log takes no more memory than a short one', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    const body = 'x'.repeat(100 * 1024);
    for (let call = 0; call < 600; call += 50) {
      const subjects = Array.from({ length: 50 }, (_, at) => `sbx-${call + at}`);
      await Promise.all(subjects.flatMap((subject) => [log.append(draft('intent', subject, body)), log.append(draft('outcome', subject))]));
    }
  }
  const program = `const { verifyLog } = await import('@caisson/evidence'); const { entries } = await verifyLog(${JSON.stringify(dir)}); console.log(entries)`;
  const verify = spawnSync(process.execPath, ['--max-old-space-size=24', '--max-semi-space-size=1', '--input-type=module', '-e', program], { cwd: import.meta.dirname, encoding: 'utf8' });
  assert.deepEqual([verify.stdout, verify.status], ['1200\n', 0], verify.stderr);
});
