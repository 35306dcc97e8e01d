import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { encodeLine, GENESIS, openFileLog, parseLine, verifyLog, type Line } from '@caisson/evidence';
import { logLines, logPath, problem, putLines, tempDir, ticking, writeCalls } from './given.ts';

/** Six calls: entries 0 to 11. */
const CALLS = 6;

interface Attack {
  readonly name: string;
  readonly change: (lines: readonly string[]) => readonly string[];
  /** The first entry that must be called bad. */
  readonly index: number;
  readonly reason: RegExp;
}

const parsed = (line: string): Line => parseLine(Buffer.from(line)) as Line;

/** Every entry chained anew, as someone does who knows the format. */
function rechain(lines: readonly string[], change: (entry: Line['entry']) => Line['entry']): readonly string[] {
  let prev = GENESIS;
  return lines.map((text) => {
    const encoded = encodeLine(change(parsed(text).entry), prev);
    prev = encoded.line.hash;
    return encoded.text;
  });
}

function forge(lines: readonly string[], at: number, change: (entry: Line['entry']) => Line['entry']): readonly string[] {
  const { entry, prev } = parsed(lines[at] as string);
  return lines.with(at, encodeLine(change(entry), prev).text);
}

const attacks: readonly Attack[] = [
  { name: 'an edited body', change: (lines) => lines.with(3, (lines[3] as string).replace('"exit":1', '"exit":0')), index: 3, reason: /its hash is not/ },
  { name: 'an edited body with its hash made right', change: (lines) => forge(lines, 3, (entry) => ({ ...entry, body: { exit: 0 } })), index: 4, reason: /does not follow/ },
  { name: 'an edited time with its hash made right', change: (lines) => forge(lines, 3, (entry) => ({ ...entry, timeMs: 0 })), index: 4, reason: /does not follow/ },
  { name: 'an edited hash', change: (lines) => lines.with(3, (lines[3] as string).replace(/"hash":"./, '"hash":"z')), index: 3, reason: /its hash is not/ },
  { name: 'the first entry cut off', change: (lines) => lines.slice(1), index: 0, reason: /says that it is entry 1/ },
  { name: 'the first entries cut off and the indexes made right', change: (lines) => lines.slice(2).map((_, at) => forge(lines, at + 2, (entry) => ({ ...entry, index: at }))[at + 2] as string), index: 0, reason: /does not follow/ },
  { name: 'an entry removed', change: (lines) => lines.toSpliced(5, 1), index: 5, reason: /says that it is entry 6/ },
  { name: 'an entry of another log put in', change: (lines) => lines.toSpliced(4, 0, encodeLine({ ...parsed(lines[4] as string).entry, subject: 'sbx-x' }, GENESIS).text), index: 4, reason: /does not follow/ },
  { name: 'two entries swapped', change: (lines) => lines.with(4, lines[5] as string).with(5, lines[4] as string), index: 4, reason: /says that it is entry 5/ },
  { name: 'an entry twice', change: (lines) => lines.toSpliced(4, 0, lines[3] as string), index: 4, reason: /says that it is entry 3/ },
  { name: 'the log twice', change: (lines) => [...lines, ...lines], index: 12, reason: /says that it is entry 0/ },
  { name: 'white space in an entry', change: (lines) => lines.with(3, (lines[3] as string).replace('{"entry":', '{ "entry":')), index: 3, reason: /not in canonical form/ },
  { name: 'a second field of the same name', change: (lines) => lines.with(3, (lines[3] as string).replace('{"exit":1}', '{"exit":0,"exit":1}')), index: 3, reason: /not in canonical form/ },
  { name: 'a further field beside the entry', change: (lines) => lines.with(3, (lines[3] as string).replace(/}$/, ',"z":1}')), index: 3, reason: /other fields/ },
  { name: 'a further field in the entry', change: (lines) => lines.with(3, (lines[3] as string).replace('"timeMs":', '"tame":1,"timeMs":')), index: 3, reason: /other fields/ },
  { name: 'an empty line', change: (lines) => lines.toSpliced(3, 0, ''), index: 3, reason: /not JSON/ },
  { name: 'a line longer than any entry', change: (lines) => lines.with(3, 'x'.repeat(3_000_000)), index: 3, reason: /longer than/ },
  { name: 'an outcome whose intent is of another subject, all chained anew', change: (lines) => rechain(lines, (entry) => (entry.index === 2 ? { ...entry, subject: 'sbx-x' } : entry)), index: 3, reason: /has no intent/ },
  { name: 'a second intent, all chained anew', change: (lines) => rechain(lines, (entry) => (entry.index === 2 ? { ...entry, subject: 'sbx-0' } : entry)), index: 2, reason: /second intent/ },
];

for (const { name, change, index, reason } of attacks) {
  test(`${name} is found at entry ${index}, by the verifier and by the scribe, which then changes nothing`, async (t) => {
    const dir = tempDir(t);
    await writeCalls(dir, CALLS);
    putLines(dir, change(logLines(dir)));
    const before = readFileSync(logPath(dir));
    const { bad, entries } = await verifyLog(dir);
    assert.equal(bad?.index, index);
    assert.match(bad?.reason ?? '', reason);
    assert.equal(entries, index);
    await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_DAMAGED', new RegExp(`entry ${index}: `)));
    assert.deepEqual(readFileSync(logPath(dir)), before);
  });
}

test('every single changed byte is found, wherever it is', async (t) => {
  const dir = tempDir(t);
  const head = await writeCalls(dir, 1);
  const good = readFileSync(logPath(dir));
  for (let at = 0; at < good.length; at++) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] as number) ^ 0x01;
    writeFileSync(logPath(dir), bytes);
    const { bad, knownHead } = await verifyLog(dir, { head });
    assert.ok(bad !== null || knownHead === 'missing', `byte ${at}`);
  }
});

test('entries cut from the end pass without a head kept elsewhere, and are found with one', async (t) => {
  const dir = tempDir(t);
  const head = await writeCalls(dir, CALLS);
  assert.equal((await verifyLog(dir, { head })).knownHead, 'found');
  putLines(dir, logLines(dir).slice(0, -2));
  const without = await verifyLog(dir);
  assert.deepEqual([without.bad, without.entries, without.knownHead], [null, 2 * CALLS - 2, 'not given']);
  assert.equal((await verifyLog(dir, { head })).knownHead, 'missing');
});

test('a log emptied and a log begun again are found with a head kept elsewhere', async (t) => {
  const dir = tempDir(t);
  const head = await writeCalls(dir, CALLS);
  truncateSync(logPath(dir), 0);
  assert.equal((await verifyLog(dir, { head })).knownHead, 'missing');
  await writeCalls(dir, CALLS + 1, () => 1_800_000_000_000);
  const { bad, knownHead } = await verifyLog(dir, { head });
  assert.deepEqual([bad, knownHead], [null, 'missing']);
});

test('a whole chain written anew passes without a head kept elsewhere, and is found with one', async (t) => {
  const dir = tempDir(t);
  const head = await writeCalls(dir, CALLS);
  putLines(dir, rechain(logLines(dir), (entry) => (entry.index === 3 ? { ...entry, body: { exit: 0 } } : entry)));
  assert.equal((await verifyLog(dir)).bad, null);
  assert.equal((await verifyLog(dir, { head })).knownHead, 'missing');
});

test('a head before the damage is found, and the damage still is', async (t) => {
  const dir = tempDir(t);
  await writeCalls(dir, CALLS);
  const lines = logLines(dir);
  putLines(dir, lines.toSpliced(8, 1));
  const { bad, knownHead } = await verifyLog(dir, { head: { index: 5, hash: parsed(lines[5] as string).hash } });
  assert.deepEqual([bad?.index, knownHead], [8, 'found']);
});
