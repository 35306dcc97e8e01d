import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFileLog, parseEntry, encodeEntry, publishedKeys, folderFetch, verifyLog } from '@caisson/evidence';
import type { Entry } from '@caisson/contract';
import { decodeBundle, encodeBundle, leafHash, nodeHash } from '@caisson/tlog';
import { draft, logLines, logPath, problem, putLines, tempDir, ticking, unpublish, writeCalls } from './given.ts';

/** Six calls: entries 0 to 11; in the journal a checkpoint follows each. */
const CALLS = 6;

interface Attack {
  readonly name: string;
  readonly change: (lines: readonly string[]) => readonly string[];
  /** The first entry that must be called bad. */
  readonly index: number;
  readonly reason: RegExp;
}

/** The entry of an index with a field changed, in canonical form. */
function forge(lines: readonly string[], index: number, change: (entry: Entry) => Entry): readonly string[] {
  const entry = parseEntry(Buffer.from(lines[2 * index] as string));
  if ('bad' in entry) return assert.fail(entry.bad);
  return lines.with(2 * index, encodeEntry(change(entry)));
}
const edit = (lines: readonly string[], index: number, from: string | RegExp, to: string): readonly string[] => lines.with(2 * index, (lines[2 * index] as string).replace(from, to));

const attacks: readonly Attack[] = [
  { name: 'an edited body', change: (lines) => forge(lines, 3, (entry) => ({ ...entry, body: { exit: 0 } })), index: 3, reason: /not what was signed/ },
  { name: 'an edited time', change: (lines) => forge(lines, 3, (entry) => ({ ...entry, timeMs: 0 })), index: 3, reason: /not what was signed/ },
  { name: 'an edited checkpoint', change: (lines) => lines.with(7, (lines[7] as string).replace('\\n4\\n', '\\n3\\n')), index: 3, reason: /not of its key/ },
  { name: 'a checkpoint in place of another', change: (lines) => lines.with(7, lines[5] as string), index: 3, reason: /checkpoint of 3 entries/ },
  { name: 'a checkpoint that is none', change: (lines) => lines.with(7, '"x"'), index: 3, reason: /checkpoint that/ },
  { name: 'the first entry cut off', change: (lines) => lines.slice(2), index: 0, reason: /says that it is entry 1/ },
  { name: 'the first entries cut off and the indexes made right', change: (lines) => lines.slice(4).map((line, at) => (at % 2 === 0 ? (forge(lines, at / 2 + 2, (entry) => ({ ...entry, index: at / 2 }))[at + 4] as string) : line)), index: 0, reason: /checkpoint of 3 entries/ },
  { name: 'an entry removed', change: (lines) => lines.toSpliced(10, 2), index: 5, reason: /says that it is entry 6/ },
  { name: 'an entry put in', change: (lines) => lines.toSpliced(8, 0, lines[8] as string), index: 5, reason: /says that it is entry 4/ },
  { name: 'two entries swapped', change: (lines) => lines.with(8, lines[10] as string).with(10, lines[8] as string), index: 4, reason: /says that it is entry 5/ },
  { name: 'an entry twice', change: (lines) => lines.toSpliced(8, 0, lines[6] as string, lines[7] as string), index: 4, reason: /says that it is entry 3/ },
  { name: 'the log twice', change: (lines) => [...lines, ...lines], index: 12, reason: /says that it is entry 0/ },
  { name: 'white space in an entry', change: (lines) => edit(lines, 3, '{"body":', '{ "body":'), index: 3, reason: /not in canonical form/ },
  { name: 'a second field of the same name', change: (lines) => edit(lines, 3, '{"exit":1}', '{"exit":0,"exit":1}'), index: 3, reason: /not in canonical form/ },
  { name: 'a further field', change: (lines) => edit(lines, 3, '"timeMs":', '"tame":1,"timeMs":'), index: 3, reason: /other fields/ },
  { name: 'an empty line', change: (lines) => lines.toSpliced(6, 0, ''), index: 3, reason: /not JSON/ },
  { name: 'a line longer than any entry', change: (lines) => lines.with(6, 'x'.repeat(3_000_000)), index: 3, reason: /longer than/ },
];

for (const { name, change, index, reason } of attacks) {
  test(`${name} is found at entry ${index} of the journal, by the verifier and by the scribe, which then changes nothing`, async (t) => {
    const dir = tempDir(t);
    await writeCalls(dir, CALLS);
    unpublish(dir);
    putLines(dir, change(logLines(dir)));
    const before = readFileSync(logPath(dir));
    const { bad } = await verifyLog(dir);
    assert.equal(bad?.index, index, bad?.reason);
    assert.match(bad?.reason ?? '', reason);
    await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_DAMAGED', new RegExp(`entry ${index}: `)));
    assert.deepEqual(readFileSync(logPath(dir)), before);
  });
}

/** 700 entries: two full tiles and a partial one. */
async function writeTiles(dir: string): Promise<void> {
  await using log = await openFileLog({ dir, now: ticking() });
  await Promise.all(Array.from({ length: 700 }, (_, at) => log.append(draft('lifecycle', `sbx-${at}`, { at }))));
}

interface TileAttack {
  readonly name: string;
  readonly change: (file: (name: string) => string) => void;
  readonly index: number;
  readonly reason: RegExp;
}

function changeBundle(path: string, change: (entries: readonly Buffer[]) => readonly Buffer[]): readonly Buffer[] {
  const entries = decodeBundle(readFileSync(path), 256);
  if ('bad' in entries) return assert.fail(entries.bad);
  const changed = change(entries);
  writeFileSync(path, encodeBundle(changed));
  return changed;
}
const forged = (entry: Buffer): Buffer => Buffer.from(entry.toString('utf8').replace(/"at":\d+/, '"at":9'));
const rootOf = (hashes: readonly Buffer[]): Buffer => (hashes.length === 1 ? (hashes[0] as Buffer) : nodeHash(rootOf(hashes.slice(0, hashes.length / 2)), rootOf(hashes.slice(hashes.length / 2))));

const tileAttacks: readonly TileAttack[] = [
  { name: 'an edited entry', change: (file) => void changeBundle(file('tile/entries/001'), (entries) => entries.with(7, forged(entries[7] as Buffer))), index: 263, reason: /not what its hash in the tree is of/ },
  { name: 'an entry removed', change: (file) => void changeBundle(file('tile/entries/001'), (entries) => entries.toSpliced(7, 1)), index: 256, reason: /no bundle/ },
  { name: 'two entries swapped', change: (file) => void changeBundle(file('tile/entries/001'), (entries) => entries.with(7, entries[8] as Buffer).with(8, entries[7] as Buffer)), index: 263, reason: /not what its hash/ },
  {
    name: 'an edited entry and its hash',
    change: (file) => {
      const entries = changeBundle(file('tile/entries/001'), (all) => all.with(7, forged(all[7] as Buffer)));
      writeFileSync(file('tile/0/001'), Buffer.concat(entries.map(leafHash)));
    },
    index: 256, reason: /or one of the 256 from it on/,
  },
  {
    name: 'an edited entry and every hash above it',
    change: (file) => {
      const entries = changeBundle(file('tile/entries/001'), (all) => all.with(7, forged(all[7] as Buffer)));
      const hashes = entries.map(leafHash);
      writeFileSync(file('tile/0/001'), Buffer.concat(hashes));
      const above = readFileSync(file('tile/1/000.p/2'));
      rootOf(hashes).copy(above, 32);
      writeFileSync(file('tile/1/000.p/2'), above);
    },
    index: 0, reason: /changed together/,
  },
  { name: 'a bundle that is gone', change: (file) => rmSync(file('tile/entries/001')), index: 256, reason: /tile\/entries\/001 is missing/ },
  { name: 'a tile that is gone', change: (file) => rmSync(file('tile/1'), { recursive: true }), index: 700, reason: /tile\/1\/000.p\/2 is missing/ },
  { name: 'a checkpoint of another size', change: (file) => writeFileSync(file('checkpoint'), readFileSync(file('checkpoint'), 'utf8').replace('\n700\n', '\n512\n')), index: 0, reason: /not of its key/ },
  { name: 'the journal that is gone', change: (file) => rmSync(file('journal-0')), index: 700, reason: /missing/ },
];

for (const { name, change, index, reason } of tileAttacks) {
  test(`in tiles, ${name} is found at entry ${index}, by the verifier and by the scribe`, async (t) => {
    const dir = tempDir(t);
    await writeTiles(dir);
    assert.equal((await verifyLog(dir)).bad, null);
    change((name_) => join(dir, name_));
    const { bad } = await verifyLog(dir);
    assert.equal(bad?.index, index, bad?.reason);
    assert.match(bad?.reason ?? '', reason);
    await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_DAMAGED', new RegExp(`entry ${index}: `)));
  });
}

test('every single changed byte of a journal is found, wherever it is', async (t) => {
  const dir = tempDir(t);
  const head = await writeCalls(dir, 1);
  unpublish(dir);
  const good = readFileSync(logPath(dir));
  for (let at = 0; at < good.length; at++) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] as number) ^ 0x01;
    writeFileSync(logPath(dir), bytes);
    const { bad, knownHead } = await verifyLog(dir, { head });
    assert.ok(bad !== null || knownHead === 'missing', `byte ${at}`);
  }
});

test('a log rolled back to what it once was passes without a head kept elsewhere, and is found with one', async (t) => {
  const dir = join(tempDir(t), 'evidence');
  await writeCalls(dir, CALLS);
  cpSync(dir, `${dir}-old`, { recursive: true });
  let head;
  {
    await using log = await openFileLog({ dir, now: ticking() });
    head = await log.append(draft('lifecycle', 'later'));
  }
  assert.equal((await verifyLog(dir, { head })).knownHead, 'found');
  rmSync(dir, { recursive: true });
  cpSync(`${dir}-old`, dir, { recursive: true });
  const without = await verifyLog(dir);
  assert.deepEqual([without.bad, without.entries, without.knownHead], [null, 2 * CALLS, 'not given']);
  assert.equal((await verifyLog(dir, { head })).knownHead, 'missing');
});

test('a log written anew by another key passes with the key beside it, and is found with the key one has', async (t) => {
  const dir = join(tempDir(t), 'evidence');
  const head = await writeCalls(dir, CALLS);
  const keys = await publishedKeys(folderFetch(dir));
  for (const path of [dir, `${dir}-key`]) rmSync(path, { recursive: true });
  await writeCalls(dir, CALLS, () => 1_800_000_000_000);
  assert.equal((await verifyLog(dir)).bad, null);
  assert.equal((await verifyLog(dir, { head })).knownHead, 'missing');
  const { bad, entries } = await verifyLog(dir, { keys });
  assert.deepEqual([bad?.index, entries], [0, 0]);
  assert.match(bad?.reason ?? '', /no signature of a key that is trusted/);
});

test('a log whose key is gone or is another is not continued', async (t) => {
  const dir = join(tempDir(t), 'evidence');
  await writeCalls(dir, 1);
  rmSync(`${dir}-key`, { recursive: true });
  await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_UNAVAILABLE', /is missing/));
  await writeCalls(`${dir}2`, 1);
  cpSync(`${dir}2-key`, `${dir}-key`, { recursive: true });
  await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_DAMAGED', /no signature of a key that is trusted/));
});

test('a key that others can read is not used', async (t) => {
  const dir = join(tempDir(t), 'evidence');
  await writeCalls(dir, 1);
  const path = `${dir}-key/log.key`;
  writeFileSync(`${path}.new`, readFileSync(path), { mode: 0o644 });
  rmSync(path);
  cpSync(`${path}.new`, path);
  await assert.rejects(openFileLog({ dir, now: ticking() }), problem('EVIDENCE_UNAVAILABLE', /can be read by others/));
});

test('a head before the damage is found, and the damage still is', async (t) => {
  const dir = tempDir(t);
  let kept;
  {
    await using log = await openFileLog({ dir, now: ticking() });
    for (let at = 0; at < 12; at++) {
      const head = await log.append(draft('lifecycle', `sbx-${at}`));
      if (at === 5) kept = head;
    }
  }
  unpublish(dir);
  putLines(dir, logLines(dir).toSpliced(16, 2));
  const { bad, knownHead } = await verifyLog(dir, { head: kept });
  assert.deepEqual([bad?.index, knownHead], [8, 'found']);
});
