import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFileLog, readEntries, verifyLog, type ReadOptions } from '@caisson/evidence';
import { draft, logLines, logPath, problem, putLines, tempDir, ticking, unpublish, writeCalls } from './given.ts';

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
    await Promise.all(Array.from({ length: 40 }, (_, call) => log.append(draft('lifecycle', 'control', 'x'.repeat(call * 1500)))));
  }
  for (const last of [1, 2, 7, 25, 39, 40]) assert.equal((await indexes(dir, { last })).length, last);
  assert.deepEqual(await indexes(dir, { last: 7 }), [33, 34, 35, 36, 37, 38, 39]);
  assert.equal((await verifyLog(dir)).entries, 40);
});

test('a follower sees entries as they are appended, waits while one is half written, and ends with its signal', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 1);
  unpublish(dir);
  const [first, head, second, last] = logLines(dir) as [string, string, string, string];
  putLines(dir, [first, head, second]);
  appendFileSync(logPath(dir), last.slice(0, 50));
  const stop = new AbortController();
  const found: number[] = [];
  setTimeout(() => appendFileSync(logPath(dir), `${last.slice(50)}\n`), 150);
  for await (const { entry } of readEntries(dir, { follow: true, signal: stop.signal })) {
    found.push(entry.index);
    if (entry.index === 1) setTimeout(() => stop.abort(), 20);
  }
  assert.deepEqual(found, [0, 1]);
});

test('a follower passes from the journal to tiles and from one journal to the next without a gap or a double', async (t) => {
  const dir = tempDir(t);
  const stop = new AbortController();
  await using log = await openFileLog({ dir, now: ticking(), publishEveryMs: 20 });
  await log.append(draft('lifecycle', 'first'));
  const reading = (async () => {
    const found: number[] = [];
    for await (const { entry } of readEntries(dir, { follow: true, signal: stop.signal })) {
      found.push(entry.index);
      if (found.length === 601) stop.abort();
    }
    return found;
  })();
  for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 30 }, (_, at) => log.append(draft('lifecycle', `s-${round}-${at}`, 'x'.repeat(30_000)))));
  assert.deepEqual(await reading, Array.from({ length: 601 }, (_, index) => index));
  await log.publish();
  assert.ok(!readdirSync(dir).includes('journal-0'), 'the first journal is gone');
});

test('reading stops with EVIDENCE_DAMAGED at an entry that is bad, is out of place, or went away', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, 3);
  unpublish(dir);
  const lines = logLines(dir);
  putLines(dir, lines.with(8, (lines[8] as string).replace('{"command"', '{ "command"')));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 4: is not in canonical form/));
  putLines(dir, lines.toSpliced(8, 2));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 4: says that it is entry 5/));
  putLines(dir, lines.slice(2));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 0: says that it is entry 1/));
  putLines(dir, lines.with(11, (lines[11] as string).replace('\\n6\\n', '\\n7\\n')));
  await assert.rejects(indexes(dir), problem('EVIDENCE_DAMAGED', /entry 5: is before a checkpoint that has a signature/));
  putLines(dir, lines);
  await assert.rejects(async () => {
    for await (const { entry } of readEntries(dir, { follow: true })) if (entry.index === 5) putLines(dir, lines.slice(0, 4));
  }, problem('EVIDENCE_DAMAGED', /entry 5: it became shorter/));
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
    const body = 'x'.repeat(60_000);
    for (let call = 0; call < 1_000; call += 50) {
      const subjects = Array.from({ length: 50 }, (_, at) => `sbx-${call + at}`);
      await Promise.all(subjects.flatMap((subject) => [log.append(draft('intent', subject, body)), log.append(draft('outcome', subject))]));
    }
  }
  const program = `const { verifyLog } = await import('@caisson/evidence'); const { entries } = await verifyLog(${JSON.stringify(dir)}); console.log(entries)`;
  const verify = spawnSync(process.execPath, ['--max-old-space-size=24', '--max-semi-space-size=1', '--input-type=module', '-e', program], { cwd: import.meta.dirname, encoding: 'utf8' });
  assert.deepEqual([verify.stdout, verify.status], ['2000\n', 0], verify.stderr);
});
